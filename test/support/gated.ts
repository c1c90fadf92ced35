// The oracle of gated calls, by their formulas in float64, and how far the operator's results may
// be from it. A gated call is the norm of reference.ts and bounds.ts between two products with the
// gate.

import type { GateOrder } from '../../lib';
import { backwardErrors, forwardErrors, roundedError } from './bounds';
import { backward, forward, type Problem } from './reference';

export interface GatedProblem extends Problem {
  readonly gate: ArrayLike<number>;
  readonly gateOrder: GateOrder;
}

export interface GatedForward {
  readonly rstd: Float64Array;
  /** Before the last cast. */
  readonly y: Float64Array;
}

export interface GatedBackward {
  /** Before the last cast, like dgate. */
  readonly dx: Float64Array;
  readonly dgate: Float64Array;
  readonly dweight: Float64Array;
}

const { abs, exp } = Math;
const u = 2 ** -24;
const tiny = 2 ** -149;

/**
 * The relative error of silu in float32. exp is off by an ulp, 2u. The product with it, the sum and
 * the division round once each. Only a share of exp's error counts, because exp is one term of the
 * sum.
 */
const siluError = 6 * u;
/** The relative error of x * silu(gate). */
const gatedXError = siluError + u;

const sigmoid = (z: number) => 1 / (1 + exp(-z));
const silu = (z: number) => z * sigmoid(z);
const siluDerivative = (z: number) => sigmoid(z) * (1 + z * sigmoid(-z));
/**
 * The absolute error, because its two terms may cancel. Each term is a product of factors like
 * silu's.
 */
const derivativeError = (z: number) => 8 * u * sigmoid(z) * (1 + abs(z) * sigmoid(-z)) + tiny;

/** The problem of the norm itself, and silu(gate). */
function normOf({ gate, gateOrder, ...problem }: GatedProblem) {
  const s = Float64Array.from(gate, silu);
  if (gateOrder === 'after-norm') return { norm: problem, s };
  const x = Float64Array.from(problem.x, (value, i) => value * (s[i] as number));
  return { norm: { ...problem, x, xError: gatedXError }, s };
}

/** The values that the gate multiplies after the norm, and their errors. */
function normed({ norm }: { norm: Problem }) {
  const { y } = forward(norm);
  const errors = forwardErrors(norm).y;
  const { round } = norm;
  return {
    values: y.map((value) => round?.(value) ?? value),
    errors: errors.map((error, i) => roundedError(y[i] as number, error, round)),
  };
}

export function gatedForward(problem: GatedProblem): GatedForward {
  const { norm, s } = normOf(problem);
  const { rstd, y } = forward(norm);
  if (problem.gateOrder === 'before-norm') return { rstd, y };
  return { rstd, y: normed({ norm }).values.map((value, i) => value * (s[i] as number)) };
}

/** dn = dy * silu(gate) if the gate comes after the norm; dy if it comes before. */
function dnOf(
  { gateOrder }: GatedProblem,
  { norm, s }: ReturnType<typeof normOf>,
  dy: ArrayLike<number>,
) {
  if (gateOrder === 'before-norm') return { dn: Float64Array.from(dy), errors: undefined };
  const exact = Float64Array.from(dy, (value, i) => value * (s[i] as number));
  const { round } = norm;
  return {
    dn: exact.map((value) => round?.(value) ?? value),
    errors: exact.map((value) => roundedError(value, abs(value) * (siluError + u) + tiny, round)),
  };
}

export function gatedBackward(problem: GatedProblem, dy: ArrayLike<number>): GatedBackward {
  const { gate, gateOrder, x } = problem;
  const normAndSilu = normOf(problem);
  const { dx, dweight } = backward(normAndSilu.norm, dnOf(problem, normAndSilu, dy).dn);
  const slope = Float64Array.from(gate, siluDerivative);
  if (gateOrder === 'before-norm') {
    const dgate = dx.map((value, i) => value * (x[i] as number) * (slope[i] as number));
    return { dx: dx.map((value, i) => value * (normAndSilu.s[i] as number)), dgate, dweight };
  }
  const { values } = normed(normAndSilu);
  const dgate = values.map((value, i) => (dy[i] as number) * value * (slope[i] as number));
  return { dx, dgate, dweight };
}

export interface GatedErrors {
  readonly rstd: Float64Array;
  readonly y: Float64Array;
  readonly dx: Float64Array;
  readonly dgate: Float64Array;
  readonly dweight: Float64Array;
}

/** Absolute errors, before the last cast. */
export function gatedErrors(problem: GatedProblem, dy: ArrayLike<number>): GatedErrors {
  const { gate, gateOrder, x } = problem;
  const normAndSilu = normOf(problem);
  const { norm, s } = normAndSilu;
  const of = forwardErrors(norm);
  const { dn, errors } = dnOf(problem, normAndSilu, dy);
  const back = backwardErrors(norm, dn, undefined, null, errors);
  const slope = Float64Array.from(gate, siluDerivative);
  const slopeErrors = Float64Array.from(gate, derivativeError);
  /** The absolute error of a * b * silu'(gate), where a is off by `error`. */
  const ofDgate = (a: number, error: number, b: number, i: number) => {
    const size = (abs(a) + error) * abs(b);
    const steep = abs(slope[i] as number) + (slopeErrors[i] as number);
    return abs(b) * error * steep + size * (slopeErrors[i] as number) + 3 * u * size * steep + tiny;
  };
  if (gateOrder === 'before-norm') {
    const inner = backward(norm, dn).dx;
    const dx = back.dx.map((error, i) => {
      const [value, gated] = [inner[i] as number, abs(s[i] as number)];
      return gated * (error + (abs(value) + error) * (siluError + u)) + tiny;
    });
    const dgate = back.dx.map((error, i) => ofDgate(inner[i] as number, error, x[i] as number, i));
    return { ...of, dx, dgate, dweight: back.dweight };
  }
  const n = normed(normAndSilu);
  const y = n.values.map((value, i) => {
    const error = n.errors[i] as number;
    return abs(s[i] as number) * (error + (abs(value) + error) * (siluError + u)) + tiny;
  });
  const dgate = n.values.map((value, i) =>
    ofDgate(value, n.errors[i] as number, dy[i] as number, i),
  );
  return { rstd: of.rstd, y, dx: back.dx, dgate, dweight: back.dweight };
}

/**
 * The loss whose gradients are those of y with the incoming gradient dy, for finite differences.
 */
export function gatedLoss(problem: GatedProblem, dy: ArrayLike<number>): number {
  const { y } = gatedForward(problem);
  return y.reduce((sum, value, i) => sum + value * (dy[i] as number), 0);
}
