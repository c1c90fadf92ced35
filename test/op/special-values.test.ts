// Results for NaN, infinities, zeros, subnormals and extreme magnitudes. Where IEEE 754 arithmetic
// on the formula leaves a choice, the test states the choice.

import { rmsNorm } from '../../lib';
import { backwardErrors, forwardErrors } from '../support/bounds';
import { makeCase } from '../support/cases';
import { backward, forward, roundTo, type Problem } from '../support/reference';
import {
  arrayOf,
  dtypes,
  expectSameBits,
  expectWithin,
  normals,
  present,
  valuesOf,
  zeros,
  type HostArray,
} from '../support/support';

const row = (array: HostArray, r: number, hiddenSize: number) =>
  array.subarray(r * hiddenSize, (r + 1) * hiddenSize);

/** A problem of float32 rows without a weight. */
function problemOf(x: ArrayLike<number>, hiddenSize: number, eps: number): Problem {
  return { x, weight: null, hiddenSize, eps, weightOffset: 0, round: null };
}

describe.each(dtypes)('%s', (dtype) => {
  // Columns in the tail of a row, in a whole pair of vectors, and beyond the first tile.
  test.each([
    [9, 8],
    [100, 3],
    [600, 599],
  ])('a NaN or infinity in x of rows of %i stays in its row', (hiddenSize, column) => {
    const c = makeCase({ dtype, rows: 11, hiddenSize });
    const clean = rmsNorm.forward(c.x, c.weight, c.options);
    const cleanBack = rmsNorm.backward(c.dy, c.x, c.weight, null, c.options);
    for (const special of [NaN, Infinity, -Infinity]) {
      const x = c.x.slice();
      x.set(arrayOf(dtype, [special]), 4 * hiddenSize + column);
      const { y, rstd } = rmsNorm.forward(x, c.weight, c.options);
      const { dx } = rmsNorm.backward(c.dy, x, c.weight, null, c.options);
      for (let r = 0; r < 11; ++r) {
        if (r === 4) continue;
        expectSameBits(row(y, r, hiddenSize), row(clean.y, r, hiddenSize));
        expectSameBits(row(dx, r, hiddenSize), row(cleanBack.dx, r, hiddenSize));
        expect(rstd[r]).toBe(clean.rstd[r]);
      }
      const values = valuesOf(row(y, 4, hiddenSize), dtype);
      if (Number.isNaN(special)) {
        expect(rstd[4]).toBeNaN();
        expect(values.every(Number.isNaN)).toBe(true);
        expect(valuesOf(row(dx, 4, hiddenSize), dtype).every(Number.isNaN)).toBe(true);
      } else {
        // The mean is infinite and rstd is 0. Finite numbers become 0, the infinite one 0 * inf.
        expect(rstd[4]).toBe(0);
        expect(values.every((value, j) => (j === column ? Number.isNaN(value) : value === 0))).toBe(
          true,
        );
      }
    }
  });

  test('a NaN or infinity in dy stays in its row of dx and its column of dweight', () => {
    const c = makeCase({ dtype, rows: 35, hiddenSize: 100 });
    const clean = rmsNorm.backward(c.dy, c.x, c.weight, null, c.options);
    for (const special of [NaN, Infinity]) {
      const dy = c.dy.slice();
      dy.set(arrayOf(dtype, [special]), 20 * 100 + 97);
      const { dx, dweight } = rmsNorm.backward(dy, c.x, c.weight, null, c.options);
      for (let r = 0; r < 35; ++r) {
        if (r !== 20) expectSameBits(row(dx, r, 100), row(clean.dx, r, 100));
      }
      expect(valuesOf(row(dx, 20, 100), dtype).some(Number.isFinite)).toBe(false);
      const sums = valuesOf(present(dweight), dtype);
      const cleanSums = valuesOf(present(clean.dweight), dtype);
      // An infinite dy times xhat, which has the sign of x.
      const sign = Math.sign(valuesOf(c.x, dtype)[20 * 100 + 97] as number);
      expect(Math.abs(sign)).toBe(1);
      expect(sums[97]).toBe(special * sign);
      expect([...sums].filter((_, j) => j !== 97)).toEqual(
        [...cleanSums].filter((_, j) => j !== 97),
      );
    }
  });

  test('a NaN in weight reaches its column of y and all of dx, but not dweight', () => {
    const c = makeCase({ dtype, rows: 5, hiddenSize: 100 });
    const weight = (c.weight as HostArray).slice();
    weight.set(arrayOf(dtype, [NaN]), 42);
    const y = valuesOf(rmsNorm(c.x, weight, c.options), dtype);
    const clean = valuesOf(rmsNorm(c.x, c.weight, c.options), dtype);
    expect([...y]).toEqual([...clean].map((value, i) => (i % 100 === 42 ? NaN : value)));
    const { dx, dweight } = rmsNorm.backward(c.dy, c.x, weight, null, c.options);
    expect(valuesOf(dx, dtype).every(Number.isNaN)).toBe(true);
    const cleanBack = rmsNorm.backward(c.dy, c.x, c.weight, null, c.options);
    expectSameBits(present(dweight), cleanBack.dweight);
  });

  test('rows of zeros give y = 0, dx = dy * w / sqrt(eps) and dweight = 0', () => {
    const c = makeCase({ dtype, rows: 3, hiddenSize: 100, eps: 0.01 });
    const x = zeros(dtype, 300);
    const { y, rstd } = rmsNorm.forward(x, c.weight, c.options);
    expect(valuesOf(y, dtype).every((value) => value === 0)).toBe(true);
    const problem = { ...c.problem, x: valuesOf(x, dtype) };
    expectWithin(rstd, forward(problem).rstd, forwardErrors(problem).rstd, Math.fround);
    const { dx, dweight } = rmsNorm.backward(c.dy, x, c.weight, null, c.options);
    const round = problem.round ?? ((value: number) => value);
    const exact = c.dyValues.map(
      (value, i) => round(value * (problem.weight?.[i % 100] ?? 1)) / Math.sqrt(Math.fround(0.01)),
    );
    const errors = backwardErrors(problem, c.dyValues);
    expectWithin(valuesOf(dx, dtype), exact, errors.dx, roundTo[dtype]);
    expectSameBits(present(dweight), zeros(dtype, 100));
  });

  test('a weight of zeros gives y = 0 and dx = 0, and does not change dweight', () => {
    const c = makeCase({ dtype, rows: 3, hiddenSize: 100 });
    const weight = zeros(dtype, 100);
    const isZero = (array: HostArray) => valuesOf(array, dtype).every((value) => value === 0);
    expect(isZero(rmsNorm(c.x, weight, c.options))).toBe(true);
    const { dx, dweight } = rmsNorm.backward(c.dy, c.x, weight, null, c.options);
    expect(isZero(dx)).toBe(true);
    const known = rmsNorm.backward(c.dy, c.x, c.weight, null, c.options);
    expectSameBits(present(dweight), known.dweight);
  });

  test('zero rows give empty results and a dweight of zeros', () => {
    const none = zeros(dtype, 0);
    const weight = zeros(dtype, 9);
    const options = { dtype };
    expect(rmsNorm(none, weight, options).length).toBe(0);
    const { y, rstd } = rmsNorm.forward(none, weight, options);
    expect([y.length, rstd.length]).toEqual([0, 0]);
    const { dx, dweight } = rmsNorm.backward(none, none, weight, rstd, options);
    expect(dx.length).toBe(0);
    expectSameBits(dweight, zeros(dtype, 9));

    const stale = arrayOf(dtype, new Float64Array(9).fill(3));
    const accumulated = rmsNorm.backward(none, none, weight, null, {
      ...options,
      dweightOut: stale.slice(),
      accumulate: true,
    });
    expectSameBits(accumulated.dweight, stale);
    const replaced = { ...options, dweightOut: stale.slice() };
    expectSameBits(rmsNorm.backward(none, none, weight, null, replaced).dweight, zeros(dtype, 9));
  });

  // Magnitudes of x whose squares do not overflow, with an eps above or below the squares.
  const [subnormal, large] = {
    float32: [1e-41, 1e17],
    float16: [1e-7, 6e4],
    bfloat16: [1e-40, 1e17],
  }[dtype] as [number, number];
  test.each([
    [subnormal, 1e-6],
    [1e-3, 1e4],
    [large, 1e-6],
    [1e-3, 0],
    [1, 0],
    [large, 0],
  ])('x of magnitude %d with eps %d: results are within the bounds', (magnitude, eps) => {
    const hiddenSize = 111;
    const values = normals(8, 4 * hiddenSize)
      .map((value) => Math.max(-1, Math.min(1, value)) * magnitude)
      .map(roundTo[dtype]);
    const x = arrayOf(dtype, values);
    const round = dtype === 'float32' ? null : roundTo[dtype];
    const problem = { ...problemOf(values, hiddenSize, eps), round };
    const options = { dtype, eps, normalizedShape: hiddenSize };
    const { y, rstd } = rmsNorm.forward(x, null, options);
    const errors = forwardErrors(problem);
    expectWithin(rstd, forward(problem).rstd, errors.rstd, Math.fround);
    expectWithin(valuesOf(y, dtype), forward(problem).y, errors.y, roundTo[dtype]);
    expect(valuesOf(y, dtype).some((value) => value !== 0)).toBe(true);
  });
});

test('rows of one element give y = x / sqrt(x² + eps) * w', () => {
  const values = [-3, -1e-3, 0, 1e-3, 0.5, 7].map(Math.fround);
  const x = Float32Array.from(values);
  const weight = Float32Array.of(2);
  const problem = { ...problemOf(values, 1, 1e-6), weight };
  const dy = new Float32Array(6).fill(1);
  const { y, rstd } = rmsNorm.forward(x, weight);
  const exact = values.map((value) => (2 * value) / Math.sqrt(value * value + Math.fround(1e-6)));
  expectWithin(y, exact, forwardErrors(problem).y, Math.fround);
  const { dx, dweight } = rmsNorm.backward(dy, x, weight, rstd);
  const errors = backwardErrors(problem, dy);
  expectWithin(dx, backward(problem, dy).dx, errors.dx, Math.fround);
  const sum = exact.reduce((total, value) => total + value / 2, 0);
  expectWithin(dweight, [sum], errors.dweight, Math.fround);
});

// rescaled.test.ts has tighter bounds, and backward. A subnormal rstd has 22 bits.
test('rstd and y are right where squares overflow, or vanish with eps 0', () => {
  for (const [magnitude, hiddenSize, eps] of [
    [1e19, 1000, 1e-6], // the mean square fits in float32, the sum does not
    [1e20, 3, 1e-6],
    [3.4e38, 1, 1e-6],
    [1e-30, 2, 0],
    [1e-38, 1000, 0],
  ] as const) {
    const x = new Float32Array(hiddenSize).fill(magnitude);
    const { y, rstd } = rmsNorm.forward(x, null, { normalizedShape: hiddenSize, eps });
    expect(Math.abs((rstd[0] as number) * magnitude - 1)).toBeLessThan(2 ** -21);
    expect(y.every((value) => Math.abs(value - 1) < 2 ** -21)).toBe(true);
  }
});

test('a row of zeros with eps 0 gives an infinite rstd and a y of NaN', () => {
  const { y, rstd } = rmsNorm.forward(new Float32Array(5), null, { eps: 0, normalizedShape: 5 });
  expect([...rstd]).toEqual([Infinity]);
  expect([...y]).toEqual([NaN, NaN, NaN, NaN, NaN]);
});

test('float16 results are infinite only beyond the range of float16', () => {
  // xhat is 1, or less than a float16 ulp below. 65504 is the largest float16.
  const x = arrayOf('float16', [1, -1]);
  const yOf = (weight: number) =>
    valuesOf(rmsNorm(x, Float32Array.of(weight, weight), { dtype: 'float16', eps: 0 }), 'float16');
  expect([...yOf(65519)]).toEqual([65504, -65504]);
  expect([...yOf(65520)]).toEqual([Infinity, -Infinity]);
});

test('y has the sign of a zero in x', () => {
  for (const dtype of dtypes) {
    const x = arrayOf(dtype, [-0, 0, 1]);
    const values = valuesOf(rmsNorm(x, null, { dtype, normalizedShape: 3 }), dtype);
    expect([values[0], values[1]]).toEqual([-0, 0]);
  }
});
