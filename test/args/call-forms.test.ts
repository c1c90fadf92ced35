// One call in many forms: whatever options are spelled out, and in whatever form its arrays come, it
// takes the same road and gives the same bits.

import fc from 'fast-check';

import { rmsNorm, toBFloat16, toFloat16 } from '../../lib';
import { errorOf, expectSameBits, normals } from '../support/support';

const floats = (length: number, seed = 0) => Float32Array.from(normals(seed, length));

const dtypes = ['float32', 'float16', 'bfloat16'] as const;
const make = {
  float32: floats,
  float16: (length: number, seed: number) => toFloat16(floats(length, seed)),
  bfloat16: (length: number, seed: number) => toBFloat16(floats(length, seed)),
};

const calls = fc.record({
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

const defaults = { weightOffset: 0, castOrder: 'llama', device: 'cpu' } as const;

test('forward: the same bits', () => {
  fc.assert(
    fc.property(calls, ({ dtype, rows, hiddenSize, eps = 1e-6, isOutGiven }) => {
      const x = make[dtype](rows * hiddenSize, 1);
      const weight = make[dtype](hiddenSize, 2);
      const outputs = isOutGiven ? { out: poisoned(dtype, x.length) } : {};
      const y = rmsNorm(x, weight, { dtype, eps, ...outputs });
      if (isOutGiven) expect(y).toBe(outputs.out);
      const spelled = { ...defaults, normalizedShape: [hiddenSize], dtype, eps } as const;
      expectSameBits(rmsNorm(x, weight, spelled), y);
      const tensor = { data: x, dims: [rows, hiddenSize], type: dtype };
      expectSameBits(rmsNorm(tensor, weight, { eps }).data, y);
    }),
  );
});

test('backward: the same bits', () => {
  fc.assert(
    fc.property(calls, ({ dtype, rows, hiddenSize, eps = 1e-6, isOutGiven }) => {
      const dy = make[dtype](rows * hiddenSize, 3);
      const x = make[dtype](rows * hiddenSize, 1);
      const weight = make[dtype](hiddenSize, 2);
      const { rstd } = rmsNorm.forward(x, weight, { dtype, eps });
      const outputs = isOutGiven
        ? { dxOut: poisoned(dtype, x.length), dweightOut: poisoned(dtype, hiddenSize) }
        : {};
      const { dx, dweight } = rmsNorm.backward(dy, x, weight, rstd, { dtype, eps, ...outputs });
      if (isOutGiven) expect(dx).toBe(outputs.dxOut);
      if (isOutGiven) expect(dweight).toBe(outputs.dweightOut);
      const flags = { needsDx: true, needsDweight: true, accumulate: false };
      const spelled = { ...defaults, ...flags, normalizedShape: hiddenSize, dtype, eps } as const;
      expect(rmsNorm.backward(dy, x, weight, rstd, spelled)).toEqual({ dx, dweight, dgate: null });
    }),
  );
});

test('in place', () => {
  const weight = floats(4, 2);
  const [x, expected] = [floats(8), rmsNorm(floats(8), weight)];
  expect(rmsNorm(x, weight, { out: x })).toBe(x);
  expectSameBits(x, expected);
});

const block = floats(16);
test.each([
  ['x, but a part of it', [block.subarray(0, 8), floats(4), { out: block.subarray(4, 12) }]],
  ['weight', [floats(4), block.subarray(0, 4), { out: block.subarray(0, 4) }]],
])('refuses an out that is %s, and writes nothing', (_, args) => {
  const before = block.slice();
  expect(() => rmsNorm(...(args as Parameters<typeof rmsNorm>))).toThrow('must not overlap');
  expect(block).toEqual(before);
});

const [value, type, range] = ['ERR_INVALID_ARG_VALUE', 'ERR_INVALID_ARG_TYPE', 'ERR_OUT_OF_RANGE'];
const bits = (length: number) => toBFloat16(floats(length));

/** What becomes of a call: its code, or how many elements it returns. */
test.each<[string, unknown[], string | number]>([
  ['the default of an option', [floats(8), floats(4), { castOrder: 'llama' }], 8],
  ['undefined for an option', [floats(8), floats(4), { eps: undefined, out: undefined }], 8],
  ['undefined for another name', [floats(8), floats(4), { epsilon: undefined }], value],
  ['the option of another function', [floats(8), floats(4), { rstdOut: floats(2) }], value],
  ['null for options', [floats(8), floats(4), null], type],
  ['an eps beyond float32', [floats(8), floats(4), { eps: 1e39 }], range],
  ['no rows', [floats(0), floats(4), {}], 0],
  ['broken rows', [floats(7), floats(4), {}], range],
  ['an empty weight', [floats(8), floats(0), {}], range],
  ['no weight', [floats(8), null, { normalizedShape: 4 }], 8],
  ['no weight and no shape', [floats(8), null, {}], type],
  ['float64', [new Float64Array(8), new Float64Array(4), {}], 8],
  ['float64, stated', [new Float64Array(8), new Float64Array(4), { dtype: 'float64' }], 8],
  ['floats said to be of 16 bits', [floats(8), floats(4), { dtype: 'float16' }], value],
  ['bits without a dtype', [bits(8), bits(4), {}], value],
  ['a weight of float32 beside 16 bits', [bits(8), floats(4), { dtype: 'bfloat16' }], 8],
  ['an out of another length', [floats(8), floats(4), { out: floats(4) }], range],
  ['an out of another kind', [floats(8), floats(4), { out: bits(8) }], type],
])('forward with %s', (_, args, expected) => {
  const call = () => rmsNorm(...(args as Parameters<typeof rmsNorm>));
  if (typeof expected === 'number') expect(call()).toHaveLength(expected);
  else expect(errorOf(call).code).toBe(expected);
});

test.each<[string, unknown[], string | number]>([
  ['a default', [floats(8), floats(8), floats(4), floats(2), { castOrder: 'llama' }], 8],
  ['no rstd', [floats(8), floats(8), floats(4), null, {}], 8],
  ['an rstd of another length', [floats(8), floats(8), floats(4), floats(8), {}], range],
  ['a dy of another length', [floats(4), floats(8), floats(4), floats(2), {}], range],
  ['a dxOut of 4', [floats(8), floats(8), floats(4), floats(2), { dxOut: floats(4) }], range],
  ['a dweightOut of 2', [floats(8), floats(8), floats(4), null, { dweightOut: floats(2) }], range],
  ['no rows', [floats(0), floats(0), floats(4), floats(0), {}], 0],
  ['no weight', [floats(8), floats(8), null, floats(2), { normalizedShape: 4 }], 8],
])('backward with %s', (_, args, expected) => {
  const call = () => rmsNorm.backward(...(args as Parameters<typeof rmsNorm.backward>));
  if (typeof expected === 'number') expect(call().dx).toHaveLength(expected);
  else expect(errorOf(call).code).toBe(expected);
});
