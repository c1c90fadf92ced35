import { DeviceBuffer, type DeviceDType, type Stream } from 'fused-rmsnorm';

import type { Arrays } from '../cases/arrays';
import { elementBytes, isBasic, minimumBytes, type Case, type Op } from '../cases/cases';
import { answerIn, type Answer } from '../cases/verify';
import { byPlan, intoNew, intoExisting, planOf, type MemorySet } from '../subjects/ours';

type BufferSet = MemorySet<DeviceBuffer>;

/** The matrices of an operation in the case's dtype, in the order of their slots in a set. */
const layouts: Readonly<Record<Op, readonly (keyof Arrays)[]>> = {
  forward: ['x', 'out'],
  backward: ['x', 'dy', 'out'],
  residual: ['x', 'residual', 'sum', 'out'],
  quantize: ['x'],
  gated: ['x', 'gate', 'out'],
};

const inputs = ['x', 'dy', 'residual', 'gate'] as const;

/** Alignment of each set in bytes: enough for the widest access. */
const alignment = 512;

/**
 * Allocates the memory of a case on a GPU `count` times, and makes the calls that can be enqueued
 * on each set. Throws CudaError `ERR_CUDA_OUT_OF_MEMORY`.
 */
export function gpuSets(one: Case, arrays: Arrays, count: number, stream: Stream) {
  const dtype = one.dtype as DeviceDType;
  const { device } = stream;
  const where = { stream };
  const size = one.rows * one.hiddenSize;
  const moved = Math.floor(minimumBytes(one) / elementBytes[dtype]);
  const half = Math.floor(moved / 2);
  const alignedTo = (bytes: number, length: number) => {
    const step = alignment / bytes;
    return Math.ceil(length / step) * step;
  };
  const stride = alignedTo(elementBytes[dtype], moved);
  const codeStride = alignedTo(1, arrays.codes.length);

  const memory = new DeviceBuffer(count * stride, dtype, { device });
  const codeMemory = new DeviceBuffer(count * codeStride, 'int8', { device });
  const shared = {
    weight: DeviceBuffer.from(arrays.weight, { dtype, stream }),
    dweight: new DeviceBuffer(arrays.dweight.length, dtype, { device }),
    rstd: DeviceBuffer.from(arrays.rstd, { dtype: 'float32', stream }),
    scales: new DeviceBuffer(arrays.scales.length, 'float32', { device }),
  };
  const buffers: { dispose(): void }[] = [memory, codeMemory, ...Object.values(shared)];
  const viewOf = (begin: number, length: number) => {
    const buffer = memory.subarray(begin, begin + length);
    buffers.push(buffer);
    return buffer;
  };
  const setAt = (index: number): BufferSet => {
    const begin = index * stride;
    const matrix = (name: keyof Arrays) => {
      const slot = layouts[one.op].indexOf(name);
      return slot < 0 ? viewOf(begin, 0) : viewOf(begin + slot * size, size);
    };
    const firstCode = index * codeStride;
    const codes = codeMemory.subarray(firstCode, firstCode + arrays.codes.length);
    buffers.push(codes);
    const [x, dy, residual] = [matrix('x'), matrix('dy'), matrix('residual')];
    const [gate, out, sum] = [matrix('gate'), matrix('out'), matrix('sum')];
    return { ...shared, x, dy, residual, gate, out, sum, codes };
  };
  const indices = Array.from({ length: count }, (_, index) => index);
  const sets = indices.map(setAt);
  const [first, ...others] = sets as [BufferSet, ...BufferSet[]];
  const plan = isBasic(one) ? planOf(one, first, where) : null;
  const toHost = (results: Answer<DeviceBuffer>): Answer =>
    Object.fromEntries(
      Object.entries(results).map(([name, buffer]) => [name, buffer.toHost(where)]),
    );

  return {
    /** The case on each set: into existing memory, by a plan if it has one, into new memory. */
    existing: sets.map((set) => intoExisting(one, set, where)),
    planned: plan === null ? null : sets.map((set) => byPlan(one, set, plan)),
    allocating: sets.map((set) => intoNew(one, set, where)),
    /** Copies that read and write as many bytes as the case must. */
    copies: indices.map((index) => {
      const begin = index * stride;
      const [source, target] = [viewOf(begin, half), viewOf(begin + half, half)];
      return () => {
        target.copyFrom(source, where);
      };
    }),
    /** Bytes that one copy reads, and as many that it writes. */
    copiedBytes: half * elementBytes[dtype],
    /** Fills every set: inputs from the arrays, outputs with NaN, codes with -128, which no row has. */
    fill: () => {
      for (const outputs of [memory, shared.dweight, shared.scales]) outputs.fill(NaN, where);
      codeMemory.fill(-128, where);
      for (const name of inputs) {
        if (arrays[name].length === 0) continue;
        first[name].copyFrom(arrays[name], where);
        for (const set of others) set[name].copyFrom(first[name], where);
      }
    },
    toHost,
    /** The results in the last set, after all enqueued work has run. */
    answer: () => toHost(answerIn(one, sets.at(-1) ?? first)),
    dispose: () => {
      for (const buffer of buffers) buffer.dispose();
    },
  };
}
