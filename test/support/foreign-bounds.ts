// How far the results of other libraries may be off if they compute in float32, or in float64 for
// float64 tensors. The bounds are those of bounds.ts, except that the order of sums is unknown. In
// any order, a sum of n products, each rounded, is off by at most n * u of the sum of their
// magnitudes.

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
 * Absolute errors, before the last cast.
 *
 * rstd: the sum has n roundings (none if `isExact`: every sum of squares is a float32). The mean
 * has two, as a product with 1/H, and the sum with eps one. The root halves all these; the root and
 * the division round once each. y: two more products, and one rounding for a weight offset.
 *
 * dx = rstd * g - xhat * (rstd * mean(g * xhat)), however it is factored. No factoring takes more
 * than 16 roundings and 3 times the error of rstd, besides the roundings of the sum. dweight: the
 * sum over the rows of dy * xhat.
 */
export function foreignErrors(
  problem: Problem,
  dy: ArrayLike<number> | null = null,
  isExact = false,
): ForeignErrors {
  const { x, hiddenSize, isFloat64 } = problem;
  // The oracle computes in float64 too, so its error is as large as theirs.
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
 * Absolute errors of LayerNorm's y, if the mean is computed first. The mean is off by n roundings
 * of the mean magnitude, which shifts all x - mean alike. The difference rounds once more. The rest
 * is RMSNorm of these values. Its mean square changes by twice the shift times the mean of x -
 * mean, which is 0 except for roundings.
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
