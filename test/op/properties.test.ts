// Properties that hold for any input, checked on random inputs of fast-check with a fixed seed.

import fc from 'fast-check';

import { rmsNorm } from '../../lib';
import { backwardErrors, forwardErrors } from '../support/bounds';
import { makeCase } from '../support/cases';
import { backward, forward, roundTo } from '../support/reference';
import { dtypes, expectSameBits, expectWithin, valuesOf } from '../support/support';

fc.configureGlobal({ seed: 20190516, numRuns: 60 });

const caseOptions = fc.record({
  dtype: fc.constantFrom(...dtypes),
  rows: fc.integer({ min: 1, max: 40 }),
  hiddenSize: fc.integer({ min: 1, max: 700 }),
  weightKind: fc.constantFrom('none' as const, 'same' as const, 'float32' as const),
  castOrder: fc.constantFrom('llama' as const, 'float' as const),
  weightOffset: fc.constantFrom(0, 1, -1, 0.1),
  eps: fc.constantFrom(0, 1e-6, 1e-2, 3),
  lead: fc.integer({ min: 0, max: 40 }),
});

test('results of any problem are within the bounds', () => {
  fc.assert(
    fc.property(caseOptions, (options) => {
      const c = makeCase(options);
      const { y, rstd } = rmsNorm.forward(c.x, c.weight, c.options);
      const { dx, dweight } = rmsNorm.backward(c.dy, c.x, c.weight, null, c.options);
      const errors = forwardErrors(c.problem);
      const exact = forward(c.problem);
      expectWithin(rstd, exact.rstd, errors.rstd, Math.fround);
      expectWithin(valuesOf(y, c.dtype), exact.y, errors.y, roundTo[c.dtype]);
      const backErrors = backwardErrors(c.problem, c.dyValues);
      const gradients = backward(c.problem, c.dyValues);
      expectWithin(valuesOf(dx, c.dtype), gradients.dx, backErrors.dx, roundTo[c.dtype]);
      expect(dweight === null).toBe(c.weight === null);
      if (dweight === null) return;
      const sums = valuesOf(dweight, c.weightDtype);
      expectWithin(sums, gradients.dweight, backErrors.dweight, roundTo[c.weightDtype]);
    }),
  );
});

/** Mean squares of these over 300 columns, even scaled by 2^±72, are in float32's normal range. */
const moderate = fc
  .float({ noNaN: true, min: Math.fround(2 ** -20), max: Math.fround(2 ** 20) })
  .chain((magnitude) => fc.constantFrom(magnitude, -magnitude, 0));

const rowOf = fc
  .array(moderate, { minLength: 1, maxLength: 300 })
  .filter((row) => row.some((value) => value !== 0))
  .map((row) => Float32Array.from(row));

test('y of 2^k x has the bits of y of x', () => {
  fc.assert(
    fc.property(rowOf, fc.integer({ min: -36, max: 36 }), (x, k) => {
      // The mean square scales exactly, and rstd scales exactly by 2^-k, which cancels 2^k.
      const options = { eps: 0, normalizedShape: x.length };
      const scaled = x.map((value) => value * 2 ** k);
      expectSameBits(rmsNorm(scaled, null, options), rmsNorm(x, null, options));
      const negated = x.map((value) => -value);
      const y = rmsNorm(x, null, options);
      expectSameBits(
        rmsNorm(negated, null, options),
        y.map((value) => -value),
      );
    }),
  );
});

test('dx is orthogonal to x if eps is 0', () => {
  fc.assert(
    fc.property(rowOf, fc.integer(), (x, seed) => {
      const hiddenSize = x.length;
      const dy = x.map((_, i) => Math.fround(Math.sin(seed + i * i)));
      const { dx } = rmsNorm.backward(dy, x, null, null, { eps: 0, normalizedShape: hiddenSize });
      const problem = { x, weight: null, hiddenSize, eps: 0, weightOffset: 0, round: null };
      const errors = backwardErrors(problem, dy).dx;
      // The exact product is 0, so the actual one has only the errors of dx.
      let product = 0;
      let bound = 0;
      for (let j = 0; j < hiddenSize; ++j) {
        product += (dx[j] as number) * (x[j] as number);
        bound += (errors[j] as number) * Math.abs(x[j] as number);
      }
      expect(Math.abs(product)).toBeLessThanOrEqual(bound);
    }),
  );
});

test('the mean square of y is 1 if eps is 0', () => {
  fc.assert(
    fc.property(rowOf, (x) => {
      const hiddenSize = x.length;
      const y = rmsNorm(x, null, { eps: 0, normalizedShape: hiddenSize });
      const problem = { x, weight: null, hiddenSize, eps: 0, weightOffset: 0, round: null };
      const errors = forwardErrors(problem).y;
      // (y + e)² = y² + 2 y e + e²
      const bound = y.reduce((sum, value, i) => {
        const error = errors[i] as number;
        return sum + (2 * Math.abs(value) + error) * error;
      }, 0);
      const squares = y.reduce((sum, value) => sum + value * value, 0);
      // Both sides are multiplied by hiddenSize. The float64 arithmetic here adds less than 2^-40 of it.
      expect(Math.abs(squares - hiddenSize)).toBeLessThanOrEqual(bound + hiddenSize * 2 ** -40);
    }),
  );
});

test('twice the dy gives exactly twice the dx and dweight', () => {
  fc.assert(
    fc.property(caseOptions, (options) => {
      const c = makeCase({ ...options, dtype: 'float32' });
      const twice = c.dy.map((value) => 2 * value);
      const once = rmsNorm.backward(c.dy, c.x, c.weight, null, c.options);
      const { dx, dweight } = rmsNorm.backward(twice, c.x, c.weight, null, c.options);
      expectSameBits(
        dx,
        once.dx.map((value) => 2 * value),
      );
      expect(dweight === null).toBe(c.weight === null);
      expectSameBits(dweight, once.dweight?.map((value) => 2 * value) ?? null);
    }),
  );
});

test('rows in another order give the same results in that order', () => {
  const rows = fc.integer({ min: 2, max: 40 });
  fc.assert(
    fc.property(caseOptions, rows, fc.nat(), (options, rowCount, seed) => {
      const { x, weight, hiddenSize, ...c } = makeCase({ ...options, rows: rowCount });
      const from = seed % rowCount;
      const rotate = <A extends { slice(begin?: number, end?: number): A }>(array: A): A[] => [
        array.slice(from * hiddenSize),
        array.slice(0, from * hiddenSize),
      ];
      const y = rmsNorm(x, weight, c.options);
      for (const [i, rotated] of rotate(x).entries()) {
        expectSameBits(rmsNorm(rotated, weight, c.options), rotate(y)[i] ?? null);
      }
    }),
  );
});
