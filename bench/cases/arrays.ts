import { rmsNorm, toBFloat16, toFloat16, type DeviceBuffer, type DType } from 'fused-rmsnorm';

import { eps, type Case, type Op } from './cases';
import { fillRandom } from './random';

/** Elements of a dtype: of 16 bits, their bits. */
export type Elements = Float32Array | Float64Array | Uint16Array;

/** What holds codes of int8 beside elements in such memory. */
export type CodesOf<Memory> = Memory extends DeviceBuffer ? DeviceBuffer<'int8'> : Int8Array;

/** The memory of a case, in its dtype. What its operation does not have is of length 0. */
export interface Arrays {
  /** (rows, hiddenSize), random in [-2, 2). */
  readonly x: Elements;
  /** (hiddenSize), random in [-2, 2). */
  readonly weight: Elements;
  /** y, or dx of backward: (rows, hiddenSize). Not of quantize. */
  readonly out: Elements;
  /** Of backward: (rows, hiddenSize), random in [-2, 2). */
  readonly dy: Elements;
  /** Of backward: (hiddenSize). */
  readonly dweight: Elements;
  /** Of backward: forward's, (rows). Of quantize: memory for it. */
  readonly rstd: Float32Array | Float64Array;
  /** Of residual: (rows, hiddenSize), random in [-2, 2). */
  readonly residual: Elements;
  /** Of residual: x + residual, (rows, hiddenSize). */
  readonly sum: Elements;
  /** Of gated: (rows, hiddenSize), random in [-2, 2). */
  readonly gate: Elements;
  /** Of quantize: y / scale, (rows, hiddenSize). */
  readonly codes: Int8Array;
  /** Of quantize: (rows). */
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

/** The values themselves, or their bits in 16. */
export function inDType(dtype: DType, values: Float32Array | Float64Array): Elements {
  if (values instanceof Float64Array || dtype === 'float32') return values;
  return dtype === 'bfloat16' ? toBFloat16(values) : toFloat16(values);
}

function randomValues(dtype: DType, length: number, seed: number): Elements {
  const values = dtype === 'float64' ? new Float64Array(length) : new Float32Array(length);
  return inDType(dtype, fillRandom(values, seed));
}
