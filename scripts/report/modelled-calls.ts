// Calls on GPUs that are modelled: what the policy (csrc/cuda/launch/policy.cc) launches there, as the
// simulated GPU sees it with their number of multiprocessors, and what its kernels execute and move.

import { compiledKernels } from '../compiled-kernels';
import type { Architecture } from '../occupancy';
import { sectorBytes, type BufferTraffic } from '../../bench/gpu/trace';
import { launchesOf, type Launch, type Run } from '../traced-runs';
import type { KernelCode } from './cubin';
import type { Gpu } from './gpus';
import { builtCodes, launchedCode } from './launched-code';
import type { ModelLaunch } from './model';

/** Rows of the calls that are executed to see what kernels do: larger ones do the same for each row. */
const sampleRows = 64;
const warpLanes = 32;

/** What a launch executes and moves for each element of the matrix. */
interface Cost {
  readonly instructions: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly l2Bytes: number;
}

/**
 * Whether an allocation is no matrix: first-level caches hold it, and serve what is read again, above all
 * the weight.
 */
function isSmall(buffer: BufferTraffic, { rows, hiddenSize, dtype }: Run): boolean {
  return buffer.bytes < (rows * hiddenSize * (dtype === 'float32' ? 4 : 2)) / 2;
}

function bytesOf({ buffers }: Launch, ofBuffer: (buffer: BufferTraffic) => number): number {
  return buffers.reduce((sum, buffer) => sum + ofBuffer(buffer), 0);
}

function sectorsOf({ read_sectors: read, written_sectors: written }: BufferTraffic): number {
  return sectorBytes * (read + written);
}

function elementsOf({ rows, hiddenSize }: Run): number {
  return rows * hiddenSize;
}

/** A kernel of a call for rows of this size: a call that launches it twice has two. */
function keyOf({ run, kernel }: Launch, turn: number): string {
  return [run.direction, run.dtype, run.hiddenSize, kernel, turn].join();
}

/** Launches by their keys, for launches in the order of their calls. */
function byKey(launches: readonly Launch[]): Map<string, Launch> {
  const turns = new Map<string, number>();
  return new Map(
    launches.map((launch) => {
      const all = [JSON.stringify(launch.run), launch.kernel].join();
      const turn = turns.get(all) ?? 0;
      turns.set(all, turn + 1);
      return [keyOf(launch, turn), launch];
    }),
  );
}

function threadsOf({ block }: Launch): number {
  return block.reduce((product, size) => product * size, 1);
}

/**
 * Rounds of loads, sums and stores that a block takes one after the other: more than one where the rows
 * of dweight's order are one chain.
 */
function stepsOf({ run, kernel, grid, block }: Launch): number {
  if (!kernel.startsWith('backward_') || kernel.startsWith('backward_columns')) return 1;
  return Math.max(1, Math.ceil(run.rows / (grid[0] ?? 1) / (block[1] ?? 1)));
}

/** Calls and the GPUs that they are modelled on. */
export class ModelledCalls {
  readonly #codes: readonly KernelCode[] = builtCodes();
  readonly #compiled = compiledKernels();
  /** Executed launches, by the simulated compute capability and by their keys. */
  readonly #samples = new Map<string, Map<string, Launch>>();
  readonly #costs = new Map<string, Cost>();

  /** What each of the calls launches on a GPU; undefined where a kernel is not built for it. */
  async launches(
    gpu: Gpu,
    runs: readonly Run[],
  ): Promise<Map<Run, readonly ModelLaunch[] | undefined>> {
    await this.#sample(gpu.simulated, runs);
    const launches = await launchesOf(runs, {
      CUDASIM_CC: gpu.simulated,
      CUDASIM_SMS: `${gpu.multiprocessors}`,
      CUDASIM_EXECUTE: '0',
    });
    return new Map(
      runs.map((run) => {
        const ofRun = byKey(launches.filter((launch) => launch.run === run));
        const modelled = Array.from(ofRun, ([key, launch]) => this.#modelLaunch(gpu, key, launch));
        return [run, modelled.includes(undefined) ? undefined : (modelled as ModelLaunch[])];
      }),
    );
  }

  #modelLaunch(gpu: Gpu, key: string, launch: Launch): ModelLaunch | undefined {
    const cost = this.#costOf(gpu.simulated, gpu.architecture, key);
    const kernel = this.#compiled.find(
      (one) => one.name === launch.kernel && one.architecture === gpu.architecture,
    );
    if (cost === undefined || kernel === undefined) return undefined;
    const elements = elementsOf(launch.run);
    return {
      blocks: launch.grid[0] ?? 1,
      threads: threadsOf(launch),
      registers: kernel.registers,
      sharedMemory: kernel.staticSharedMemory + launch.dynamic_shared_bytes,
      steps: stepsOf(launch),
      instructions: (cost.instructions * elements) / warpLanes,
      bytesRead: cost.bytesRead * elements,
      bytesWritten: cost.bytesWritten * elements,
      l2Bytes: cost.l2Bytes * elements,
    };
  }

  async #sample(capability: string, runs: readonly Run[]): Promise<void> {
    const samples = this.#samples.get(capability) ?? new Map<string, Launch>();
    this.#samples.set(capability, samples);
    const known = new Set(Array.from(samples.values(), ({ run }) => JSON.stringify(run)));
    const wanted = runs.map((run) => JSON.stringify({ ...run, rows: sampleRows }));
    const missing = [...new Set(wanted)].filter((run) => !known.has(run));
    const asked = missing.map((run) => JSON.parse(run) as Run);
    if (asked.length === 0) return;
    for (const [key, launch] of byKey(await launchesOf(asked, { CUDASIM_CC: capability }))) {
      samples.set(key, launch);
    }
  }

  #costOf(capability: string, architecture: Architecture, key: string): Cost | undefined {
    const all = [capability, architecture, key].join();
    const sample = this.#samples.get(capability)?.get(key);
    if (sample === undefined) return undefined;
    const known = this.#costs.get(all);
    if (known !== undefined) return known;
    const elements = elementsOf(sample.run);
    const code = this.#codes.find(
      (one) => one.name === sample.kernel && one.architecture === architecture,
    );
    const cost = {
      instructions:
        (code && launchedCode(sample, code)?.instructions) ?? ptxInstructions(sample) / elements,
      bytesRead: bytesOf(sample, (buffer) => sectorBytes * buffer.read_sectors) / elements,
      bytesWritten: bytesOf(sample, (buffer) => sectorBytes * buffer.written_sectors) / elements,
      l2Bytes:
        bytesOf(sample, (buffer) => {
          const requested = buffer.bytes_read + buffer.bytes_written;
          return isSmall(buffer, sample.run) ? sectorsOf(buffer) : requested;
        }) / elements,
    };
    this.#costs.set(all, cost);
    return cost;
  }
}

/** Of threads: what is counted where no way through the machine code is found. */
function ptxInstructions({ warps }: Launch): number {
  const counts = warps.map(
    ({ count, spans }) => count * spans.reduce((sum, span) => sum + span.instructions, 0),
  );
  return warpLanes * counts.reduce((sum, count) => sum + count, 0);
}
