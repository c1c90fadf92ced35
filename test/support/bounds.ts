// How far the operator's results may lie from the oracle's, derived from the numerics contract of
// csrc/op/fold.h: every float32 operation of it rounds once, by at most the fraction u of its result.
//
// Only first-order terms are counted below. The relative errors multiplied are under 2^-12 (a row
// has under 2^20 columns), so the products of two of them add less than the factor `secondOrder`.
// `tiny` is what a result below float32's normal range can be off by; a product of it that is
// smaller still is rounded to 0.
//
// float64 tensors: the same with the u and tiny of float64, doubled, since the oracle rounds every
// operation as the operator does. Its sums are chains: as deep as there are terms.
//
// Where a 16-bit value is rounded, the float32 one before it lies in [exact - error, exact + error],
// and rounding is monotone: T(…) lies between the T of both ends. Unless a tie is between them, they
// are the same, and nothing but that one value is right.

import { forward, scaleAt, type Problem, type Round } from './reference';

// Looking a global up is slow in jest: once is enough.
const { abs, ceil, fround, log2, max, min } = Math;

const secondOrder = 1 + 2 ** -10;

/** u and tiny of the arithmetic of a problem; the oracle's share is in those of float64. */
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
 * Roundings on the way of one product through the fold: chain, tree of a tile, tree of tiles. The
 * oracle's sum is one chain, which counts where it is no more precise than the fold.
 */
function foldDepth({ hiddenSize, isFloat64 }: Problem): number {
  const chain = min(4, ceil(hiddenSize / 64));
  const depth = chain + 6 + ceil(log2(ceil(hiddenSize / 256)));
  return isFloat64 === true ? max(depth, hiddenSize) : depth;
}

/**
 * Of rstd, relative. The sum is off by the fold's depth, all its terms being positive, and the mean
 * by two more: 1/H and the product with it. The sum with eps rounds once. The root halves all that;
 * the root and the division round once each. Squares that underflow move the mean by less than
 * `tiny`, unless all do so with an eps of 0: the fold is then taken again, of larger numbers. An
 * rstd below the normal range is off by `tiny`.
 */
function rstdError(problem: Problem, row: number, rstd: number): number {
  const { u, tiny } = precisionOf(problem);
  const inMean = isRescaled(problem, row) ? 0 : tiny * rstd * rstd;
  const ofX = problem.xError ?? 0;
  return (((foldDepth(problem) + 3) / 2 + 2) * u + ofX + inMean + tiny / rstd) * secondOrder;
}

/** Whether all squares of a row are below float32's range, and nothing is added to them. */
function isRescaled({ x, hiddenSize, eps, isFloat64 }: Problem, row: number): boolean {
  if (eps > 0 || isFloat64 === true) return false;
  for (let j = 0; j < hiddenSize; ++j) {
    if (fround((x[row * hiddenSize + j] as number) ** 2) !== 0) return false;
  }
  return true;
}

/** Roundings of a product with w: none without weight, its own, that of weight + weightOffset. */
function scaleRoundings({ weight, weightOffset }: Problem): number {
  return weight === null ? 0 : weightOffset === 0 ? 1 : 2;
}

/** Of T(value), absolute, if value is off by at most `error`. */
export function roundedError(value: number, error: number, round: Round | null): number {
  if (round === null) return error;
  const rounded = round(value);
  return max(round(value + error) - rounded, rounded - round(value - error));
}

/** Of xhat as it is multiplied by w and by dy, absolute; `relative` is rstd's. */
function xhatError(problem: Problem, xhat: number, relative: number): number {
  const { u, tiny } = precisionOf(problem);
  const ofXhat = relative + u + (problem.xError ?? 0);
  return roundedError(xhat, abs(xhat) * ofXhat * secondOrder + tiny, problem.round);
}

export interface ForwardErrors {
  readonly rstd: Float64Array;
  readonly y: Float64Array;
}

/** Absolute, before the last cast. */
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
 * Absolute, before the last cast. With a `storedRstd` the oracle computes with it, and its error
 * does not count.
 *
 * dx = rstd * (g - xhat * cbar), cbar = rstd * mean(g * x): of cbar, the fold, the two products and
 * 1/H round; then xhat, the fused g - xhat * cbar and the product with rstd. Terms are bounded by
 * |g| and |xhat| * G where G = rstd * mean(|g * x|). Products g * x that underflow move their mean by
 * less than `tiny`. A sum with dsum rounds once more. `dyErrors`: by how much dy may be off, absolute.
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
      const part = (scale * abs(x[i] as number)) / hiddenSize;
      gError[j] = error;
      g[j] = size;
      mean += part * size;
      meanError += part * error;
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

/** Roundings on the way of one row's term into dweight. */
function dweightDepth({ isFloat64 }: Problem, rows: number): number {
  if (isFloat64 === true) return rows; // the oracle's chain
  const groupRows = max(16, 2 ** ceil(log2(ceil(rows / 512))));
  const groups = ceil(rows / groupRows);
  return min(rows, groupRows) + ceil(log2(max(groups, 1)));
}

/** Of previous + sum, absolute, if sum is off by at most `error`. */
export function accumulatedError(total: number, error: number): number {
  return error + (abs(total) + error) * float32.u;
}

/** Of float64 results that were rounded to float32, absolute. */
export function float32Error(value: number): number {
  return abs(value) * float32.u + float32.tiny;
}
