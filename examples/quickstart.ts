// Runs three RMSNorms of a small Llama, forward and backward, on the inputs of one training step.
// Compares the results with those that PyTorch computed in float64 (test/fixtures/README.md).

import path from 'node:path';

import Table from 'cli-table3';

import { getCpuVariant, getNumThreads, rmsNorm } from '../lib';
import { readSafetensors } from '../test/support/safetensors';

/** A float32 result may differ from a float64 one by a few roundings of 2^-24; more is an error. */
const tolerance = 2 ** -20;

const tensors = readSafetensors(
  path.join(__dirname, '..', 'test', 'fixtures', 'llama_norms.safetensors'),
);

function tensor(name: string): { data: Float32Array; shape: number[] } {
  const found = tensors.get(name);
  if (found === undefined) throw new Error(`The fixture has no ${name}`);
  return found;
}

/** The largest error, as a fraction of the largest expected value. */
function largestError(actual: Float32Array, expected: Float32Array): number {
  let error = 0;
  let scale = 0;
  expected.forEach((value, i) => {
    error = Math.max(error, Math.abs((actual[i] ?? NaN) - value));
    scale = Math.max(scale, Math.abs(value));
  });
  return error / scale;
}

/** The median time of 1001 calls, in nanoseconds. */
function timeOf(call: () => void): number {
  const times = Array.from({ length: 1001 }, () => {
    const start = process.hrtime.bigint();
    call();
    return Number(process.hrtime.bigint() - start);
  });
  return times.sort((a, b) => a - b)[500] ?? NaN;
}

let isRight = true;
const table = new Table({
  head: ['norm', 'rows x hidden', 'pass', 'µs', 'GB/s', 'largest error'],
  colAligns: ['left', 'right', 'left', 'right', 'right', 'right'],
  style: process.stdout.isTTY ? {} : { head: [], border: [] },
});

for (const norm of ['block0.attention_norm', 'block3.ffn_norm', 'block2.query_norm']) {
  const { data: x, shape } = tensor(`${norm}.x`);
  const { data: weight } = tensor(`${norm}.weight`);
  const { data: dy } = tensor(`${norm}.dy`);

  const { y, rstd } = rmsNorm.forward(x, weight);
  const { dx, dweight } = rmsNorm.backward(dy, x, weight, rstd);

  const errors = {
    forward: largestError(y, tensor(`${norm}.y`).data),
    backward: Math.max(
      largestError(dx, tensor(`${norm}.dx`).data),
      largestError(dweight, tensor(`${norm}.dweight`).data),
    ),
  };
  const times = {
    forward: timeOf(() => rmsNorm(x, weight, { out: y })),
    backward: timeOf(() =>
      rmsNorm.backward(dy, x, weight, rstd, { dxOut: dx, dweightOut: dweight }),
    ),
  };
  for (const pass of ['forward', 'backward'] as const) {
    const bytes = x.byteLength * (pass === 'forward' ? 2 : 3);
    const error = errors[pass];
    if (!(error <= tolerance)) isRight = false;
    table.push([
      norm,
      shape.join(' x '),
      pass,
      (times[pass] / 1000).toFixed(1),
      (bytes / times[pass]).toFixed(1),
      `${error.toExponential(1)}${error <= tolerance ? '' : ' WRONG'}`,
    ]);
  }
}

console.log(
  `RMSNorm on the CPU, variant ${getCpuVariant()}, at most ${getNumThreads()} threads.\n` +
    'GB/s: each element of x (and dy) read once, each of y (or dx) written once.\n' +
    'Error: against PyTorch in float64, as a fraction of the largest value.\n',
);
console.log(table.toString());
console.log(isRight ? '\nAll answers are right.' : '\nSome answers are WRONG.');
process.exitCode = isRight ? 0 : 1;
