import { rmsNorm, toBFloat16, toFloat16, type DType } from 'fused-rmsnorm';

import { eps, type Case } from './cases';
import { fillRandom } from './random';

/** Elements of a dtype: of 16 bits, their bits. */
export type Elements = Float32Array | Float64Array | Uint16Array;

/** The memory of a case, in its dtype. What its operation does not have is of length 0. */
export interface Arrays {
  /** (rows, hiddenSize), random in [-2, 2). */
  readonly x: Elements;
  /** (hiddenSize), random in [-2, 2). */
  readonly weight: Elements;
  /** y, or dx of backward: (rows, hiddenSize). */
  readonly out: Elements;
  /** Of backward: (rows, hiddenSize), random in [-2, 2). */
  readonly dy: Elements;
  /** Of backward: (hiddenSize). */
  readonly dweight: Elements;
  /** Of backward: forward's, (rows). */
  readonly rstd: Float32Array | Float64Array;
  /** Of residual: (rows, hiddenSize), random in [-2, 2). */
  readonly residual: Elements;
  /** Of residual: x + residual, (rows, hiddenSize). */
  readonly sum: Elements;
}

export function makeArrays({ op, rows, hiddenSize, dtype }: Case): Arrays {
  const size = rows * hiddenSize;
  const ofBackward = op === 'backward' ? 1 : 0;
  const ofResidual = op === 'residual' ? 1 : 0;
  const x = randomValues(dtype, size, 1);
  const weight = randomValues(dtype, hiddenSize, 2);
  const rstd = new (dtype === 'float64' ? Float64Array : Float32Array)(ofBackward * rows);
  const out = zeros(dtype, size);
  if (op === 'backward') rmsNorm.forward(x, weight, { dtype, eps, out, rstdOut: rstd });
  return {
    x,
    weight,
    rstd,
    out,
    dy: randomValues(dtype, ofBackward * size, 3),
    dweight: zeros(dtype, ofBackward * hiddenSize),
    residual: randomValues(dtype, ofResidual * size, 4),
    sum: zeros(dtype, ofResidual * size),
  };
}

export function zeros(dtype: DType, length: number): Elements {
  if (dtype === 'float32') return new Float32Array(length);
  return dtype === 'float64' ? new Float64Array(length) : new Uint16Array(length);
}

/** The values themselves, or their bits in 16. */
export function inDType(dtype: DType, values: Float32Array | Float64Array): Elements {
  if (values instanceof Float64Array || dtype === 'float32') return values;
  return dtype === 'bfloat16' ? toBFloat16(values) : toFloat16(values);
}

function randomValues(dtype: DType, length: number, seed: number): Elements {
  const values = dtype === 'float64' ? new Float64Array(length) : new Float32Array(length);
  return inDType(dtype, fillRandom(values, seed));
}
