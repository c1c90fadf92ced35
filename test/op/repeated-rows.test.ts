// Inputs whose rows share elements: strides of 0, or shorter than a row. The work of a call must stay
// bounded by its memory: that of its outputs or, in a backward without dx, that of dy or x.

import { rmsNorm, type TensorLike } from '../../lib';
import { errorsOf, floats, value } from '../support/refusals';
import { errorOf, expectSameBits, normals } from '../support/support';

const rows = 2 ** 20;
const pair = Float32Array.of(3, 4);
const weight = Float32Array.of(1, 2);

/** Matrices of `rows` rows of 2 columns, in much less memory. */
const repeated: [string, TensorLike][] = [
  ['one repeated row', { data: pair, dims: [rows, 2], strides: [0, 1] }],
  ['one repeated batch', { data: floats(4), dims: [rows / 2, 2, 2], strides: [0, 2, 1] }],
  [
    'one repeated row in each batch',
    { data: floats(8), dims: [4, rows / 4, 2], strides: [2, 0, 1] },
  ],
  ['one repeated row in all batches', { data: pair, dims: [4, rows / 4, 2], strides: [0, 0, 1] }],
];
const windows = { data: floats(rows + 1), dims: [rows, 2], strides: [1, 1] };

const backwards = [rmsNorm.backward, rmsNorm.backwardAsync];
const withoutDx = { needsDx: false };

describe.each(repeated)('%s', (_, few) => {
  test('is refused as dy and x where dx is not computed', async () => {
    for (const options of [withoutDx, { needsDx: false, needsDweight: false }]) {
      for (const error of await errorsOf(backwards, [few, few, weight, null, options])) {
        expect(error).toBeInstanceOf(TypeError);
        expect(error.code).toBe(value);
        expect(error.message).toContain(
          "the rows of 'dy' and the rows of 'x' must not both overlap",
        );
        expect(error.message).toContain('copy one of them');
      }
    }
  });

  test('is refused as out', async () => {
    const x = { data: floats(2 * rows), dims: few.dims };
    for (const error of await errorsOf([rmsNorm, rmsNorm.async], [x, weight, { out: few }])) {
      expect(error.code).toBe(value);
      expect(error.message).toContain("The rows of 'out' must not overlap");
    }
    const gradient = () => rmsNorm.backward(x, x, weight, null, { dxOut: few });
    expect(errorOf(gradient).message).toContain("The rows of 'dxOut' must not overlap");
  });
});

test('overlapping windows count as overlapping rows', () => {
  expect(errorOf(() => rmsNorm.backward(windows, windows, weight, null, withoutDx)).code).toBe(
    value,
  );
});

describe('rows that share elements give the bits of a contiguous copy', () => {
  const [count, hiddenSize] = [6, 5];
  const memory = Float32Array.from(normals(1, 40));
  const packed = Float32Array.from(normals(2, count * hiddenSize));
  const scale = Float32Array.from(normals(3, hiddenSize));
  const views: [string, TensorLike][] = [
    ['one row', { data: memory, dims: [count, hiddenSize], strides: [0, 1] }],
    ['windows', { data: memory, dims: [count, hiddenSize], strides: [1, 1] }],
    ['batches of one row', { data: memory, dims: [2, 3, hiddenSize], strides: [7, 0, 1] }],
    ['one batch', { data: memory, dims: [2, 3, hiddenSize], strides: [0, 5, 1] }],
  ];
  const copyOf = ({ data, dims, strides = [] }: TensorLike) => {
    const [inner, rowStride = 0] = [dims.at(-2) as number, strides.at(-2)];
    const batchStride = dims.length === 3 ? (strides[0] as number) : 0;
    const first = (r: number) => Math.floor(r / inner) * batchStride + (r % inner) * rowStride;
    return Float32Array.from(
      { length: count * hiddenSize },
      (_, i) => (data as Float32Array)[first(Math.floor(i / hiddenSize)) + (i % hiddenSize)] ?? NaN,
    );
  };

  test.each(views)('in a view of %s', (_, view) => {
    const copy = copyOf(view);
    expectSameBits((rmsNorm(view, scale) as { data: Float32Array }).data, rmsNorm(copy, scale));
    // With dx, the rows of both dy and x may share elements; without dx, those of one.
    const both = rmsNorm.backward(view, view, scale);
    const expected = rmsNorm.backward(copy, copy, scale);
    expectSameBits((both.dx as { data: Float32Array }).data, expected.dx);
    expectSameBits(both.dweight, expected.dweight);
    for (const [dy, x, dyCopy, xCopy] of [
      [view, packed, copy, packed],
      [packed, view, packed, copy],
    ] as const) {
      expectSameBits(
        rmsNorm.backward(dy, x, scale, null, withoutDx).dweight,
        rmsNorm.backward(dyCopy, xCopy, scale, null, withoutDx).dweight,
      );
    }
  });
});

test('a single row may have a stride of 0', () => {
  const one = { data: pair, dims: [1, 2], strides: [0, 1] };
  expectSameBits(
    rmsNorm.backward(one, one, weight, null, withoutDx).dweight,
    rmsNorm.backward(pair, pair, weight, null, withoutDx).dweight,
  );
});
