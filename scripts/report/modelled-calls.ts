// Calls on GPUs that are modelled: what the policy (csrc/cuda/launch/policy.cc) launches there, as a
// simulated GPU of their kind sees it, and what its kernels execute and move.

import { compiledKernels } from '../compiled-kernels';
import { sectorBytes, type BufferTraffic } from '../../bench/gpu/trace';
import { launchesOf, type Launch, type Run } from '../traced-runs';
import type { Gpu } from './gpus';
import { builtCodes, launchedCode, ptxInstructionsOf, warpLanes } from './launched-code';
import type { ModelLaunch } from './model';

/** What a kernel executes and moves for each element of the matrix, in all its launches of a call. */
interface Cost {
  readonly instructions: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly l2Bytes: number;
}

/** Rows of the calls that are executed to see what kernels do: larger ones do the same for each row. */
const sampleRows = 64;

const codes = builtCodes();
const compiled = compiledKernels();

function elementsOf({ rows, hiddenSize }: Run): number {
  return rows * hiddenSize;
}

/** A kernel for rows of this size and type. */
function keyOf({ run, kernel }: Launch): string {
  return [run.direction, run.dtype, run.hiddenSize, kernel].join();
}

function bytesOf({ buffers }: Launch, ofBuffer: (buffer: BufferTraffic) => number): number {
  return buffers.reduce((sum, buffer) => sum + ofBuffer(buffer), 0);
}

/**
 * Whether an allocation is no matrix: first-level caches hold it, and serve what is read again, above all
 * the weight.
 */
function isSmall(buffer: BufferTraffic, run: Run): boolean {
  return buffer.bytes < (elementsOf(run) * (run.dtype === 'float32' ? 4 : 2)) / 2;
}

/** For each element, as the machine code, or as PTX where no way through the machine code is found. */
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
 * Rounds of loads, sums and stores that a block takes one after the other: more than one where the rows
 * of dweight's order are one chain.
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

/** A call on a GPU: undefined if a kernel is not built for it, or is not known from a smaller call. */
export type ModelledCall = readonly ModelLaunch[] | undefined;

/** Calls on one GPU. */
export class ModelledCalls {
  readonly #gpu: Gpu;
  readonly #samples: ReadonlyMap<string, Launch[]>;
  readonly #costs = new Map<string, Cost>();

  private constructor(gpu: Gpu, samples: ReadonlyMap<string, Launch[]>) {
    this.#gpu = gpu;
    this.#samples = samples;
  }

  /** For calls with rows as long as those of `runs`, which are executed with few rows. */
  static async on(gpu: Gpu, runs: readonly Run[]): Promise<ModelledCalls> {
    const few = [...new Set(runs.map((run) => JSON.stringify({ ...run, rows: sampleRows })))];
    const asked = few.map((run) => JSON.parse(run) as Run);
    const samples = new Map<string, Launch[]>();
    // Rows are few for a GPU, and many for one multiprocessor, which is another kernel's.
    for (const multiprocessors of [1, gpu.multiprocessors]) {
      const found = new Map<string, Launch[]>();
      for (const launch of await launchesOf(asked, variablesOf(gpu, multiprocessors))) {
        found.set(keyOf(launch), [...(found.get(keyOf(launch)) ?? []), launch]);
      }
      for (const [key, launches] of found) samples.set(key, launches);
    }
    return new ModelledCalls(gpu, samples);
  }

  /** What the policy launches if it takes the GPU for one of so many multiprocessors. */
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
