// How far off the results of others may be that compute in float32, or in float64 for such tensors:
// the bounds of bounds.ts, but for sums in an order that is not known. A sum of n products, each
// rounded, is off by at most n * u of the sum of their magnitudes in any order.

import { forward, scaleAt, type Problem } from './reference';

const { abs } = Math;

const tiny = 2 ** -149;
const secondOrder = 1 + 2 ** -10;

export interface ForeignErrors {
  readonly rstd: Float64Array;
  readonly y: Float64Array;
  readonly dx: Float64Array;
  readonly dweight: Float64Array;
}

/**
 * Absolute, before the last cast.
 *
 * rstd: the sum (n roundings, none if `isExact`: if every sum of squares is a float32), the mean
 * (two, as a product with 1/H) and the sum with eps, all halved by the root; root and division.
 * y: two products more, and one for an offset of the weight.
 *
 * dx = rstd * g - xhat * (rstd * mean(g * xhat)), in whatever way that is factored: none takes more
 * than 16 roundings and 3 times the error of rstd beside those of the sum. dweight: the sum over the
 * rows of dy * xhat.
 */
export function foreignErrors(
  problem: Problem,
  dy: ArrayLike<number> | null = null,
  isExact = false,
): ForeignErrors {
  const { x, hiddenSize, isFloat64 } = problem;
  // The oracle is of float64, too, and off by as much as they are.
  const u = isFloat64 === true ? 2 * 2 ** -53 : 2 ** -24;
  const { rstd, y } = forward(problem);
  const inSum = isExact ? 0 : hiddenSize;
  const relative = ((inSum + 3) / 2 + 2) * u * secondOrder;
  const dx = new Float64Array(x.length);
  const dweight = new Float64Array(hiddenSize);
  for (let r = 0; dy !== null && r < rstd.length; ++r) {
    const scale = rstd[r] as number;
    let mean = 0;
    for (let j = 0; j < hiddenSize; ++j) {
      const i = r * hiddenSize + j;
      const g = (dy[i] as number) * scaleAt(problem, j);
      mean += abs(g * (x[i] as number) * scale) / hiddenSize;
    }
    for (let j = 0; j < hiddenSize; ++j) {
      const i = r * hiddenSize + j;
      const xhat = abs((x[i] as number) * scale);
      const g = abs((dy[i] as number) * scaleAt(problem, j));
      dx[i] = scale * (g + xhat * mean) * ((hiddenSize + 16) * u + 3 * relative) + tiny;
      const term = abs(dy[i] as number) * xhat * ((rstd.length + 2) * u + relative);
      dweight[j] = (dweight[j] as number) + term + tiny;
    }
  }
  return {
    rstd: rstd.map((value) => value * relative),
    y: y.map((value) => abs(value) * (relative + 3 * u) * secondOrder + tiny),
    dx,
    dweight,
  };
}

/**
 * Of LayerNorm's y, absolute, where the mean is taken first. The mean is off by n roundings of the
 * magnitudes' mean, which moves all of x - mean alike; the difference rounds once more. With these
 * the norm is RMSNorm's: its square mean moves by twice the product of that with the mean of x -
 * mean, which is 0 but for roundings.
 */
export function layerNormErrors(problem: Problem): Float64Array {
  const { x, hiddenSize } = problem;
  const u = 2 ** -24;
  const centred = Float64Array.from(x);
  const errors = new Float64Array(x.length);
  for (let begin = 0; begin < x.length; begin += hiddenSize) {
    const row = centred.subarray(begin, begin + hiddenSize);
    const mean = row.reduce((sum, value) => sum + value, 0) / hiddenSize;
    const size = row.reduce((sum, value) => sum + abs(value), 0) / hiddenSize;
    errors.fill((hiddenSize + 2) * u * size, begin, begin + hiddenSize);
    row.forEach((value, j) => (row[j] = value - mean));
  }
  const norm = { ...problem, x: centred };
  const { rstd } = forward(norm);
  const { y } = foreignErrors(norm);
  return y.map((error, i) => {
    const scale = rstd[Math.floor(i / hiddenSize)] as number;
    const inDifference = (errors[i] as number) + u * abs(centred[i] as number);
    // rstd is off by at most the same, relative to 1 / rstd.
    const xhat = abs((centred[i] as number) * scale);
    const w = abs(scaleAt(problem, i % hiddenSize));
    return (
      error + inDifference * scale * w * secondOrder + xhat * (errors[i] as number) * scale * w
    );
  });
}
