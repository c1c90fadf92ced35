// The first requirements of this package: an RMSNorm that keeps the shape (2, 10, 512), gives rows an
// RMS of about 1, agrees with both ways to write the formula, and differs from LayerNorm.

import { rmsNorm, RMSNorm } from '../../lib';
import { forwardErrors } from '../support/bounds';
import { layerNorm, type Problem } from '../support/reference';
import { expectWithin, normals } from '../support/support';

const dims = [2, 10, 512];
const hiddenSize = 512;
const rows = 20;
// The mean is 0.7, so that subtracting it would show.
const x = Float32Array.from(normals(42, rows * hiddenSize, 1.5, 0.7));
const weight = Float32Array.from(normals(43, hiddenSize, 0.3, 1));
const ones = new Float32Array(hiddenSize).fill(1);
const eps = 1e-6;
const problem: Problem = { x, weight, hiddenSize, eps, weightOffset: 0, round: null };

/** y of every element by a formula that takes the mean square of its row. */
function fromFormula(formula: (value: number, meanSquare: number) => number): Float64Array {
  return Float64Array.from(x, (value, i) => {
    const first = Math.floor(i / hiddenSize) * hiddenSize;
    const row = Float64Array.from(x.subarray(first, first + hiddenSize));
    const squares = row.reduce((sum, element) => sum + element * element, 0);
    return formula(value, squares / hiddenSize) * (weight[i % hiddenSize] as number);
  });
}

test('the function and the module keep the shape (2, 10, 512)', () => {
  const y = rmsNorm({ data: x, dims }, weight);
  expect(y.dims).toEqual(dims);
  expect(y.data.length).toBe(2 * 10 * 512);
  const module = new RMSNorm(512);
  expect(module.forward({ data: x, dims }).dims).toEqual(dims);
});

test('the RMS of every row is 1 with a weight of ones', () => {
  const y = rmsNorm(x, ones);
  const errors = forwardErrors({ ...problem, weight: ones }).y;
  for (let r = 0; r < rows; ++r) {
    let squares = 0;
    let bound = 0;
    let inputSquares = 0;
    for (let i = r * hiddenSize; i < (r + 1) * hiddenSize; ++i) {
      const [value, error] = [y[i] as number, errors[i] as number];
      squares += value * value;
      bound += (2 * Math.abs(value) + error) * error;
      inputSquares += (x[i] as number) ** 2;
    }
    // mean(y²) = m / (m + eps), which is less than 1 by eps / m.
    const m = inputSquares / hiddenSize;
    expect(Math.abs(squares / hiddenSize - 1)).toBeLessThan(bound / hiddenSize + eps / m);
  }
});

test('y agrees with x / sqrt(m + eps) and with x * (1 / sqrt(m + eps))', () => {
  const y = rmsNorm(x, weight, { eps });
  const errors = forwardErrors(problem).y;
  const bySqrt = fromFormula((value, m) => value / Math.sqrt(m + eps));
  const byRsqrt = fromFormula((value, m) => value * (1 / Math.sqrt(m + eps)));
  expectWithin(y, bySqrt, errors, Math.fround);
  expectWithin(y, byRsqrt, errors, Math.fround);
});

test('y differs from LayerNorm where the mean is not 0', () => {
  const y = rmsNorm(x, weight, { eps });
  const errors = forwardErrors(problem).y;
  const other = layerNorm(problem);
  const apart = y.filter(
    (value, i) => Math.abs(value - (other[i] as number)) > (errors[i] as number),
  );
  expect(apart.length).toBeGreaterThan(0.99 * x.length);
});

test('y is LayerNorm without bias where every mean is 0', () => {
  // Each row is half of a row of x and its negation: the mean is 0 exactly.
  const centred = x.map((value, i) => {
    const [r, j] = [Math.floor(i / hiddenSize), i % hiddenSize];
    return j < hiddenSize / 2 ? value : -(x[r * hiddenSize + j - hiddenSize / 2] as number);
  });
  const centredProblem = { ...problem, x: centred };
  const errors = forwardErrors(centredProblem).y;
  const y = rmsNorm(centred, weight, { eps });
  expectWithin(y, layerNorm(centredProblem), errors, Math.fround);
});
