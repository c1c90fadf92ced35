// rmsNorm and its backward have a short way of their own for plain float32 arrays: to what the
// general one gives.

import fc from 'fast-check';

import { rmsNorm } from '../lib';
import { plainBackward, plainForward } from '../lib/plain-calls';
import { expectSameBits, normals } from './support';

const floats = (length: number, seed = 0) => Float32Array.from(normals(seed, length));

/** The default, which only the general way reads. */
const general = { castOrder: 'llama' } as const;

const call = fc.record({
  rows: fc.integer({ min: 1, max: 5 }),
  hiddenSize: fc.integer({ min: 1, max: 300 }),
  eps: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
  isOutGiven: fc.boolean(),
});

const poisoned = (length: number) => new Float32Array(length).fill(NaN);

test('forward: the same bits, with every option that it reads', () => {
  fc.assert(
    fc.property(call, ({ rows, hiddenSize, eps = 1e-6, isOutGiven }) => {
      const x = floats(rows * hiddenSize, 1);
      const weight = floats(hiddenSize, 2);
      const outputs = isOutGiven ? { out: poisoned(x.length) } : {};
      const options = { dtype: 'float32', eps, ...outputs } as const;
      const y = plainForward(x, weight, options);
      if (isOutGiven) expect(y).toBe(outputs.out);
      expectSameBits(y, rmsNorm(x, weight, { ...general, eps }));
      expectSameBits(rmsNorm(x, weight, options), y);
    }),
  );
});

test('backward: the same bits, with every option that it reads', () => {
  fc.assert(
    fc.property(call, ({ rows, hiddenSize, eps = 1e-6, isOutGiven }) => {
      const dy = floats(rows * hiddenSize, 3);
      const x = floats(rows * hiddenSize, 1);
      const weight = floats(hiddenSize, 2);
      const { rstd } = rmsNorm.forward(x, weight, { eps });
      const outputs = isOutGiven
        ? { dxOut: poisoned(x.length), dweightOut: poisoned(hiddenSize) }
        : {};
      const options = { dtype: 'float32', eps, ...outputs } as const;
      const plain = plainBackward(dy, x, weight, rstd, options);
      if (isOutGiven) expect(plain?.dx).toBe(outputs.dxOut);
      if (isOutGiven) expect(plain?.dweight).toBe(outputs.dweightOut);
      const expected = rmsNorm.backward(dy, x, weight, rstd, { ...general, eps });
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
  ['another dtype', [floats(8), floats(4), { dtype: 'float16' }]],
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
