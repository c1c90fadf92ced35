// The sections of docs/migration.md on models: norms of sublayer outputs, of heads, of leading
// columns, and sums of gradients.

import { fromBFloat16, fromFloat16, RMSNorm, rmsNorm } from '../../lib';
import { scalings } from '../support/foreign-norms';
import {
  bitsOf,
  expectForeign,
  forBoth,
  hiddenSize as headDim,
  length,
  rows,
} from '../support/migration';
import { errorOf, expectSameBits, normals, valuesOf } from '../support/support';

const eps = 1e-6;
const { llama, once, onePlus } = scalings;
const [batch, tokens, heads] = [2, 1, 3];

describe('the output of a sublayer', () => {
  test(
    'is normalised alone, then added to the residual path',
    forBoth((tensors) => {
      const { dtype, round, x, weight, residualValues, dy } = tensors;
      const norm = new RMSNorm(headDim, { eps, castOrder: 'float', dtype, weight });
      const { y, backward } = norm.vjp(x);
      expectForeign(y, tensors, once, { eps });
      const h = valuesOf(y, dtype).map((value, i) => round(value + (residualValues[i] as number)));
      // The option `residual` differs: it adds before the norm.
      const { y: other, sum } = norm.forward(x, { residual: bitsOf(dtype, residualValues) });
      expect(valuesOf(other, dtype)).not.toEqual(valuesOf(y, dtype));
      expect(valuesOf(sum, dtype)).not.toEqual(h);
      expectSameBits(
        backward(dy),
        rmsNorm.backward(dy, x, weight, null, { dtype, castOrder: 'float' }).dx,
      );
    }),
  );

  test(
    'can be added by the next norm',
    forBoth((tensors) => {
      const { dtype, round, x, weight, residual, residualValues } = tensors;
      const options = { eps, weightOffset: 1, castOrder: 'float', dtype, weight } as const;
      const norm = new RMSNorm(headDim, options);
      const y = norm.forward(x);
      expectForeign(y, tensors, onePlus, { eps });
      const { y: input, sum } = norm.forward(y, { residual });
      const h = valuesOf(y, dtype).map((value, i) => round(value + (residualValues[i] as number)));
      expectSameBits(sum, bitsOf(dtype, h));
      expectSameBits(input, norm.forward(sum));
    }),
  );
});

/** Rows of a projection: each begins with a row of x, and the rest is NaN. */
function inRowsOf(width: number, x: Uint16Array): Uint16Array {
  const projected = new Uint16Array(rows * width).fill(0x7fff);
  for (let row = 0; row < rows; ++row) {
    projected.set(x.subarray(row * headDim, (row + 1) * headDim), row * width);
  }
  return projected;
}

describe('queries and keys', () => {
  test(
    'are normalised in the layout of the projection',
    forBoth((tensors) => {
      const { dtype, x, weight } = tensors;
      const query = { data: x, dims: [batch, tokens, heads, headDim] };
      const y = rmsNorm(query, weight, { dtype, eps });
      expect(y.dims).toEqual(query.dims);
      expectForeign(y.data, tensors, llama, { eps });
    }),
  );

  test(
    'can be transposed first for one batch, but not for more',
    forBoth((tensors) => {
      const { dtype, x, weight } = tensors;
      const own = { dtype, eps };
      const expected = rmsNorm(x, weight, own);
      // A (batch, heads, tokens, headDim) view of (batch, tokens, heads, headDim).
      const transposed = (batches: number, count: number) => ({
        data: x,
        dims: [batches, heads, count, headDim],
        strides: [count * heads * headDim, headDim, heads * headDim, 1],
      });
      const y = rmsNorm(transposed(1, 2), weight, own);
      for (let row = 0; row < rows; ++row) {
        const [head, token] = [Math.floor(row / 2), row % 2];
        const from = (token * heads + head) * headDim;
        expectSameBits(
          y.data.subarray(row * headDim, (row + 1) * headDim),
          expected.subarray(from, from + headDim),
        );
      }
      const many = { ...transposed(2, 2), data: new Uint16Array(2 * length) };
      const error = errorOf(() => rmsNorm(many, weight, own));
      expect(error.code).toBe('ERR_INVALID_ARG_VALUE');
      expect(error.message).toContain("'x.strides'");
    }),
  );

  test(
    'of OLMo 2 have all heads of a token in one row',
    forBoth((tensors) => {
      const { dtype, xValues, weightValues } = tensors;
      const width = 2 * headDim;
      // Each head twice: heads of different magnitudes would round the sum of their squares.
      const headOf = (i: number) => 2 * headDim * Math.floor(i / width) + (i % headDim);
      const x = Float64Array.from({ length }, (_, i) => xValues[headOf(i)] as number);
      const weight = Float64Array.from([...weightValues, ...weightValues]);
      const norm = new RMSNorm(width, {
        eps,
        castOrder: 'float',
        dtype,
        weight: bitsOf(dtype, weight),
      });
      const y = norm.forward({ data: bitsOf(dtype, x), dims: [rows / 2, width] });
      expectForeign(y.data, tensors, once, { eps, x, weight });
    }),
  );

  test(
    'of Qwen3-Next alternate with gates in the projection',
    forBoth((tensors) => {
      const { dtype, x, weight } = tensors;
      const projected = inRowsOf(2 * headDim, x);
      const strides = [heads * 2 * headDim, 2 * headDim, 1];
      const query = { data: projected, dims: [batch * tokens, heads, headDim], strides };
      const y = rmsNorm(query, weight, { dtype, eps, weightOffset: 1, castOrder: 'float' });
      expect(y.dims).toEqual(query.dims);
      expectForeign(y.data, tensors, onePlus, { eps });
    }),
  );
});

test(
  "DeepSeek's kv_a_layernorm normalises the leading columns of each row",
  forBoth((tensors) => {
    const { dtype, x, weight } = tensors;
    const rope = 16;
    const width = headDim + rope;
    const projected = inRowsOf(width, x);
    const before = projected.slice();
    const latent = { data: projected, dims: [rows, headDim], strides: [width, 1], offset: 0 };
    const y = rmsNorm(latent, weight, { dtype, eps });
    expect(y.dims).toEqual([rows, headDim]);
    expectForeign(y.data, tensors, llama, { eps });
    expectSameBits(projected, before);
    expect(rmsNorm(latent, weight, { dtype, eps, out: latent })).toBe(latent);
    for (let row = 0; row < rows; ++row) {
      before.set(y.data.subarray(row * headDim, (row + 1) * headDim), row * width);
    }
    expectSameBits(projected, before);
  }),
);

describe('a gradient that is added to that of the residual path', () => {
  const weight = Float32Array.from(normals(8, headDim, 0.5, 1));
  const [h, dy, dh] = [9, 10, 11].map((seed) => Float32Array.from(normals(seed, length))) as [
    Float32Array,
    Float32Array,
    Float32Array,
  ];

  test('is the sum of the two in float32', () => {
    const { rstd } = rmsNorm.forward(h, weight);
    const alone = rmsNorm.backward(dy, h, weight, rstd).dx;
    const total = dh.slice();
    const { dx } = rmsNorm.backward(dy, h, weight, rstd, { dsum: total, dxOut: total });
    expect(dx).toBe(total);
    expectSameBits(
      total,
      dh.map((value, i) => value + (alone[i] as number)),
    );
  });

  test(
    'is that sum rounded once in 16 bits',
    forBoth((tensors) => {
      const { dtype, round } = tensors;
      const narrow = (values: Float32Array) => bitsOf(dtype, Float64Array.from(values, round));
      const widen = dtype === 'bfloat16' ? fromBFloat16 : fromFloat16;
      const [x, w, gradient, total] = [h, weight, dy, dh].map(narrow) as [
        Uint16Array,
        Uint16Array,
        Uint16Array,
        Uint16Array,
      ];
      // castOrder 'float' does not round g = dy * w either: only the last cast differs from float32.
      const alone = rmsNorm.backward(widen(gradient), widen(x), widen(w), null).dx;
      const expected = Float64Array.from(widen(total), (value, i) =>
        round(Math.fround(value + (alone[i] as number))),
      );
      const options = { dtype, castOrder: 'float', dsum: total, dxOut: total } as const;
      const twice = Float64Array.from(widen(total), (value, i) =>
        round(value + round(alone[i] as number)),
      );
      rmsNorm.backward(gradient, x, w, null, options);
      expectSameBits(total, bitsOf(dtype, expected));
      expect(valuesOf(total, dtype)).not.toEqual(twice);
    }),
  );
});
