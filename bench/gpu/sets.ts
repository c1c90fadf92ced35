import {
  createPlan,
  DeviceBuffer,
  rmsNorm,
  type DeviceDType,
  type Plan,
  type Stream,
} from 'fused-rmsnorm';

import type { Arrays } from '../cases/arrays';
import { elementBytes, eps, matrices, type Case } from '../cases/cases';
import { answerIn, type Answer } from '../cases/verify';

/** The matrices of an operation, those that are read first: what is copied onto the others. */
const layouts = {
  forward: ['x', 'out'],
  backward: ['x', 'dy', 'out'],
  residual: ['x', 'residual', 'sum', 'out'],
} as const;

const inputs = ['x', 'dy', 'residual'] as const;

/** Sets start at addresses that suit every access. */
const alignment = 512;

/** One set of a case's memory: its matrices, one behind the other. */
type Block = Readonly<
  Record<(typeof layouts)[keyof typeof layouts][number] | 'first' | 'second', DeviceBuffer>
>;

/** By the names of an answer. */
export type Results = Readonly<Partial<Record<keyof Answer, DeviceBuffer>>>;

/** The memory of a case on a GPU, as often as is asked for, and what can be enqueued on each set. */
export class GpuSets {
  readonly #one: Case;
  readonly #arrays: Arrays;
  readonly stream: Stream;
  readonly #memory: DeviceBuffer;
  readonly #weight: DeviceBuffer;
  readonly #dweight: DeviceBuffer;
  readonly #rstd: DeviceBuffer;
  readonly #blocks: readonly Block[];
  readonly #plan: Plan<DeviceBuffer>;

  /** Throws CudaError `ERR_CUDA_OUT_OF_MEMORY`, with nothing left behind. */
  constructor(one: Case, arrays: Arrays, count: number, stream: Stream) {
    const { rows, hiddenSize } = one;
    const dtype = one.dtype as DeviceDType;
    const { device } = stream;
    const perBlock = alignment / elementBytes[dtype];
    const stride = Math.ceil((matrices[one.op] * rows * hiddenSize) / perBlock) * perBlock;
    this.#one = one;
    this.#arrays = arrays;
    this.stream = stream;
    this.#memory = new DeviceBuffer(count * stride, dtype, { device });
    this.#weight = DeviceBuffer.from(arrays.weight, { dtype, stream });
    this.#dweight = new DeviceBuffer(arrays.dweight.length, dtype, { device });
    this.#rstd = DeviceBuffer.from(arrays.rstd, { dtype: 'float32', stream });
    this.#blocks = Array.from({ length: count }, (_, i) => this.#block(i * stride));
    this.#plan = createPlan({ rows, weight: this.#weight, eps, stream, device });
  }

  /** Inputs become those of the arrays, outputs NaN, on every set. */
  fill(): void {
    const options = { stream: this.stream };
    this.#memory.fill(NaN, options);
    this.#dweight.fill(NaN, options);
    const [first, ...others] = this.#blocks;
    if (first === undefined) return;
    for (const name of inputs) {
      if (this.#arrays[name].length === 0) continue;
      first[name].copyFrom(this.#arrays[name], options);
      for (const block of others) block[name].copyFrom(first[name], options);
    }
  }

  /** Enqueues the case on a set, into memory that is there. */
  readonly call = (set: number): void => {
    const { x, dy, residual, out, sum } = this.#blocks[set] as Block;
    const { stream } = this;
    if (this.#one.op === 'forward') {
      rmsNorm(x, this.#weight, { eps, out, stream });
    } else if (this.#one.op === 'residual') {
      rmsNorm(x, this.#weight, { eps, out, residual, sumOut: sum, stream });
    } else {
      const dweightOut = this.#dweight;
      rmsNorm.backward(dy, x, this.#weight, this.#rstd, { dxOut: out, dweightOut, stream });
    }
  };

  /** The same through a plan. */
  readonly planned = (set: number): void => {
    const { x, out, dy, residual, sum } = this.#blocks[set] as Block;
    const plan = this.#plan;
    if (this.#one.op === 'forward') plan.forward(x, out);
    else if (this.#one.op === 'residual') plan.forward(x, out, null, residual, sum);
    else plan.backward(dy, x, this.#rstd, out, this.#dweight);
  };

  /** Enqueues the case on a set, into memory that is made for it. */
  fresh(set: number): Results {
    const { x, dy, residual } = this.#blocks[set] as Block;
    const { stream } = this;
    if (this.#one.op === 'forward') return { y: rmsNorm(x, this.#weight, { eps, stream }) };
    if (this.#one.op === 'residual') {
      return rmsNorm.forward(x, this.#weight, { eps, residual, stream });
    }
    return rmsNorm.backward(dy, x, this.#weight, this.#rstd, { stream });
  }

  /** Enqueues a copy that reads and writes as many bytes as the case does at least. */
  readonly copy = (set: number): void => {
    const { first, second } = this.#blocks[set] as Block;
    second.copyFrom(first, { stream: this.stream });
  };

  /** What one copy reads, and writes. */
  get copiedBytes(): number {
    return this.#blocks[0]?.first.byteLength ?? 0;
  }

  /** What a set holds as results, when all that is enqueued has run. */
  answer(set: number): Answer {
    const { out, sum } = this.#blocks[set] as Block;
    return this.toHost(answerIn(this.#one, { out, sum, dweight: this.#dweight }));
  }

  toHost(results: Results): Answer {
    const { stream } = this;
    return Object.fromEntries(
      Object.entries(results).map(([name, buffer]) => [name, buffer.toHost({ stream })]),
    );
  }

  dispose(): void {
    const parts = this.#blocks.flatMap((block) => Object.values(block));
    const buffers = [this.#memory, this.#weight, this.#dweight, this.#rstd, ...parts];
    for (const buffer of buffers) buffer.dispose();
  }

  #block(begin: number): Block {
    const { op, rows, hiddenSize } = this.#one;
    const size = rows * hiddenSize;
    const names: readonly string[] = layouts[op];
    const part = (name: string) => {
      const index = names.indexOf(name);
      const from = begin + Math.max(0, index) * size;
      return this.#memory.subarray(from, index < 0 ? from : from + size);
    };
    const half = Math.floor((names.length * size) / 2);
    return {
      ...{ x: part('x'), dy: part('dy'), residual: part('residual') },
      ...{ out: part('out'), sum: part('sum') },
      first: this.#memory.subarray(begin, begin + half),
      second: this.#memory.subarray(begin + half, begin + 2 * half),
    };
  }
}
