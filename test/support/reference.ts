// The oracle: the formulas at the head of csrc/op/rms_norm.h in float64, one statement for each, on
// the values that the operator receives.

import { f16round } from '@petamoriken/float16';

import type { DType } from '../../lib';

// Looking up a global is slow in jest, so it is done once.
const { abs, floor, fround, log2, max, sign, sqrt } = Math;
const infinity = Infinity;

export type Round = (value: number) => number;

/** Rounds float64 to 8 significant bits in one step, to nearest even. */
export function bf16round(value: number): number {
  if (value === 0 || value - value !== 0) return value; // zeros, infinities, NaN
  // log2 may be off by an ulp next to a power of two, which both step sizes represent.
  const exponent = max(floor(log2(abs(value))), -126);
  const step = 2 ** (exponent - 7);
  const toInteger = 1.5 * 2 ** 52; // numbers this large are integers
  const rounded = (abs(value) / step + toInteger - toInteger) * step;
  return sign(value) * (rounded < 2 ** 128 ? rounded : infinity);
}

/** T(value): rounding to a dtype. */
export const roundTo: Readonly<Record<DType, Round>> = {
  float32: fround,
  float64: (value) => value,
  float16: f16round,
  bfloat16: bf16round,
};

export interface Problem {
  readonly x: ArrayLike<number>;
  /** Null means ones. */
  readonly weight: ArrayLike<number> | null;
  readonly hiddenSize: number;
  readonly eps: number;
  readonly weightOffset: number;
  /** T of xhat and g: rounding to a 16-bit dtype in the 'llama' order, otherwise null. */
  readonly round: Round | null;
  /** True for float64 tensors: the operator then rounds nothing to float32. */
  readonly isFloat64?: boolean;
  /** The relative error of the operator's x, if x is a computed product. */
  readonly xError?: number;
}

/** eps and weightOffset as the operator computes with them. */
function setting(problem: Problem, value: number): number {
  return problem.isFloat64 === true ? value : fround(value);
}

/** x + residual, rounded to their dtype. Sums of two values of the dtype are exact in float64. */
export function residualSum(
  x: ArrayLike<number>,
  residual: ArrayLike<number>,
  round: Round,
): Float64Array {
  return Float64Array.from(x, (value, i) => round(value + (residual[i] as number)));
}

/** w = weight + weightOffset, or 1 without a weight. */
export function scaleAt(problem: Problem, j: number): number {
  const { weight, weightOffset } = problem;
  return weight === null ? 1 : (weight[j] as number) + setting(problem, weightOffset);
}

export interface Forward {
  readonly rstd: Float64Array;
  /** Before the last cast. */
  readonly y: Float64Array;
}

export function forward(problem: Problem): Forward {
  const { x, hiddenSize, eps, round } = problem;
  const rstd = new Float64Array(x.length / hiddenSize);
  const y = new Float64Array(x.length);
  for (let r = 0; r < rstd.length; ++r) {
    let squares = 0;
    for (let j = 0; j < hiddenSize; ++j) squares += (x[r * hiddenSize + j] as number) ** 2;
    const scale = 1 / sqrt(squares / hiddenSize + setting(problem, eps));
    rstd[r] = scale;
    for (let j = 0; j < hiddenSize; ++j) {
      const xhat = (x[r * hiddenSize + j] as number) * scale;
      y[r * hiddenSize + j] = (round?.(xhat) ?? xhat) * scaleAt(problem, j);
    }
  }
  return { rstd, y };
}

export interface Backward {
  /** Before the last cast. */
  readonly dx: Float64Array;
  readonly dweight: Float64Array;
}

/**
 * `rstd`: forward's by default; tests may pass the one that the operator stored. `dsum`: the
 * gradient of x that does not come through y.
 */
export function backward(
  problem: Problem,
  dy: ArrayLike<number>,
  rstd: ArrayLike<number> = forward(problem).rstd,
  dsum: ArrayLike<number> | null = null,
): Backward {
  const { x, weight, hiddenSize, round } = problem;
  const dx = new Float64Array(x.length);
  const dweight = new Float64Array(hiddenSize);
  const g = new Float64Array(hiddenSize);
  for (let r = 0; r < rstd.length; ++r) {
    const scale = rstd[r] as number;
    let sum = 0;
    for (let j = 0; j < hiddenSize; ++j) {
      const i = r * hiddenSize + j;
      const product = (dy[i] as number) * scaleAt(problem, j);
      const rounded = weight === null ? product : (round?.(product) ?? product);
      g[j] = rounded;
      sum += rounded * (x[i] as number) * scale;
    }
    for (let j = 0; j < hiddenSize; ++j) {
      const i = r * hiddenSize + j;
      const xhat = (x[i] as number) * scale;
      dx[i] = scale * ((g[j] as number) - xhat * (sum / hiddenSize)) + (dsum?.[i] ?? 0);
      dweight[j] = (dweight[j] as number) + (dy[i] as number) * (round?.(xhat) ?? xhat);
    }
  }
  return { dx, dweight };
}

/** LayerNorm without bias: RMSNorm after subtracting the mean. */
export function layerNorm({ x, hiddenSize, eps, ...rest }: Problem): Float64Array {
  const centred = new Float64Array(x.length);
  for (let begin = 0; begin < x.length; begin += hiddenSize) {
    let sum = 0;
    for (let j = 0; j < hiddenSize; ++j) sum += x[begin + j] as number;
    for (let j = 0; j < hiddenSize; ++j) {
      centred[begin + j] = (x[begin + j] as number) - sum / hiddenSize;
    }
  }
  return forward({ x: centred, hiddenSize, eps, ...rest }).y;
}
