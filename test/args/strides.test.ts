// Turns strides into rows: single cases, and random ones checked against every element's position.

import fc from 'fast-check';

import { rowLayoutOf, contiguousStrides, extentOf } from '../../lib/call/strides';

/** The position of each element of a tensor in its array, in row-major order. */
function positionsOf(dims: readonly number[], strides: readonly number[]): number[] {
  return dims.reduce<number[]>(
    (positions, dim, i) =>
      positions.flatMap((position) =>
        Array.from({ length: dim }, (_, index) => position + index * (strides[i] as number)),
      ),
    [0],
  );
}

const rows = (rowStride: number, batchRows: number, batchStride = 0) => ({
  rowStride,
  batchRows,
  batchStride,
});

test.each<[string, number[], number[], number, ReturnType<typeof rowLayoutOf>]>([
  ['finds contiguous rows', [3, 8], [8, 1], 8, rows(8, 3)],
  ['finds the rows of a slice of columns', [3, 8], [20, 1], 8, rows(20, 3)],
  ['finds the heads of a fused projection', [5, 4, 8], [96, 8, 1], 8, rows(8, 4, 96)],
  ['finds rows that join the heads of a token', [5, 4, 8], [96, 8, 1], 32, rows(96, 5)],
  ['finds batches of tokens of a slice', [2, 5, 4, 8], [480, 96, 8, 1], 32, rows(96, 10)],
  ['finds rows with heads before tokens', [4, 5, 8], [8, 32, 1], 8, rows(32, 5, 8)],
  ['refuses heads before tokens in batches', [2, 4, 5, 8], [160, 8, 32, 1], 8, 'too many strides'],
  ['finds one repeated row', [6, 8], [0, 1], 8, rows(0, 6)],
  ['finds one row repeated over two dims', [2, 3, 8], [0, 0, 1], 8, rows(0, 6)],
  ['finds rows that are each repeated', [3, 2, 8], [8, 0, 1], 8, rows(0, 2, 8)],
  ['refuses every other column', [3, 8], [16, 2], 8, 'rows not contiguous'],
  ['refuses rows that end inside a dim', [2, 12], [20, 1], 8, 'rows not contiguous'],
  ['refuses columns before rows', [3, 8], [1, 3], 8, 'rows not contiguous'],
  ['finds one column of many', [3, 1], [16, 5], 1, rows(16, 3)],
  ['finds one element', [1, 1], [7, 9], 1, rows(1, 1)],
  ['finds one row', [1, 8], [3, 1], 8, rows(8, 1)],
  ['ignores the strides of dims of 1', [3, 1, 8, 1], [8, 99, 1, 99], 8, rows(8, 3)],
  ['finds no rows', [0, 8], [5, 3], 8, rows(8, 1)],
])('rowLayoutOf %s', (_, dims, strides, hiddenSize, expected) => {
  expect(rowLayoutOf(dims, strides, hiddenSize)).toEqual(expected);
});

const shapes = fc
  .record({
    dims: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 }),
    normalized: fc.nat(3),
  })
  .chain(({ dims, normalized }) =>
    fc.record({
      dims: fc.constant(dims),
      strides: fc.oneof(
        fc.constant(contiguousStrides(dims)),
        fc.array(fc.nat(12), { minLength: dims.length, maxLength: dims.length }),
        // A permuted slice of a larger tensor.
        fc
          .shuffledSubarray(
            dims.map((_, i) => i),
            { minLength: dims.length },
          )
          .map((order) => {
            const strides: number[] = [];
            let stride = 1;
            for (const i of order) {
              strides[i] = stride;
              stride *= (dims[i] as number) + (i % 2);
            }
            return strides;
          }),
      ),
      hiddenSize: fc.constant(dims.slice(-1 - (normalized % dims.length)).reduce((a, b) => a * b)),
    }),
  );

test('rowLayoutOf finds the position of every row, or says why two strides cannot describe them', () => {
  let described = 0;
  fc.assert(
    fc.property(shapes, ({ dims, strides, hiddenSize }) => {
      const positions = positionsOf(dims, strides);
      expect(extentOf(dims, strides)).toBe(Math.max(...positions) + 1);
      const layout = rowLayoutOf(dims, strides, hiddenSize);
      const firsts = positions.filter((_, i) => i % hiddenSize === 0);
      const isBroken = positions.some(
        (position, i) =>
          position !== (firsts[Math.floor(i / hiddenSize)] as number) + (i % hiddenSize),
      );
      expect(layout === 'rows not contiguous').toBe(isBroken);
      if (typeof layout === 'string') {
        if (layout === 'too many strides') expect(firsts.length).toBeGreaterThanOrEqual(8);
        return;
      }
      ++described;
      const { rowStride, batchRows, batchStride } = layout;
      expect(
        firsts.map((_, r) => Math.floor(r / batchRows) * batchStride + (r % batchRows) * rowStride),
      ).toEqual(firsts);
    }),
    { seed: 7, numRuns: 3000 },
  );
  expect(described).toBeGreaterThan(500);
});
