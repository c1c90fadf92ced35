// One call in many forms: with or without its default options, from arrays or tensors, with or
// without outputs. All forms give the same bits.

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
  hasOut: fc.boolean(),
});

function poisoned(dtype: (typeof dtypes)[number], length: number) {
  return dtype === 'float32'
    ? new Float32Array(length).fill(NaN)
    : new Uint16Array(length).fill(0x7fff);
}

const defaults = { weightOffset: 0, castOrder: 'llama', device: 'cpu' } as const;

test('forward gives the same bits in every form', () => {
  fc.assert(
    fc.property(calls, ({ dtype, rows, hiddenSize, eps = 1e-6, hasOut }) => {
      const x = make[dtype](rows * hiddenSize, 1);
      const weight = make[dtype](hiddenSize, 2);
      const outputs = hasOut ? { out: poisoned(dtype, x.length) } : {};
      const y = rmsNorm(x, weight, { dtype, eps, ...outputs });
      if (hasOut) expect(y).toBe(outputs.out);
      const spelled = { ...defaults, normalizedShape: [hiddenSize], dtype, eps } as const;
      expectSameBits(rmsNorm(x, weight, spelled), y);
      const tensor = { data: x, dims: [rows, hiddenSize], type: dtype };
      expectSameBits(rmsNorm(tensor, weight, { eps }).data, y);
    }),
  );
});

test('backward gives the same bits in every form', () => {
  fc.assert(
    fc.property(calls, ({ dtype, rows, hiddenSize, eps = 1e-6, hasOut }) => {
      const dy = make[dtype](rows * hiddenSize, 3);
      const x = make[dtype](rows * hiddenSize, 1);
      const weight = make[dtype](hiddenSize, 2);
      const { rstd } = rmsNorm.forward(x, weight, { dtype, eps });
      const outputs = hasOut
        ? { dxOut: poisoned(dtype, x.length), dweightOut: poisoned(dtype, hiddenSize) }
        : {};
      const { dx, dweight } = rmsNorm.backward(dy, x, weight, rstd, { dtype, eps, ...outputs });
      if (hasOut) expect(dx).toBe(outputs.dxOut);
      if (hasOut) expect(dweight).toBe(outputs.dweightOut);
      const flags = { needsDx: true, needsDweight: true, accumulate: false };
      const spelled = { ...defaults, ...flags, normalizedShape: hiddenSize, dtype, eps } as const;
      expect(rmsNorm.backward(dy, x, weight, rstd, spelled)).toEqual({ dx, dweight, dgate: null });
    }),
  );
});

test('forward works in place', () => {
  const weight = floats(4, 2);
  const [x, expected] = [floats(8), rmsNorm(floats(8), weight)];
  expect(rmsNorm(x, weight, { out: x })).toBe(x);
  expectSameBits(x, expected);
});

const block = floats(16);
test.each([
  ['overlaps x partially', [block.subarray(0, 8), floats(4), { out: block.subarray(4, 12) }]],
  ['is the weight', [floats(4), block.subarray(0, 4), { out: block.subarray(0, 4) }]],
])('refuses an out that %s, and writes nothing', (_, args) => {
  const before = block.slice();
  expect(() => rmsNorm(...(args as Parameters<typeof rmsNorm>))).toThrow('must not overlap');
  expect(block).toEqual(before);
});

const [value, type, range] = ['ERR_INVALID_ARG_VALUE', 'ERR_INVALID_ARG_TYPE', 'ERR_OUT_OF_RANGE'];
const bits = (length: number) => toBFloat16(floats(length));

// The last column is the outcome: the code of the error, or the number of elements returned.
test.each<[string, unknown[], string | number]>([
  ['takes the default of an option', [floats(8), floats(4), { castOrder: 'llama' }], 8],
  ['takes undefined for an option', [floats(8), floats(4), { eps: undefined, out: undefined }], 8],
  [
    'refuses undefined for an unknown option',
    [floats(8), floats(4), { epsilon: undefined }],
    value,
  ],
  ['refuses an option of another function', [floats(8), floats(4), { rstdOut: floats(2) }], value],
  ['refuses null as options', [floats(8), floats(4), null], type],
  ['refuses an eps beyond float32', [floats(8), floats(4), { eps: 1e39 }], range],
  ['accepts zero rows', [floats(0), floats(4), {}], 0],
  ['refuses an incomplete row', [floats(7), floats(4), {}], range],
  ['refuses an empty weight', [floats(8), floats(0), {}], range],
  ['works without a weight', [floats(8), null, { normalizedShape: 4 }], 8],
  ['refuses no weight and no normalizedShape', [floats(8), null, {}], type],
  ['takes float64', [new Float64Array(8), new Float64Array(4), {}], 8],
  [
    'takes float64 with its dtype',
    [new Float64Array(8), new Float64Array(4), { dtype: 'float64' }],
    8,
  ],
  [
    'refuses float32 arrays with a 16-bit dtype',
    [floats(8), floats(4), { dtype: 'float16' }],
    value,
  ],
  ['refuses 16-bit arrays without a dtype', [bits(8), bits(4), {}], value],
  ['takes a float32 weight beside a 16-bit x', [bits(8), floats(4), { dtype: 'bfloat16' }], 8],
  ['refuses an out of another length', [floats(8), floats(4), { out: floats(4) }], range],
  ['refuses an out of another dtype', [floats(8), floats(4), { out: bits(8) }], type],
])('forward %s', (_, args, expected) => {
  const call = () => rmsNorm(...(args as Parameters<typeof rmsNorm>));
  if (typeof expected === 'number') expect(call()).toHaveLength(expected);
  else expect(errorOf(call).code).toBe(expected);
});

test.each<[string, unknown[], string | number]>([
  [
    'takes the default of an option',
    [floats(8), floats(8), floats(4), floats(2), { castOrder: 'llama' }],
    8,
  ],
  ['recomputes an rstd of null', [floats(8), floats(8), floats(4), null, {}], 8],
  ['refuses an rstd of another length', [floats(8), floats(8), floats(4), floats(8), {}], range],
  ['refuses a dy of another length', [floats(4), floats(8), floats(4), floats(2), {}], range],
  [
    'refuses a dxOut of another length',
    [floats(8), floats(8), floats(4), floats(2), { dxOut: floats(4) }],
    range,
  ],
  [
    'refuses a dweightOut of another length',
    [floats(8), floats(8), floats(4), null, { dweightOut: floats(2) }],
    range,
  ],
  ['accepts zero rows', [floats(0), floats(0), floats(4), floats(0), {}], 0],
  ['works without a weight', [floats(8), floats(8), null, floats(2), { normalizedShape: 4 }], 8],
])('backward %s', (_, args, expected) => {
  const call = () => rmsNorm.backward(...(args as Parameters<typeof rmsNorm.backward>));
  if (typeof expected === 'number') expect(call().dx).toHaveLength(expected);
  else expect(errorOf(call).code).toBe(expected);
});
