import { rmsNorm } from '../../lib';
import { float32Error, forwardErrors } from '../support/bounds';
import { coveringCases, makeCase } from '../support/cases';
import { forward, roundTo } from '../support/reference';
import { dtypes, expectSameBits, expectWithin, guarded, valuesOf } from '../support/support';

test.each(coveringCases([1, 2, 3, 17, 5]))(
  '%s: results are within the bounds',
  (_, caseOptions) => {
    const { x, weight, dtype, rows, lead, options, problem } = makeCase(caseOptions);
    const out = guarded(dtype, x.length, lead);
    const rstdOut = guarded('float32', rows, lead);
    const inputs = [x.slice(), weight?.slice() ?? null] as const;

    const result = rmsNorm.forward(x, weight, {
      ...options,
      out: out.array,
      rstdOut: rstdOut.array,
    });

    expect(result.y).toBe(out.array);
    expect(result.rstd).toBe(rstdOut.array);
    out.expectIntact();
    rstdOut.expectIntact();
    expectSameBits(x, inputs[0]);
    expectSameBits(weight, inputs[1]);

    const exact = forward(problem);
    const errors = forwardErrors(problem);
    expectWithin(valuesOf(out.array, dtype), exact.y, errors.y, roundTo[dtype]);
    expectWithin(rstdOut.array, exact.rstd, errors.rstd, Math.fround);
  },
);

describe.each(dtypes)('%s', (dtype) => {
  test.each([1, 9, 100, 769, 5125])(
    'rows of %i: every form of call gives the same bits',
    (hiddenSize) => {
      const { x, weight, options } = makeCase({ dtype, rows: 6, hiddenSize });
      const { y, rstd } = rmsNorm.forward(x, weight, options);
      expect(y.constructor).toBe(x.constructor);
      expect(rstd.length).toBe(6);
      expectSameBits(rmsNorm(x, weight, options), y);

      const inPlace = x.slice();
      expect(rmsNorm(inPlace, weight, { ...options, out: inPlace })).toBe(inPlace);
      expectSameBits(inPlace, y);

      // Another array of the same memory also counts as in place.
      const alias = x.slice();
      rmsNorm(alias.subarray(), weight, { ...options, out: alias });
      expectSameBits(alias, y);
    },
  );
});

test('eps is inside the root, 1e-6 by default', () => {
  const x = Float32Array.of(0.003, 0.004);
  for (const [eps, options] of [
    [1e-6, {}],
    [1e-4, { eps: 1e-4 }],
  ] as const) {
    const problem = { x, weight: null, hiddenSize: 2, eps, weightOffset: 0, round: null };
    const exact = Array.from(x, (value) => value / Math.sqrt(12.5e-6 + eps));
    // The mean square is not exactly 12.5e-6: x and eps are rounded. The root halves that error.
    const errors = forwardErrors(problem).y.map(
      (error, i) => error + 3 * float32Error(exact[i] ?? 0),
    );
    expectWithin(rmsNorm(x, null, { ...options, normalizedShape: 2 }), exact, errors, Math.fround);
  }
});

test('castOrder is llama by default, and the orders differ', () => {
  const { x, weight, options } = makeCase({ dtype: 'bfloat16', rows: 4, hiddenSize: 64 });
  const { castOrder, ...others } = options;
  const byDefault = rmsNorm(x, weight, others);
  expectSameBits(byDefault, rmsNorm(x, weight, { ...others, castOrder }));
  expect(byDefault).not.toEqual(rmsNorm(x, weight, { ...others, castOrder: 'float' }));
});

// Enough rows for several threads, and rows of more tiles than the row sum buffers at once.
test.each([
  [260, 4099],
  [2, 300001],
])('%i rows of %i: y is within the bounds', (rows, hiddenSize) => {
  const { x, weight, options, problem } = makeCase({ dtype: 'float32', rows, hiddenSize });
  const errors = forwardErrors(problem);
  expectWithin(rmsNorm(x, weight, options), forward(problem).y, errors.y, Math.fround);
});
