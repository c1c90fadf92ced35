// A model of the least time that a call takes on a GPU. It is not measured. A launch takes at least the
// time of DRAM, of the second-level cache, of issuing its instructions, of its waves and of the latency
// of its steps. The longest of these binds.

import { blocksOf } from '../occupancy';
import { issuedPerClock, type Gpu } from './gpus';

/** The properties of a launch that the model uses. */
export interface ModelLaunch {
  readonly blocks: number;
  readonly threads: number;
  readonly registers: number;
  /** Bytes of a block. */
  readonly sharedMemory: number;
  /** Rounds of loads, sums and stores that a block does one after the other. */
  readonly steps: number;
  /** Warp instructions of the whole launch. */
  readonly instructions: number;
  /** Bytes that it reads, each counted once, and bytes that it writes. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Bytes that the second-level cache serves. */
  readonly l2Bytes: number;
}

export const limits = ['DRAM', 'L2', 'issue', 'waves', 'latency'] as const;
export type Limit = (typeof limits)[number];

/** Seconds of a step that nothing hides: from a load of DRAM through the row sum to the store. */
const stepLatency = 0.8e-6;

/** Waves bind if they take this many times as long as evenly filled waves. */
const unevenEnough = 1.15;

export interface ModelTime {
  readonly seconds: number;
  readonly binds: Limit;
}

/** The time of a launch whose reads come from DRAM, or from the second-level cache. */
function launchTime(gpu: Gpu, launch: ModelLaunch, isCached: boolean): ModelTime {
  const { multiprocessors, clockGhz, architecture } = gpu;
  const { blocks, threads, registers, sharedMemory, steps } = launch;
  const resident = blocksOf(architecture, { registers, threads, sharedMemory }) * multiprocessors;
  const waves = Math.ceil(blocks / resident);
  // The ratio of slots for blocks to blocks. Where one wave takes all blocks, a multiprocessor is a
  // slot.
  const unit = waves > 1 ? resident : multiprocessors;
  const unevenness = (Math.ceil(blocks / unit) * unit) / blocks;
  const issued = issuedPerClock * multiprocessors * clockGhz * 1e9;
  const even = {
    DRAM: ((isCached ? 0 : launch.bytesRead) + launch.bytesWritten) / gpu.dram,
    L2: launch.l2Bytes / gpu.l2Bandwidth,
    issue: launch.instructions / issued,
  };
  const work = Math.max(...Object.values(even));
  const latency = waves * steps * stepLatency;
  const seconds = Math.max(work * unevenness, latency);
  const ofWork = limits.find((limit) => even[limit as keyof typeof even] === work) as Limit;
  const binds = seconds === latency ? 'latency' : unevenness > unevenEnough ? 'waves' : ofWork;
  return { seconds, binds };
}

/**
 * The time of launches one after the other, and the limit that binds the longest of them. If the bytes
 * that a launch moves fit into half of the second-level cache, the next launch reads from that cache.
 */
export function timeOf(gpu: Gpu, launches: readonly ModelLaunch[]): ModelTime {
  const times = launches.map((launch, i) => {
    const before = launches[i - 1];
    const moved = before && before.bytesRead + before.bytesWritten;
    return launchTime(gpu, launch, moved !== undefined && moved <= gpu.l2 / 2);
  });
  const longest = times.toSorted((a, b) => b.seconds - a.seconds)[0];
  if (longest === undefined) throw new RangeError('A call must have at least one launch');
  const seconds = times.reduce((sum, time) => sum + time.seconds, 0);
  return { seconds, binds: longest.binds };
}
