// Arrays of `allocate` lie in shared memory.

import { allocate, rmsNorm, RMSNorm, type DType } from '../../lib';
import { errorOf, expectSameBits, normals } from '../support/support';

test.each([
  [undefined, 'Float32Array', 4],
  ['float32', 'Float32Array', 4],
  ['float64', 'Float64Array', 8],
  ['float16', 'Uint16Array', 2],
  ['bfloat16', 'Uint16Array', 2],
] as const)('allocate of %s gives a %s of zeros in shared memory', (dtype, kind, bytes) => {
  for (const length of [0, 1, 1000, 3 * 2 ** 20]) {
    const array = allocate(length, dtype);
    expect(array[Symbol.toStringTag]).toBe(kind);
    expect([array.length, array.byteLength]).toEqual([length, length * bytes]);
    expect(array.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(array.every((value: number) => value === 0)).toBe(true);
  }
});

test('an allocated array cannot be detached, and works in every call', async () => {
  const x = allocate(6 * 40);
  x.set(normals(1, x.length));
  const weight = allocate(40).fill(1.5);
  expect(() => structuredClone(x, { transfer: [x.buffer as ArrayBuffer] })).toThrow();
  const out = allocate(x.length);
  const expected = rmsNorm(x.slice(), weight.slice());
  expectSameBits(rmsNorm(x, weight), expected);
  expect(await rmsNorm.async(x, weight, { out })).toBe(out);
  expectSameBits(out, expected);
  const norm = new RMSNorm(40, { weight });
  expectSameBits(await norm.async(x), expected);
  weight.fill(3);
  expectSameBits(
    await norm.async(x),
    expected.map((value) => 2 * value),
  );
});

test.each([
  [[-1], 'ERR_OUT_OF_RANGE', "'length' must be an integer >= 0"],
  [[1.5], 'ERR_OUT_OF_RANGE', "'length'"],
  [['1'], 'ERR_INVALID_ARG_TYPE', "'length' must be a number"],
  [[4, 'int8'], 'ERR_INVALID_ARG_VALUE', "'dtype' must be 'float32', 'float16'"],
  [[4, null], 'ERR_INVALID_ARG_VALUE', "'dtype'"],
  [[2 ** 52], 'ERR_MEMORY_ALLOCATION_FAILED', 'cannot allocate 4503599627370496 elements'],
])('allocate refuses %j', (args, code, message) => {
  const error = errorOf(() => allocate(...(args as [number, DType])));
  expect([error.code, error.message]).toEqual([code, expect.stringContaining(message)]);
});
