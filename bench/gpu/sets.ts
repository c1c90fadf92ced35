import { DeviceBuffer, type DeviceDType, type Stream } from 'fused-rmsnorm';

import type { Arrays } from '../cases/arrays';
import { elementBytes, matrices, type Case, type Op } from '../cases/cases';
import { answerIn, type Answer } from '../cases/verify';
import { byPlan, intoFresh, intoGiven, planOf, type MemorySet } from '../subjects/ours';

type BufferSet = MemorySet<DeviceBuffer>;

/** The matrices of an operation, those that are read first: what is copied onto the others. */
const layouts: Readonly<Record<Op, readonly (keyof Arrays)[]>> = {
  forward: ['x', 'out'],
  backward: ['x', 'dy', 'out'],
  residual: ['x', 'residual', 'sum', 'out'],
};

/** Sets start at addresses that suit every access. */
const alignment = 512;

/**
 * The memory of a case on a GPU, `count` times, and what can be enqueued on each set. Throws CudaError
 * `ERR_CUDA_OUT_OF_MEMORY`.
 */
export function gpuSets(one: Case, arrays: Arrays, count: number, stream: Stream) {
  const dtype = one.dtype as DeviceDType;
  const { device } = stream;
  const where = { stream };
  const size = one.rows * one.hiddenSize;
  const half = Math.floor((matrices[one.op] * size) / 2);
  const step = alignment / elementBytes[dtype];
  const stride = Math.ceil((matrices[one.op] * size) / step) * step;

  const memory = new DeviceBuffer(count * stride, dtype, { device });
  const shared = {
    weight: DeviceBuffer.from(arrays.weight, { dtype, stream }),
    dweight: new DeviceBuffer(arrays.dweight.length, dtype, { device }),
    rstd: DeviceBuffer.from(arrays.rstd, { dtype: 'float32', stream }),
  };
  const buffers = [memory, ...Object.values(shared)];
  const part = (begin: number, length: number) => {
    const buffer = memory.subarray(begin, begin + length);
    buffers.push(buffer);
    return buffer;
  };
  const setAt = (begin: number): BufferSet => {
    const matrix = (name: keyof Arrays) => {
      const index = layouts[one.op].indexOf(name);
      return index < 0 ? part(begin, 0) : part(begin + index * size, size);
    };
    const [x, dy, residual] = [matrix('x'), matrix('dy'), matrix('residual')];
    return { ...shared, x, dy, residual, out: matrix('out'), sum: matrix('sum') };
  };
  const begins = Array.from({ length: count }, (_, set) => set * stride);
  const sets = begins.map(setAt);
  const [first, ...others] = sets as [BufferSet, ...BufferSet[]];
  const plan = planOf(one, first, where);
  const toHost = (results: Answer<DeviceBuffer>): Answer =>
    Object.fromEntries(
      Object.entries(results).map(([name, buffer]) => [name, buffer.toHost(where)]),
    );

  return {
    /** The case on each set, into memory that is there; by a plan; into memory made for it. */
    given: sets.map((set) => intoGiven(one, set, where)),
    planned: sets.map((set) => byPlan(one, set, plan)),
    fresh: sets.map((set) => intoFresh(one, set, where)),
    /** Copies that read and write as many bytes as the case does at least. */
    copies: begins.map((begin) => {
      const [source, target] = [part(begin, half), part(begin + half, half)];
      return () => {
        target.copyFrom(source, where);
      };
    }),
    /** What one copy reads, and writes. */
    copiedBytes: half * elementBytes[dtype],
    /** Inputs become those of the arrays, outputs NaN, on every set. */
    fill: () => {
      memory.fill(NaN, where);
      shared.dweight.fill(NaN, where);
      for (const name of ['x', 'dy', 'residual'] as const) {
        if (arrays[name].length === 0) continue;
        first[name].copyFrom(arrays[name], where);
        for (const set of others) set[name].copyFrom(first[name], where);
      }
    },
    toHost,
    /** What the last set holds as results, when all that is enqueued has run. */
    answer: () => toHost(answerIn(one, sets.at(-1) ?? first)),
    dispose: () => {
      for (const buffer of buffers) buffer.dispose();
    },
  };
}
