// float64 tensors: within the bounds of float64 arithmetic, with the same bits on every variant.

import { cpuVariants, devices, getCpuVariant, rmsNorm, RMSNorm, setCpuVariant } from '../../lib';
import { backwardErrors, forwardErrors } from '../support/bounds';
import { makeCase } from '../support/cases';
import { backward, forward } from '../support/reference';
import { raggedSizes } from '../support/support';
import { errorOf, expectSameBits, expectWithin, normals } from '../support/support';

const variant = getCpuVariant();
afterEach(() => {
  setCpuVariant(variant);
});

const exactly = (value: number) => value;

test.each(raggedSizes)(
  'rows of %i are within the bounds, with the same bits on every variant',
  (hiddenSize) => {
    for (const [i, rows] of [1, 5, 40].entries()) {
      const weightKind = i === 0 ? 'none' : 'same';
      const weightOffset = i === 2 ? 0.1 : 0;
      const eps = i === 1 ? 1e-300 : 0.1;
      const made = makeCase({ dtype: 'float64', rows, hiddenSize, weightKind, weightOffset, eps });
      const { x, dy, weight, options, problem, dyValues } = made;
      setCpuVariant('scalar');
      const { y, rstd } = rmsNorm.forward(x, weight, options);
      const { dx, dweight } = rmsNorm.backward(dy, x, weight, rstd, options);
      const errors = forwardErrors(problem);
      const exact = forward(problem);
      expectWithin(rstd, exact.rstd, errors.rstd, exactly);
      expectWithin(y, exact.y, errors.y, exactly);
      const backErrors = backwardErrors(problem, dyValues, rstd);
      const gradients = backward(problem, dyValues, rstd);
      expectWithin(dx, gradients.dx, backErrors.dx, exactly);
      expect(dweight === null).toBe(weight === null);
      if (dweight !== null) expectWithin(dweight, gradients.dweight, backErrors.dweight, exactly);
      for (const name of cpuVariants()) {
        setCpuVariant(name);
        const again = rmsNorm.forward(x, weight, options);
        expectSameBits(again.y, y);
        expectSameBits(again.rstd, rstd);
        const back = rmsNorm.backward(dy, x, weight, null, options);
        expectSameBits(back.dx, dx);
        expectSameBits(back.dweight, dweight);
      }
    }
  },
);

const x = normals(1, 24);
const weight = normals(2, 8);

test('results are Float64Arrays', async () => {
  const { y, rstd }: { y: Float64Array; rstd: Float64Array } = rmsNorm.forward(x, weight);
  expect([y, rstd].map(({ constructor }) => constructor)).toEqual([Float64Array, Float64Array]);
  const later: { y: Float64Array; rstd: Float64Array } = await rmsNorm.forwardAsync(x, weight);
  expectSameBits(later.y, y);
  expectSameBits(later.rstd, rstd);
  const { dx, dweight }: { dx: Float64Array; dweight: Float64Array } = rmsNorm.backward(
    y,
    x,
    weight,
    rstd,
  );
  expect([dx, dweight].map(({ length }) => length)).toEqual([24, 8]);
});

test('eps and weightOffset are not rounded to float32', () => {
  const options = { eps: 0.1, weightOffset: 0.1 };
  const rounded = { eps: Math.fround(0.1), weightOffset: Math.fround(0.1) };
  expect(rmsNorm(x, weight, options)).not.toEqual(rmsNorm(x, weight, rounded));
  const problem = { x, weight, hiddenSize: 8, round: null, ...options };
  expectWithin(rmsNorm(x, weight, options), forward(problem).y, forwardErrors(problem).y, exactly);
});

test('eps and weightOffset may be beyond float32', () => {
  // Both dominate their sums: y = x * w / sqrt(eps), and w is weightOffset.
  const y = rmsNorm(x, weight, { eps: 1e300, weightOffset: 1e100 });
  const exact = x.map((value) => (value * 1e100) / 1e150);
  const errors = exact.map((value) => Math.abs(value) * 2 ** -48);
  expectWithin(y, exact, errors, exactly);
});

test('y of 2^k x has the bits of y of x, even where squares overflow or vanish', () => {
  const y = rmsNorm(x, null, { eps: 0, normalizedShape: 8 });
  for (const name of cpuVariants()) {
    setCpuVariant(name);
    for (const k of [-1000, -700, -540, 540, 700, 1020]) {
      const scaled = x.map((value) => value * 2 ** k);
      expectSameBits(rmsNorm(scaled, null, { eps: 0, normalizedShape: 8 }), y);
    }
  }
});

test('a float64 module gives the bits of the functions', () => {
  const norm = new RMSNorm(8, { dtype: 'float64' });
  norm.weight.set(weight);
  const { rstd, y } = rmsNorm.forward(x, weight);
  expectSameBits(norm.forward(x), y);
  const { dx, dweight } = rmsNorm.backward(y, x, weight, rstd);
  expectSameBits(norm.vjp(x).backward(y), dx);
  expectSameBits(norm.weightGrad, dweight);
});

const gpu = devices()[0]?.device;
(gpu === undefined ? test.skip : test)('a GPU refuses float64', () => {
  const refusals = [
    () => rmsNorm(x, weight, { device: gpu as 'cuda:0' }),
    () => new RMSNorm(8, { dtype: 'float64', device: gpu as 'cuda:0' }),
  ];
  for (const refusal of refusals) {
    const error = errorOf(refusal);
    expect(error).toBeInstanceOf(TypeError);
    expect(error.code).toBe('ERR_INVALID_ARG_VALUE');
    expect(error.message).toContain("'device' must be 'cpu' for float64");
  }
});
