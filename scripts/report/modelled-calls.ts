// Calls on modelled GPUs: the launches that the policy (csrc/cuda/launch/policy.cc) chooses there,
// recorded by a simulated GPU of the same kind, and the instructions and bytes of their kernels.

import { compiledKernels } from '../compiled-kernels';
import { sectorBytes, type BufferTraffic } from '../../bench/gpu/trace';
import { launchesOf, type Launch, type Run } from '../traced-runs';
import type { Gpu } from './gpus';
import { builtCodes, launchedCode, ptxInstructionsOf, warpLanes } from './launched-code';
import type { ModelLaunch } from './model';

/** The cost of a kernel per element of the matrix, over all its launches of a call. */
interface Cost {
  readonly instructions: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly l2Bytes: number;
}

/**
 * Rows of the sample calls, which are executed to count the costs. Larger calls cost the same per row.
 */
const sampleRows = 64;

const codes = builtCodes();
const compiled = compiledKernels();

function elementsOf({ rows, hiddenSize }: Run): number {
  return rows * hiddenSize;
}

/** The key of a kernel for rows of this size and dtype. */
function keyOf({ run, kernel }: Launch): string {
  return [run.direction, run.dtype, run.hiddenSize, kernel].join();
}

function bytesOf({ buffers }: Launch, ofBuffer: (buffer: BufferTraffic) => number): number {
  return buffers.reduce((sum, buffer) => sum + ofBuffer(buffer), 0);
}

/**
 * Whether an allocation is smaller than a matrix, such as the weight. First-level caches hold it, and
 * serve repeated reads.
 */
function isSmall(buffer: BufferTraffic, run: Run): boolean {
  return buffer.bytes < (elementsOf(run) * (run.dtype === 'float32' ? 4 : 2)) / 2;
}

/** Instructions per element: of machine code, or of PTX if no path through the machine code is found. */
function instructionsOf(launch: Launch, gpu: Gpu): number {
  const code = codes.find(
    ({ name, architecture }) => name === launch.kernel && architecture === gpu.architecture,
  );
  const launched = code && launchedCode(launch, code);
  return launched?.instructions ?? ptxInstructionsOf(launch);
}

function costOf(launches: readonly Launch[], gpu: Gpu): Cost {
  const sum = (of: (launch: Launch) => number) =>
    launches.reduce((total, launch) => total + of(launch), 0);
  const bytes = (ofBuffer: (buffer: BufferTraffic, launch: Launch) => number) =>
    sum((launch) => bytesOf(launch, (buffer) => ofBuffer(buffer, launch)) / elementsOf(launch.run));
  return {
    instructions: sum((launch) => instructionsOf(launch, gpu)),
    bytesRead: bytes(({ read_sectors: sectors }) => sectorBytes * sectors),
    bytesWritten: bytes(({ written_sectors: sectors }) => sectorBytes * sectors),
    l2Bytes: bytes((buffer, { run }) =>
      isSmall(buffer, run)
        ? sectorBytes * (buffer.read_sectors + buffer.written_sectors)
        : buffer.bytes_read + buffer.bytes_written,
    ),
  };
}

/**
 * Rounds of loads, sums and stores that a block does one after the other. There are several in backward,
 * where a block adds the rows of a group to dweight in a chain.
 */
function stepsOf({ run, kernel, grid, block }: Launch): number {
  if (!kernel.startsWith('backward_') || kernel.startsWith('backward_columns')) return 1;
  return Math.max(1, Math.ceil(run.rows / (grid[0] ?? 1) / (block[1] ?? 1)));
}

function modelLaunch(launch: Launch, share: number, cost: Cost, gpu: Gpu): ModelLaunch | undefined {
  const kernel = compiled.find(
    ({ name, architecture }) => name === launch.kernel && architecture === gpu.architecture,
  );
  if (kernel === undefined) return undefined;
  const elements = share * elementsOf(launch.run);
  return {
    blocks: launch.grid[0] ?? 1,
    threads: launch.block.reduce((product, size) => product * size, 1),
    registers: kernel.registers,
    sharedMemory: kernel.staticSharedMemory + launch.dynamic_shared_bytes,
    steps: stepsOf(launch),
    instructions: (cost.instructions * elements) / warpLanes,
    bytesRead: cost.bytesRead * elements,
    bytesWritten: cost.bytesWritten * elements,
    l2Bytes: cost.l2Bytes * elements,
  };
}

/** A call on a GPU; undefined if a kernel of it is not built for the GPU or not in the sample calls. */
export type ModelledCall = readonly ModelLaunch[] | undefined;

/** Models calls on one GPU. */
export class ModelledCalls {
  readonly #gpu: Gpu;
  readonly #samples: ReadonlyMap<string, Launch[]>;
  readonly #costs = new Map<string, Cost>();

  private constructor(gpu: Gpu, samples: ReadonlyMap<string, Launch[]>) {
    this.#gpu = gpu;
    this.#samples = samples;
  }

  /** Executes sample calls of few rows, for calls with the hidden sizes of `runs`. */
  static async on(gpu: Gpu, runs: readonly Run[]): Promise<ModelledCalls> {
    const few = [...new Set(runs.map((run) => JSON.stringify({ ...run, rows: sampleRows })))];
    const asked = few.map((run) => JSON.parse(run) as Run);
    const samples = new Map<string, Launch[]>();
    // The sample rows are few for the whole GPU, but many for one multiprocessor, where the policy can
    // choose other kernels.
    for (const multiprocessors of [1, gpu.multiprocessors]) {
      const found = new Map<string, Launch[]>();
      for (const launch of await launchesOf(asked, variablesOf(gpu, multiprocessors))) {
        found.set(keyOf(launch), [...(found.get(keyOf(launch)) ?? []), launch]);
      }
      for (const [key, launches] of found) samples.set(key, launches);
    }
    return new ModelledCalls(gpu, samples);
  }

  /** The launches that the policy chooses if it sees a GPU of this many multiprocessors. */
  async launches(
    runs: readonly Run[],
    multiprocessors = this.#gpu.multiprocessors,
  ): Promise<ModelledCall[]> {
    const launches = await launchesOf(runs, {
      ...variablesOf(this.#gpu, multiprocessors),
      CUDASIM_EXECUTE: '0',
    });
    return runs.map((run) => {
      const ofRun = launches.filter((launch) => launch.run === run);
      const modelled = ofRun.map((launch) => {
        const blocks = ofRun
          .filter(({ kernel }) => kernel === launch.kernel)
          .reduce((sum, { grid }) => sum + (grid[0] ?? 1), 0);
        const cost = this.#costOf(launch);
        return cost && modelLaunch(launch, (launch.grid[0] ?? 1) / blocks, cost, this.#gpu);
      });
      return modelled.includes(undefined) ? undefined : (modelled as ModelLaunch[]);
    });
  }

  #costOf(launch: Launch): Cost | undefined {
    const key = keyOf(launch);
    const sample = this.#samples.get(key);
    if (sample === undefined) return undefined;
    const cost = this.#costs.get(key) ?? costOf(sample, this.#gpu);
    this.#costs.set(key, cost);
    return cost;
  }
}

function variablesOf(gpu: Gpu, multiprocessors: number): Record<string, string> {
  return {
    CUDASIM_CC: gpu.capability,
    CUDASIM_SMS: `${multiprocessors}`,
    CUDASIM_CACHE: `${gpu.l2}`,
  };
}
