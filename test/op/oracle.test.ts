// Checks the oracle, which the other tests rely on: its backward against central differences of its
// forward.

import { gatedBackward, gatedLoss } from '../support/gated';
import { backward, forward, type Problem } from '../support/reference';
import { normals } from '../support/support';

const hiddenSize = 9;
const rows = 3;
const x = normals(1, rows * hiddenSize, 1.5, 0.5);
const dy = normals(2, rows * hiddenSize);
const weight = normals(3, hiddenSize, 0.5, 1);

/** The loss whose gradient with respect to y is dy: the sum of dy * y. */
function loss(problem: Problem): number {
  const { y } = forward(problem);
  return y.reduce((sum, value, i) => sum + value * (dy[i] as number), 0);
}

/** A bound on the rounding error of `loss`: 2^-53 for each operation on a term. Forward and the sum
 * have fewer than 100 operations. */
function lossError(problem: Problem): number {
  const { y } = forward(problem);
  return 100 * 2 ** -53 * y.reduce((sum, value, i) => sum + Math.abs(value * (dy[i] as number)), 0);
}

const step = 1e-3;

/** ((loss at values[i] + step) - (loss at values[i] - step)) / (2 * step). */
function difference(problem: Problem, name: 'x' | 'weight', i: number): number {
  const at = (offset: number) => {
    const values = Float64Array.from(problem[name] as ArrayLike<number>);
    values[i] = (values[i] as number) + offset;
    return loss({ ...problem, [name]: values });
  };
  return (at(step) - at(-step)) / (2 * step);
}

// The error of a central difference is at most step²/6 times the third derivative of the loss. Let
// t = x_j, A = mean of the other x² + eps and a² = A * H. Then rstd is
// phi(t) = A^-1/2 (1 + (t/a)²)^-1/2, and |((1+z²)^-1/2)''| <= 1, |((1+z²)^-1/2)'''| <= 2 for every z.
// The loss of a row is phi(t) * (sum of the other g x) + g_j t phi(t). The third derivative of t phi
// is 3 phi'' + t phi'''.
function truncation(problem: Problem, i: number): number {
  const first = Math.floor(i / hiddenSize) * hiddenSize;
  let squares = 0;
  let others = 0;
  const gAt = (k: number) =>
    (dy[k] as number) *
    (problem.weight === null ? 1 : (weight[k - first] as number) + problem.weightOffset);
  for (let k = first; k < first + hiddenSize; ++k) {
    if (k === i) continue;
    squares += (x[k] as number) ** 2;
    others += gAt(k) * (x[k] as number);
  }
  const mean = squares / hiddenSize + problem.eps;
  const a = Math.sqrt(mean * hiddenSize);
  const second = 1 / (Math.sqrt(mean) * a ** 2);
  const third = 2 / (Math.sqrt(mean) * a ** 3);
  const t = Math.abs(x[i] as number) + step;
  return (step ** 2 / 6) * (Math.abs(others) * third + Math.abs(gAt(i)) * (3 * second + t * third));
}

const base = { x, hiddenSize, eps: 1e-6, weightOffset: 0, round: null };

describe.each<[string, Problem]>([
  ['no weight', { ...base, weight: null }],
  ['a weight', { ...base, weight }],
  ['a weight and an offset', { ...base, weight, weightOffset: 0.5 }],
  ['a large eps', { ...base, weight, eps: 2 }],
])('with %s', (_, problem) => {
  const gradients = backward(problem, dy);
  const rounding = lossError(problem) / step;

  test('dx is the gradient of the loss', () => {
    for (let i = 0; i < x.length; ++i) {
      const error = Math.abs((gradients.dx[i] as number) - difference(problem, 'x', i));
      expect(error).toBeLessThan(truncation(problem, i) + rounding);
    }
  });

  test('dweight is the gradient of the loss', () => {
    // The loss is linear in the weight, so there is no truncation error.
    const ones = problem.weight ?? new Float64Array(hiddenSize).fill(1);
    for (let j = 0; j < hiddenSize; ++j) {
      const ofWeight = difference({ ...problem, weight: ones }, 'weight', j);
      expect(Math.abs((gradients.dweight[j] as number) - ofWeight)).toBeLessThan(rounding);
    }
  });
});

describe.each(['after-norm', 'before-norm'] as const)('with a gate, %s', (gateOrder) => {
  const gate = normals(4, rows * hiddenSize, 2);
  const problem = { ...base, weight, gate, gateOrder };
  const gradients = gatedBackward(problem, dy);
  // Third derivatives are about as large as the gradients, so a step of 1e-4 makes a relative error of
  // about 1e-9.
  const small = 1e-4;
  test.each(['x', 'gate', 'weight'] as const)('the gradient of %s is that of the loss', (name) => {
    const gradient = { x: gradients.dx, gate: gradients.dgate, weight: gradients.dweight }[name];
    gradient.forEach((value, i) => {
      const at = (offset: number) => {
        const values = Float64Array.from(problem[name]);
        values[i] = (values[i] as number) + offset;
        return gatedLoss({ ...problem, [name]: values }, dy);
      };
      expect((at(small) - at(-small)) / (2 * small)).toBeCloseTo(value, 6);
    });
  });
});
