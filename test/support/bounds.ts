// How far the operator's results may be from the oracle's, derived from the numerics contract of
// csrc/op/fold.h. Every float32 operation of the contract rounds once, by at most the fraction u of
// its result.
//
// Only first-order terms are counted below. The relative errors multiplied are below 2^-12, since a
// row has fewer than 2^20 columns. So the products of two of them add less than the factor
// `secondOrder`. `tiny` is the largest error of a result below float32's normal range. A product
// with it that is smaller still is rounded to 0.
//
// float64 tensors use the u and tiny of float64, doubled, since the oracle rounds every operation
// too. The oracle's sums are chains, as deep as they have terms.
//
// A 16-bit value is rounded from a float32 one in [exact - error, exact + error]. Rounding is
// monotone, so T(…) lies between the T of both ends. Unless a tie lies between the ends, these are
// equal, and only that one value is right.

import { forward, scaleAt, type Problem, type Round } from './reference';

// Looking up a global is slow in jest, so it is done once.
const { abs, ceil, fround, log2, max, min } = Math;

const secondOrder = 1 + 2 ** -10;

/** u and tiny of a problem's arithmetic. Those of float64 include the oracle's own error. */
interface Precision {
  readonly u: number;
  readonly tiny: number;
}

const float32: Precision = { u: 2 ** -24, tiny: 2 ** -149 };
const float64: Precision = { u: 2 * 2 ** -53, tiny: 2 * 2 ** -1074 };

function precisionOf({ isFloat64 }: Problem): Precision {
  return isFloat64 === true ? float64 : float32;
}

/**
 * The number of roundings that one product passes in the row sum: chain, tree of a tile, tree of
 * tiles. The oracle's sum is one chain. It counts for float64, where the oracle is no more precise
 * than the contract.
 */
function foldDepth({ hiddenSize, isFloat64 }: Problem): number {
  const chain = min(4, ceil(hiddenSize / 64));
  const depth = chain + 6 + ceil(log2(ceil(hiddenSize / 256)));
  return isFloat64 === true ? max(depth, hiddenSize) : depth;
}

/**
 * The relative error of rstd. All terms of the sum are positive, so the sum is off by the depth of
 * the fold. The mean adds two: 1/H and the product with it. The sum with eps rounds once. The root
 * halves all that; the root and the division round once each. Squares that underflow change the
 * mean by less than `tiny`. If all squares underflow and eps is 0, the rescaled pass sums larger
 * numbers. An rstd below the normal range is off by `tiny`.
 */
function rstdError(problem: Problem, row: number, rstd: number): number {
  const { u, tiny } = precisionOf(problem);
  const inMean = isRescaled(problem, row) ? 0 : tiny * rstd * rstd;
  const ofX = problem.xError ?? 0;
  return (((foldDepth(problem) + 3) / 2 + 2) * u + ofX + inMean + tiny / rstd) * secondOrder;
}

/** True if all squares of a row are below float32's range and eps is 0. */
function isRescaled({ x, hiddenSize, eps, isFloat64 }: Problem, row: number): boolean {
  if (eps > 0 || isFloat64 === true) return false;
  for (let j = 0; j < hiddenSize; ++j) {
    if (fround((x[row * hiddenSize + j] as number) ** 2) !== 0) return false;
  }
  return true;
}

/**
 * The number of roundings of a product with w: none without a weight, its own, and that of weight +
 * weightOffset.
 */
function scaleRoundings({ weight, weightOffset }: Problem): number {
  return weight === null ? 0 : weightOffset === 0 ? 1 : 2;
}

/** The absolute error of T(value), if value is off by at most `error`. */
export function roundedError(value: number, error: number, round: Round | null): number {
  if (round === null) return error;
  const rounded = round(value);
  return max(round(value + error) - rounded, rounded - round(value - error));
}

/** The absolute error of xhat where w and dy multiply it; `relative` is the error of rstd. */
function xhatError(problem: Problem, xhat: number, relative: number): number {
  const { u, tiny } = precisionOf(problem);
  const ofXhat = relative + u + (problem.xError ?? 0);
  return roundedError(xhat, abs(xhat) * ofXhat * secondOrder + tiny, problem.round);
}

export interface ForwardErrors {
  readonly rstd: Float64Array;
  readonly y: Float64Array;
}

/** Absolute errors, before the last cast. */
export function forwardErrors(problem: Problem): ForwardErrors {
  const { x, hiddenSize, round } = problem;
  const { u, tiny } = precisionOf(problem);
  const { rstd } = forward(problem);
  const rstdErrors = rstd.map((value, r) => rstdError(problem, r, value));
  const y = new Float64Array(x.length);
  for (let r = 0; r < rstd.length; ++r) {
    for (let j = 0; j < hiddenSize; ++j) {
      const i = r * hiddenSize + j;
      const xhat = (x[i] as number) * (rstd[r] as number);
      const error = xhatError(problem, xhat, rstdErrors[r] as number);
      const w = abs(scaleAt(problem, j));
      const size = abs(round?.(xhat) ?? xhat) + error;
      y[i] = w * (error + size * scaleRoundings(problem) * u) * secondOrder + tiny;
    }
  }
  return { rstd: rstd.map((value, r) => value * (rstdErrors[r] as number)), y };
}

export interface BackwardErrors {
  readonly dx: Float64Array;
  readonly dweight: Float64Array;
}

/**
 * Absolute errors, before the last cast. With a `storedRstd` the oracle computes with it, and its
 * error does not count.
 *
 * dx = rstd * (g - xhat * cbar), cbar = rstd * mean(g * x). In cbar the fold, the two products and
 * 1/H round; then xhat, the fused g - xhat * cbar and the product with rstd. Terms are bounded by
 * |g| and |xhat| * G, where G = rstd * mean(|g * x|). Products g * x that underflow change their
 * mean by less than `tiny`. A sum with dsum rounds once more. `dyErrors`: the absolute errors of
 * dy.
 *
 * dweight: a chain over the rows of a group, then a tree over the groups.
 */
export function backwardErrors(
  problem: Problem,
  dy: ArrayLike<number>,
  storedRstd?: ArrayLike<number>,
  dsum: ArrayLike<number> | null = null,
  dyErrors?: ArrayLike<number>,
): BackwardErrors {
  const { x, hiddenSize, round, xError: ofX = 0 } = problem;
  const { u, tiny } = precisionOf(problem);
  const rstd = storedRstd ?? forward(problem).rstd;
  const dx = new Float64Array(x.length);
  const dweight = new Float64Array(hiddenSize);
  const g = new Float64Array(hiddenSize);
  const gError = new Float64Array(hiddenSize);
  const roundings = dweightDepth(problem, rstd.length);
  for (let r = 0; r < rstd.length; ++r) {
    const scale = rstd[r] as number;
    const ofRstd = storedRstd === undefined ? rstdError(problem, r, scale) : 0;
    let mean = 0;
    let meanError = 0;
    for (let j = 0; j < hiddenSize; ++j) {
      const i = r * hiddenSize + j;
      const product = (dy[i] as number) * scaleAt(problem, j);
      const ofDy = dyErrors?.[i] ?? 0;
      const inProduct =
        (abs(product) * scaleRoundings(problem) * u + abs(scaleAt(problem, j)) * ofDy) *
        secondOrder;
      const isRounded = problem.weight !== null;
      const error = isRounded ? roundedError(product, inProduct + tiny, round) : ofDy;
      const size = abs(isRounded ? (round?.(product) ?? product) : product) + error;
      const share = (scale * abs(x[i] as number)) / hiddenSize;
      gError[j] = error;
      g[j] = size;
      mean += share * size;
      meanError += share * error;
    }
    const cbarError =
      meanError + mean * ((foldDepth(problem) + 3) * u + ofRstd + ofX) + scale * tiny;
    for (let j = 0; j < hiddenSize; ++j) {
      const i = r * hiddenSize + j;
      const xhat = (x[i] as number) * scale;
      const size = (g[j] as number) + abs(xhat) * mean;
      const inDifference =
        (gError[j] as number) +
        abs(xhat) * (cbarError + mean * (ofRstd + ofX + u)) +
        size * (u + ofRstd + u);
      const inFormula = scale * inDifference * secondOrder + tiny * (1 + scale);
      const added = dsum?.[i] ?? 0;
      const inSum = added === 0 ? 0 : u * (scale * size + abs(added));
      dx[i] = inFormula + inSum * secondOrder;

      const error = xhatError(problem, xhat, ofRstd);
      const hat = abs(round?.(xhat) ?? xhat) + error;
      const ofDy = dyErrors?.[i] ?? 0;
      const inTerm = (abs(dy[i] as number) + ofDy) * (error + hat * roundings * u) + hat * ofDy;
      dweight[j] = (dweight[j] as number) + inTerm * secondOrder + tiny;
    }
  }
  return { dx, dweight };
}

/** The number of roundings that one row's term passes in dweight. */
function dweightDepth({ isFloat64 }: Problem, rows: number): number {
  if (isFloat64 === true) return rows; // the oracle's chain
  const groupRows = max(16, 2 ** ceil(log2(ceil(rows / 512))));
  const groups = ceil(rows / groupRows);
  return min(rows, groupRows) + ceil(log2(max(groups, 1)));
}

/** The absolute error of previous + sum, if sum is off by at most `error`. */
export function accumulatedError(total: number, error: number): number {
  return error + (abs(total) + error) * float32.u;
}

/** The absolute error of float64 results that were rounded to float32. */
export function float32Error(value: number): number {
  return abs(value) * float32.u + float32.tiny;
}
