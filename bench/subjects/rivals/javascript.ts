// Loops over typed arrays, written for speed: four sums that do not wait for each other, and no
// allocations but the results.

import type { Arrays, Elements } from '../../cases/arrays';
import { eps, isBasic, type Case } from '../../cases/cases';
import type { Answer } from '../../cases/verify';
import { timed } from '../../measure/measure';
import type { OutputMode } from '../subject';
import { float32, type PreparedRival, type Rival } from './rival';

export const javascript: Rival = {
  name: 'javascript',
  computes: 'rms-norm',
  description: 'loops over typed arrays in JavaScript, one thread',
  packages: [],
  outputs: ['given', 'fresh'],
  supports: (one) => isBasic(one) && one.dtype === 'float32',
  load: () => Promise.resolve({ version: process.version, prepare }),
};

function prepare(one: Case, arrays: Arrays, outputs: OutputMode): PreparedRival {
  const compute = computation(one, arrays, outputs);
  let results: Answer = {};
  return {
    run: (repeats) =>
      timed(repeats, () => {
        results = compute();
      }),
    results: () => results,
  };
}

function computation({ op, hiddenSize }: Case, arrays: Arrays, outputs: OutputMode): () => Answer {
  const memory = (elements: Elements) => {
    const existing = float32(elements);
    return outputs === 'given' ? () => existing : () => new Float32Array(existing.length);
  };
  const x = float32(arrays.x);
  const weight = float32(arrays.weight);
  const [out, dweight, sum] = [memory(arrays.out), memory(arrays.dweight), memory(arrays.sum)];
  if (op === 'forward') return () => ({ y: forward(x, weight, out()) });
  if (op === 'backward') {
    const dy = float32(arrays.dy);
    const rstd = float32(arrays.rstd);
    const sums = new Float64Array(hiddenSize);
    return () => {
      const dx = backward(dy, x, weight, rstd, out(), sums);
      const rounded = dweight();
      rounded.set(sums);
      return { dx, dweight: rounded };
    };
  }
  const residual = float32(arrays.residual);
  return () => {
    const added = add(x, residual, sum());
    return { y: forward(added, weight, out()), sum: added };
  };
}

function forward(x: Float32Array, weight: Float32Array, y: Float32Array): Float32Array {
  const hiddenSize = weight.length;
  for (let begin = 0; begin < x.length; begin += hiddenSize) {
    const mean = sumOfSquares(x, begin, begin + hiddenSize) / hiddenSize;
    const rstd = 1 / Math.sqrt(mean + eps);
    for (let j = 0; j < hiddenSize; ++j) {
      y[begin + j] = (x[begin + j] as number) * rstd * (weight[j] as number);
    }
  }
  return y;
}

function sumOfSquares(x: Float32Array, begin: number, end: number): number {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const x0 = x[i] as number;
    const x1 = x[i + 1] as number;
    const x2 = x[i + 2] as number;
    const x3 = x[i + 3] as number;
    a += x0 * x0;
    b += x1 * x1;
    c += x2 * x2;
    d += x3 * x3;
  }
  for (; i < end; ++i) {
    const value = x[i] as number;
    a += value * value;
  }
  return a + b + (c + d);
}

/** Returns dx, and writes the sums of dweight. */
function backward(
  dy: Float32Array,
  x: Float32Array,
  weight: Float32Array,
  rstds: Float32Array,
  dx: Float32Array,
  dweight: Float64Array,
): Float32Array {
  const hiddenSize = weight.length;
  dweight.fill(0);
  for (let row = 0; row < rstds.length; ++row) {
    const begin = row * hiddenSize;
    const rstd = rstds[row] as number;
    const cbar = (rstd * sumOfGradients(dy, x, weight, begin)) / hiddenSize;
    for (let j = 0; j < hiddenSize; ++j) {
      const gradient = dy[begin + j] as number;
      const xhat = (x[begin + j] as number) * rstd;
      dx[begin + j] = rstd * (gradient * (weight[j] as number) - xhat * cbar);
      dweight[j] = (dweight[j] as number) + gradient * xhat;
    }
  }
  return dx;
}

/** The sum of dy * weight * x over the row that begins at `begin`. */
function sumOfGradients(
  dy: Float32Array,
  x: Float32Array,
  weight: Float32Array,
  begin: number,
): number {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let j = 0;
  for (; j + 4 <= weight.length; j += 4) {
    const i = begin + j;
    a += (dy[i] as number) * (weight[j] as number) * (x[i] as number);
    b += (dy[i + 1] as number) * (weight[j + 1] as number) * (x[i + 1] as number);
    c += (dy[i + 2] as number) * (weight[j + 2] as number) * (x[i + 2] as number);
    d += (dy[i + 3] as number) * (weight[j + 3] as number) * (x[i + 3] as number);
  }
  for (; j < weight.length; ++j) {
    a += (dy[begin + j] as number) * (weight[j] as number) * (x[begin + j] as number);
  }
  return a + b + (c + d);
}

function add(a: Float32Array, b: Float32Array, sum: Float32Array): Float32Array {
  for (let i = 0; i < sum.length; ++i) sum[i] = (a[i] as number) + (b[i] as number);
  return sum;
}
