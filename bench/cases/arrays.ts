import { rmsNorm, toBFloat16, toFloat16, type DeviceBuffer, type DType } from 'fused-rmsnorm';

import { eps, type Case, type Op } from './cases';
import { fillRandom } from './random';

/** Elements of a dtype; a `Uint16Array` holds the bits of a 16-bit dtype. */
export type Elements = Float32Array | Float64Array | Uint16Array;

/** The type of int8 codes that goes with elements in `Memory`. */
export type CodesOf<Memory> = Memory extends DeviceBuffer ? DeviceBuffer<'int8'> : Int8Array;

/** The memory of a case, in its dtype. Arrays that its operation does not use have length 0. */
export interface Arrays {
  /** (rows, hiddenSize), random in [-2, 2). */
  readonly x: Elements;
  /** (hiddenSize), random in [-2, 2). */
  readonly weight: Elements;
  /** y, or dx for backward: (rows, hiddenSize). Unused by quantize. */
  readonly out: Elements;
  /** For backward: (rows, hiddenSize), random in [-2, 2). */
  readonly dy: Elements;
  /** For backward: (hiddenSize). */
  readonly dweight: Elements;
  /** (rows). For backward: an input, computed by forward. For quantize: memory for the result. */
  readonly rstd: Float32Array | Float64Array;
  /** For residual: (rows, hiddenSize), random in [-2, 2). */
  readonly residual: Elements;
  /** For residual: x + residual, (rows, hiddenSize). */
  readonly sum: Elements;
  /** For gated: (rows, hiddenSize), random in [-2, 2). */
  readonly gate: Elements;
  /** For quantize: y / scale, (rows, hiddenSize). */
  readonly codes: Int8Array;
  /** For quantize: (rows). */
  readonly scales: Float32Array;
}

export function makeArrays({ op, rows, hiddenSize, dtype }: Case): Arrays {
  const size = rows * hiddenSize;
  const only = (owner: Op, length: number) => (op === owner ? length : 0);
  const x = randomValues(dtype, size, 1);
  const weight = randomValues(dtype, hiddenSize, 2);
  const rstds = only('backward', rows) + only('quantize', rows);
  const rstd = new (dtype === 'float64' ? Float64Array : Float32Array)(rstds);
  const out = zeros(dtype, size - only('quantize', size));
  if (op === 'backward') rmsNorm.forward(x, weight, { dtype, eps, out, rstdOut: rstd });
  return {
    x,
    weight,
    rstd,
    out,
    dy: randomValues(dtype, only('backward', size), 3),
    dweight: zeros(dtype, only('backward', hiddenSize)),
    residual: randomValues(dtype, only('residual', size), 4),
    sum: zeros(dtype, only('residual', size)),
    gate: randomValues(dtype, only('gated', size), 5),
    codes: new Int8Array(only('quantize', size)),
    scales: new Float32Array(only('quantize', rows)),
  };
}

export function zeros(dtype: DType, length: number): Elements {
  if (dtype === 'float32') return new Float32Array(length);
  return dtype === 'float64' ? new Float64Array(length) : new Uint16Array(length);
}

/** The values in a dtype: their bits for a 16-bit dtype, otherwise the same array. */
export function inDType(dtype: DType, values: Float32Array | Float64Array): Elements {
  if (values instanceof Float64Array || dtype === 'float32') return values;
  return dtype === 'bfloat16' ? toBFloat16(values) : toFloat16(values);
}

function randomValues(dtype: DType, length: number, seed: number): Elements {
  const values = dtype === 'float64' ? new Float64Array(length) : new Float32Array(length);
  return inDType(dtype, fillRandom(values, seed));
}
