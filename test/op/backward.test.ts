import { rmsNorm, type RstdArray } from '../../lib';
import { accumulatedError, backwardErrors } from '../support/bounds';
import { coveringCases, makeCase, type Case } from '../support/cases';
import { backward, roundTo } from '../support/reference';
import {
  arrayOf,
  dtypes,
  expectSameBits,
  expectWithin,
  guarded,
  normals,
  valuesOf,
} from '../support/support';

/** Checks the gradients of a case against the oracle. Both use `rstd`, or compute it if null. */
function expectGradients(c: Case, rstd: RstdArray | null): void {
  const { dtype, weightDtype, lead } = c;
  const dxOut = guarded(dtype, c.x.length, lead);
  const dweightOut = guarded(weightDtype, c.hiddenSize, lead);
  const inputs = [c.x, c.dy, c.weight, rstd];
  const copies = inputs.map((input) => input?.slice() ?? null);

  const result = rmsNorm.backward(c.dy, c.x, c.weight, rstd, {
    ...c.options,
    dxOut: dxOut.array,
    ...(c.weight === null ? {} : { dweightOut: dweightOut.array }),
  });

  expect(result.dx).toBe(dxOut.array);
  dxOut.expectIntact();
  dweightOut.expectIntact();
  for (const [i, input] of inputs.entries()) expectSameBits(input, copies[i] as typeof input);

  const exact = backward(c.problem, c.dyValues, rstd ?? undefined);
  const errors = backwardErrors(c.problem, c.dyValues, rstd ?? undefined);
  expectWithin(valuesOf(dxOut.array, dtype), exact.dx, errors.dx, roundTo[dtype]);
  if (c.weight === null) {
    expect(result.dweight).toBeNull();
    return;
  }
  expect(result.dweight).toBe(dweightOut.array);
  const dweight = valuesOf(dweightOut.array, weightDtype);
  expectWithin(dweight, exact.dweight, errors.dweight, roundTo[weightDtype]);
}

test.each(coveringCases([1, 2, 3, 17, 5]))(
  '%s: gradients are within the bounds',
  (_, caseOptions) => {
    const c = makeCase(caseOptions);
    const { rstd } = rmsNorm.forward(c.x, c.weight, c.options);
    expectGradients(c, rstd);
    expectGradients(c, null);
  },
);

// More rows than one row group, than one block of groups, and than 512 groups of 16; and rows of more
// tiles than the row sum buffers at once (kBufferedTiles).
test.each([
  [33, 100],
  [500, 31],
  [1200, 65],
  [8200, 9],
  [2, 300001],
])('%i rows of %i: gradients are within the bounds', (rows, hiddenSize) => {
  for (const dtype of dtypes) {
    expectGradients(makeCase({ dtype, rows, hiddenSize, weightKind: 'float32' }), null);
  }
});

describe.each(dtypes)('%s', (dtype) => {
  const sizes = [1, 9, 100, 769, 5125];

  test.each(sizes)(
    'rows of %i: a stored and a recomputed rstd give the same bits',
    (hiddenSize) => {
      const { x, dy, weight, options } = makeCase({ dtype, rows: 21, hiddenSize });
      const { rstd } = rmsNorm.forward(x, weight, options);
      const stored = rmsNorm.backward(dy, x, weight, rstd, options);
      for (const recomputed of [
        rmsNorm.backward(dy, x, weight, null, options),
        rmsNorm.backward(dy, x, weight, undefined, options),
      ]) {
        expectSameBits(recomputed.dx, stored.dx);
        expectSameBits(recomputed.dweight, stored.dweight);
      }
    },
  );

  test.each(sizes)('rows of %i: every choice of outputs gives the same bits', (hiddenSize) => {
    const { x, dy, weight, options } = makeCase({ dtype, rows: 21, hiddenSize });
    const { rstd } = rmsNorm.forward(x, weight, options);
    const { dx, dweight } = rmsNorm.backward(dy, x, weight, rstd, options);

    const onlyDx = rmsNorm.backward(dy, x, weight, rstd, { ...options, needsDweight: false });
    expectSameBits(onlyDx.dx, dx);
    expect(onlyDx.dweight).toBeNull();
    const onlyDweight = rmsNorm.backward(dy, x, weight, rstd, { ...options, needsDx: false });
    expectSameBits(onlyDweight.dweight, dweight);
    expect(onlyDweight.dx).toBeNull();
    const nothing = { ...options, needsDx: false, needsDweight: false } as const;
    expect(rmsNorm.backward(dy, x, weight, rstd, nothing)).toEqual({
      ...{ dx: null, dweight: null, dgate: null },
    });

    const dyInPlace = dy.slice();
    const overDy = rmsNorm.backward(dyInPlace, x, weight, rstd, { ...options, dxOut: dyInPlace });
    expect(overDy.dx).toBe(dyInPlace);
    expectSameBits(dyInPlace, dx);
    expectSameBits(overDy.dweight, dweight);

    // To recompute rstd, a call reads each row of x twice before dx replaces it.
    for (const givenRstd of [rstd, null]) {
      const xInPlace = x.slice();
      const overX = rmsNorm.backward(dy, xInPlace, weight, givenRstd, {
        ...options,
        dxOut: xInPlace,
      });
      expectSameBits(xInPlace, dx);
      expectSameBits(overX.dweight, dweight);
    }
  });

  test('without a weight there is no dweight, and dx is that of a weight of ones', () => {
    const { x, dy, options } = makeCase({ dtype, rows: 5, hiddenSize: 100 });
    const ones = arrayOf(dtype, new Float64Array(100).fill(1));
    const without = rmsNorm.backward(dy, x, null, null, options);
    expect(without.dweight).toBeNull();
    expectSameBits(without.dx, rmsNorm.backward(dy, x, ones, null, options).dx);
  });

  // dweightOut may have another dtype than x.
  test.each([...new Set(['float32', dtype] as const)])(
    'a dweightOut of %s is replaced or accumulated into',
    (dweightDtype) => {
      for (const hiddenSize of [7, 100, 257, 1000]) {
        const { x, dy, weight, options, problem, dyValues } = makeCase({
          dtype,
          rows: 40,
          hiddenSize,
          weightKind: 'float32',
        });
        const round = roundTo[dweightDtype];
        const exact = backward(problem, dyValues).dweight;
        const errors = backwardErrors(problem, dyValues).dweight;

        const replaced = guarded(dweightDtype, hiddenSize, 3);
        rmsNorm.backward(dy, x, weight, null, { ...options, dweightOut: replaced.array });
        expectWithin(valuesOf(replaced.array, dweightDtype), exact, errors, round);
        replaced.expectIntact();

        const previous = normals(5, hiddenSize, 4).map(round);
        const added = guarded(dweightDtype, hiddenSize, 1);
        added.array.set(arrayOf(dweightDtype, previous));
        const { dweight } = rmsNorm.backward(dy, x, weight, null, {
          ...options,
          dweightOut: added.array,
          accumulate: true,
        });
        expect(dweight).toBe(added.array);
        const total = exact.map((sum, j) => sum + (previous[j] as number));
        const totalErrors = errors.map((error, j) => accumulatedError(total[j] as number, error));
        expectWithin(valuesOf(added.array, dweightDtype), total, totalErrors, round);
        added.expectIntact();
      }
    },
  );
});

test('dweight has the dtype of the weight', () => {
  const { x, dy, weight, options } = makeCase({
    dtype: 'bfloat16',
    rows: 3,
    hiddenSize: 33,
    weightKind: 'float32',
  });
  expect(rmsNorm.backward(dy, x, weight, null, options).dweight).toBeInstanceOf(Float32Array);
  const bits = new Uint16Array(33);
  expect(rmsNorm.backward(dy, x, bits, null, options).dweight).toBeInstanceOf(Uint16Array);
});
