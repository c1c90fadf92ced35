// rmsNorm and its backward have a short way of their own for plain arrays of one dtype: to what the
// general one gives.

import fc from 'fast-check';

import { rmsNorm, toBFloat16, toFloat16 } from '../../lib';
import { plainBackward, plainForward } from '../../lib/call/plain-calls';
import { expectSameBits, normals } from '../support/support';

const floats = (length: number, seed = 0) => Float32Array.from(normals(seed, length));

/** The default, which only the general way reads. */
const general = { castOrder: 'llama' } as const;

const dtypes = ['float32', 'float16', 'bfloat16'] as const;
const make = {
  float32: floats,
  float16: (length: number, seed: number) => toFloat16(floats(length, seed)),
  bfloat16: (length: number, seed: number) => toBFloat16(floats(length, seed)),
};

const call = fc.record({
  dtype: fc.constantFrom(...dtypes),
  rows: fc.integer({ min: 1, max: 5 }),
  hiddenSize: fc.integer({ min: 1, max: 300 }),
  eps: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
  isOutGiven: fc.boolean(),
});

function poisoned(dtype: (typeof dtypes)[number], length: number) {
  return dtype === 'float32'
    ? new Float32Array(length).fill(NaN)
    : new Uint16Array(length).fill(0x7fff);
}

test('forward: the same bits, with every option that it reads', () => {
  fc.assert(
    fc.property(call, ({ dtype, rows, hiddenSize, eps = 1e-6, isOutGiven }) => {
      const x = make[dtype](rows * hiddenSize, 1);
      const weight = make[dtype](hiddenSize, 2);
      const outputs = isOutGiven ? { out: poisoned(dtype, x.length) } : {};
      const options = { dtype, eps, ...outputs } as const;
      const y = plainForward(x, weight, options);
      if (isOutGiven) expect(y).toBe(outputs.out);
      expectSameBits(y, rmsNorm(x, weight, { ...general, dtype, eps }));
      expectSameBits(rmsNorm(x, weight, options), y);
    }),
  );
});

test('backward: the same bits, with every option that it reads', () => {
  fc.assert(
    fc.property(call, ({ dtype, rows, hiddenSize, eps = 1e-6, isOutGiven }) => {
      const dy = make[dtype](rows * hiddenSize, 3);
      const x = make[dtype](rows * hiddenSize, 1);
      const weight = make[dtype](hiddenSize, 2);
      const { rstd } = rmsNorm.forward(x, weight, { dtype, eps });
      const outputs = isOutGiven
        ? { dxOut: poisoned(dtype, x.length), dweightOut: poisoned(dtype, hiddenSize) }
        : {};
      const options = { dtype, eps, ...outputs } as const;
      const plain = plainBackward(dy, x, weight, rstd, options);
      if (isOutGiven) expect(plain?.dx).toBe(outputs.dxOut);
      if (isOutGiven) expect(plain?.dweight).toBe(outputs.dweightOut);
      const expected = rmsNorm.backward(dy, x, weight, rstd, { ...general, dtype, eps });
      expectSameBits(plain?.dx ?? null, expected.dx);
      expectSameBits(plain?.dweight ?? null, expected.dweight);
      expect(rmsNorm.backward(dy, x, weight, rstd, options)).toEqual(expected);
    }),
  );
});

test('in place', () => {
  const weight = floats(4, 2);
  const [x, expected] = [floats(8), rmsNorm(floats(8), weight, general)];
  expect(plainForward(x, weight, { out: x })).toBe(x);
  expectSameBits(x, expected);
});

const block = floats(16);
test.each([
  ['x, but a part of it', [block.subarray(0, 8), floats(4), { out: block.subarray(4, 12) }]],
  ['weight', [floats(4), block.subarray(0, 4), { out: block.subarray(0, 4) }]],
])('an out that is %s is left to the general way, which refuses it', (_, args) => {
  const before = block.slice();
  expect(plainForward(...(args as Parameters<typeof plainForward>))).toBeNull();
  expect(() => rmsNorm(...(args as Parameters<typeof rmsNorm>))).toThrow('must not overlap');
  expect(block).toEqual(before);
});

test.each([
  ['an option that it does not read', [floats(8), floats(4), general]],
  ['options that are none', [floats(8), floats(4), null]],
  ['an eps that is none', [floats(8), floats(4), { eps: 1e39 }]],
  ['no rows', [floats(0), floats(4), {}]],
  ['broken rows', [floats(7), floats(4), {}]],
  ['an empty weight', [floats(8), floats(0), {}]],
  ['no weight', [floats(8), null, {}]],
  ['another kind of array', [new Float64Array(8), new Float64Array(4), {}]],
  ['floats said to be of 16 bits', [floats(8), floats(4), { dtype: 'float16' }]],
  ['float64', [new Float64Array(8), new Float64Array(4), { dtype: 'float64' }]],
  ['bits without a dtype', [new Uint16Array(8), new Uint16Array(4), {}]],
  ['a weight of float32 beside 16 bits', [new Uint16Array(8), floats(4), { dtype: 'bfloat16' }]],
  ['a tensor', [{ data: floats(8), dims: [2, 4] }, floats(4), {}]],
  ['an out of another length', [floats(8), floats(4), { out: floats(4) }]],
])('forward leaves to the general way: %s', (_, args) => {
  expect(plainForward(...(args as Parameters<typeof plainForward>))).toBeNull();
});

test.each([
  ['an option that it does not read', [floats(8), floats(8), floats(4), floats(2), general]],
  ['no rstd', [floats(8), floats(8), floats(4), null, {}]],
  ['an rstd of another length', [floats(8), floats(8), floats(4), floats(8), {}]],
  ['a dy of another length', [floats(4), floats(8), floats(4), floats(2), {}]],
  ['a dxOut of another length', [floats(8), floats(8), floats(4), floats(2), { dxOut: floats(4) }]],
  ['a dweightOut of 2', [floats(8), floats(8), floats(4), floats(2), { dweightOut: floats(2) }]],
  ['no rows', [floats(0), floats(0), floats(4), floats(0), {}]],
  ['no weight', [floats(8), floats(8), null, floats(2), {}]],
])('backward leaves to the general way: %s', (_, args) => {
  expect(plainBackward(...(args as Parameters<typeof plainBackward>))).toBeNull();
});
