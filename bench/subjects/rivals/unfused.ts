// The alternative to a fused operation: the norm by this package, then a loop over typed arrays.

import { rmsNorm } from 'fused-rmsnorm';

import type { Arrays } from '../../cases/arrays';
import { eps, isBasic, type Case } from '../../cases/cases';
import { answerIn } from '../../cases/verify';
import { packageVersion } from '../../environment/package';
import { timed } from '../../measure/measure';
import { float32, type PreparedRival, type Rival } from './rival';

export const unfused: Rival = {
  name: 'unfused',
  computes: 'rms-norm',
  description: 'rmsNorm of this package, then the gate or codes in a JavaScript loop',
  packages: [],
  outputs: ['given'],
  supports: (one) => !isBasic(one) && one.dtype === 'float32',
  load: () => Promise.resolve({ version: packageVersion, prepare }),
};

function prepare(one: Case, arrays: Arrays): PreparedRival {
  const { x, weight, codes, scales } = arrays;
  const isGated = one.op === 'gated';
  const y = isGated ? float32(arrays.out) : new Float32Array(x.length);
  const gate = float32(arrays.gate);
  const rest = isGated
    ? () => {
        multiply(y, gate);
      }
    : () => {
        quantize(y, one.hiddenSize, codes, scales);
      };
  const options = { eps, out: y };
  const call = () => {
    rmsNorm(x, weight, options);
    rest();
  };
  return { run: (repeats) => timed(repeats, call), results: () => answerIn(one, arrays) };
}

/** y becomes y * silu(gate). */
function multiply(y: Float32Array, gate: Float32Array): void {
  for (let i = 0; i < y.length; ++i) {
    const z = gate[i] as number;
    y[i] = (y[i] as number) * (z / (1 + Math.exp(-z)));
  }
}

/** Adding it and subtracting it again rounds to the nearest whole number, ties to even. */
const rounder = 1.5 * 2 ** 52;

/** Quantises y to int8 with a scale for each row. */
function quantize(
  y: Float32Array,
  hiddenSize: number,
  codes: Int8Array,
  scales: Float32Array,
): void {
  for (let row = 0, begin = 0; row < scales.length; ++row, begin += hiddenSize) {
    const end = begin + hiddenSize;
    let largest = 0;
    for (let i = begin; i < end; ++i) {
      const magnitude = Math.abs(y[i] as number);
      if (magnitude > largest) largest = magnitude;
    }
    const scale = Math.fround(largest / 127);
    scales[row] = scale;
    for (let i = begin; i < end; ++i) {
      const quotient = scale === 0 ? 0 : Math.fround((y[i] as number) / scale);
      codes[i] = quotient + rounder - rounder;
    }
  }
}
