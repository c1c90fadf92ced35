// RMSNorm as other libraries write it, one step a line. Each step is rounded to nearest, as PyTorch
// rounds on a CPU. If the sum of the squares is exact in every order, all later steps are
// determined.

import type { Round } from './reference';

const { fround, sqrt } = Math;

/** y from xhat and the weight's value, both float32. T rounds to the dtype of x. */
export type Scaling = (xhat: number, weight: number, T: Round) => number;

export const scalings = {
  /** `weight * xhat.to(dtype)` */
  llama: (xhat, weight, T) => T(fround(T(xhat) * weight)),
  /** `(weight * xhat).to(dtype)` */
  once: (xhat, weight, T) => T(fround(xhat * weight)),
  /** `(xhat * (1.0 + weight.float())).to(dtype)` */
  onePlus: (xhat, weight, T) => T(fround(xhat * fround(1 + weight))),
  /** `xhat.to(dtype)` */
  none: (xhat, _, T) => T(xhat),
} as const satisfies Record<string, Scaling>;

export interface ForeignNorm {
  readonly x: ArrayLike<number>;
  /** As long as a row. A row has a power of two elements, so that the mean is exact. */
  readonly weight: ArrayLike<number>;
  readonly eps: number;
  readonly scaling: Scaling;
  readonly round: Round;
  /** Computes xhat as x / root, not as x * (1 / root). */
  readonly divides?: boolean;
}

export function foreignNorm({ x, weight, eps, scaling, round, divides }: ForeignNorm) {
  const { length } = weight;
  const y = new Float64Array(x.length);
  for (let begin = 0; begin < x.length; begin += length) {
    let squares = 0;
    for (let j = 0; j < length; ++j) squares += (x[begin + j] as number) ** 2;
    const mean = squares / length;
    if (fround(squares) !== squares || fround(mean) !== mean) throw new Error('The sum rounds');
    const root = fround(sqrt(fround(mean + fround(eps))));
    const rstd = fround(1 / root);
    for (let j = 0; j < length; ++j) {
      const value = x[begin + j] as number;
      const xhat = divides === true ? fround(value / root) : fround(value * rstd);
      y[begin + j] = scaling(xhat, weight[j] as number, round);
    }
  }
  return y;
}
