// Strided views: refusals by the public API, and the views that fused projections need.
// options.test.ts checks the bits of all layouts, native-layout.test.ts the overlaps.

import { rmsNorm, toBFloat16 } from '../../lib';
import { describeRefusals, floats, range, type, value } from '../support/refusals';
import { expectSameBits, normals } from '../support/support';

const weight = floats(4);
const both = [rmsNorm, rmsNorm.async];
const view = (changes: object) => ({ data: floats(40), dims: [3, 4], strides: [8, 1], ...changes });
const shown = '[ 8, 1, 1 ]';

describeRefusals('rmsNorm refuses', both, [
  [
    'a number as strides',
    [view({ strides: 8 }), weight],
    type,
    'x.strides',
    '2 integers >= 0',
    '8',
  ],
  [
    'null as strides',
    [view({ strides: null }), weight],
    type,
    'x.strides',
    '2 integers >= 0',
    'null',
  ],
  [
    'more strides than dims',
    [view({ strides: [8, 1, 1] }), weight],
    range,
    'x.strides',
    '2 integers',
    shown,
  ],
  [
    'negative strides',
    [view({ strides: [-8, 1] }), weight],
    range,
    'x.strides',
    '>= 0',
    '[ -8, 1 ]',
  ],
  [
    'fractional strides',
    [view({ strides: [8.5, 1] }), weight],
    range,
    'x.strides',
    'integers',
    '[ 8.5, 1 ]',
  ],
  [
    'strings as strides',
    [view({ strides: ['8', 1] }), weight],
    range,
    'x.strides',
    'integers',
    "[ '8', 1 ]",
  ],
  ['a string as offset', [view({ offset: '1' }), weight], type, 'x.offset', '>= 0', "'1'"],
  ['an offset of -1', [view({ offset: -1 }), weight], range, 'x.offset', '>= 0', '-1'],
  ['an offset of 0.5', [view({ offset: 0.5 }), weight], range, 'x.offset', '>= 0', '0.5'],
  [
    'rows beyond data',
    [view({ offset: 21 }), weight],
    range,
    'x.data',
    '41 elements',
    'Float32Array(40)',
  ],
  ['a string as dims', [view({ dims: '3' }), weight], type, 'x.dims', 'an array', "'3'"],
  [
    'negative dims',
    [view({ dims: [-1, 4] }), weight],
    range,
    'x.dims',
    'integers >= 0',
    '[ -1, 4 ]',
  ],
  [
    'dims whose product is 2^60',
    [view({ dims: [2 ** 58, 4], strides: [0, 1] }), weight],
    ...([range, 'x.dims', 'below 2^53', '[ 288230376151711740, 4 ]'] as const),
  ],
  [
    'every other column',
    [view({ strides: [8, 2] }), weight],
    value,
    'x.strides',
    'rows of 4',
    '[ 8, 2 ]',
  ],
  [
    'rows with three strides',
    [view({ dims: [2, 2, 2, 4], strides: [1, 20, 8, 1] }), weight],
    ...([value, 'x.strides', 'at most two distinct strides', '[ 1, 20, 8, 1 ]'] as const),
  ],
  [
    'a weight with an offset',
    [floats(8), { data: weight, dims: [4], offset: 0 }],
    ...([
      value,
      'weight',
      'without strides',
      '{ data: [Float32Array], dims: [Array], offset: 0 }',
    ] as const),
  ],
]);

test('rmsNorm refuses an out whose rows overlap', () => {
  const out = { data: floats(12), dims: [3, 4], strides: [2, 1] };
  expect(() => rmsNorm(floats(12), weight, { out })).toThrow("The rows of 'out' must not overlap");
});

describe('queries and keys of a fused projection', () => {
  const [tokens, queryHeads, keyHeads, headDim] = [5, 6, 2, 8];
  const stride = (queryHeads + 2 * keyHeads) * headDim;
  const projection = Float32Array.from(normals(1, tokens * stride));
  const [queryWeight, keyWeight] = [2, 3].map((seed) =>
    Float32Array.from(normals(seed, headDim)),
  ) as [Float32Array, Float32Array];
  const viewOf = (data: Float32Array, heads: number, first: number) => ({
    data,
    dims: [tokens, heads, headDim],
    strides: [stride, headDim, 1],
    offset: first * headDim,
  });
  /** A contiguous copy of some heads. */
  const copyOf = (data: Float32Array, heads: number, first: number) => {
    const copy = new Float32Array(tokens * heads * headDim);
    for (let t = 0; t < tokens; ++t) {
      const begin = t * stride + first * headDim;
      copy.set(data.subarray(begin, begin + heads * headDim), t * heads * headDim);
    }
    return copy;
  };

  test('are normalised in place, each head by itself', async () => {
    for (const norm of [rmsNorm, rmsNorm.async]) {
      const data = projection.slice();
      const [q, k] = [viewOf(data, queryHeads, 0), viewOf(data, keyHeads, queryHeads)];
      // Concurrent asynchronous calls write only their own rows.
      await Promise.all([norm(q, queryWeight, { out: q }), norm(k, keyWeight, { out: k })]);
      expectSameBits(
        copyOf(data, queryHeads, 0),
        rmsNorm(copyOf(projection, queryHeads, 0), queryWeight),
      );
      expectSameBits(
        copyOf(data, keyHeads, queryHeads),
        rmsNorm(copyOf(projection, keyHeads, queryHeads), keyWeight),
      );
      const values = queryHeads + keyHeads;
      expectSameBits(copyOf(data, keyHeads, values), copyOf(projection, keyHeads, values));
    }
  });

  test('can have their dx written over dy', () => {
    const dprojection = Float32Array.from(normals(4, tokens * stride));
    const dq = viewOf(dprojection.slice(), queryHeads, 0);
    const q = viewOf(projection, queryHeads, 0);
    const { dx, dweight } = rmsNorm.backward(dq, q, queryWeight, null, { dxOut: dq });
    expect(dx).toBe(dq);
    const expected = rmsNorm.backward(
      copyOf(dprojection, queryHeads, 0),
      copyOf(projection, queryHeads, 0),
      queryWeight,
    );
    expectSameBits(copyOf(dq.data, queryHeads, 0), expected.dx);
    expectSameBits(dweight, expected.dweight);
  });

  test('give contiguous results without an output', () => {
    const { y } = rmsNorm.forward(viewOf(projection, queryHeads, 0), queryWeight);
    expect(Object.keys(y)).toEqual(['data', 'dims']);
    expect(y.dims).toEqual([tokens, queryHeads, headDim]);
    expectSameBits(y.data, rmsNorm(copyOf(projection, queryHeads, 0), queryWeight));
  });
});

test('a normalizedShape of two dims joins the heads of a token', () => {
  const data = Float32Array.from(normals(1, 3 * 20));
  const x = { data, dims: [3, 2, 4], strides: [20, 4, 1], offset: 5 };
  const packed = new Float32Array(24);
  for (let t = 0; t < 3; ++t) packed.set(data.subarray(5 + 20 * t, 13 + 20 * t), 8 * t);
  const normalizedShape = [2, 4];
  expectSameBits(
    rmsNorm(x, null, { normalizedShape }).data,
    rmsNorm(packed, null, { normalizedShape }),
  );
});

test('a residual may be one row for all', () => {
  const x = toBFloat16(Float32Array.from(normals(1, 24)));
  const row = toBFloat16(Float32Array.from(normals(2, 8)));
  const repeated = new Uint16Array([...row, ...row, ...row]);
  const options = { dtype: 'bfloat16', normalizedShape: 8 } as const;
  const residual = { data: row, dims: [3, 8], strides: [0, 1] };
  const actual = rmsNorm.forward(x, null, { ...options, residual });
  const expected = rmsNorm.forward(x, null, { ...options, residual: repeated });
  expectSameBits(actual.y, expected.y);
  expectSameBits(actual.sum, expected.sum);
});

test('an asynchronous call writes nothing between the rows of its output', async () => {
  const data = floats(24);
  const out = { data, dims: [3, 4], strides: [8, 1] };
  const promise = rmsNorm.async(Float32Array.from(normals(1, 12)), floats(4), { out });
  data.fill(5);
  await promise;
  for (let i = 0; i < 24; ++i) expect(Math.abs(data[i] as number)).toBe(i % 8 < 4 ? 0 : 5);
});
