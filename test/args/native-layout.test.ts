// Layouts that the native functions take and refuse, against sets of elements: all of a layout's
// rows lie in its array, no element of an output is written twice, or read by another row.

import fc from 'fast-check';

import { binding } from '../../lib/binding';
import { type, range, value } from '../support/refusals';
import { errorOf, expectSameBits, normals } from '../support/support';

interface Layout {
  readonly offset: number;
  readonly rowStride: number;
  readonly batchRows: number;
  readonly batchStride: number;
}

const numbersOf = ({ offset, rowStride, batchRows, batchStride }: Layout) => [
  ...[offset, rowStride, batchRows, batchStride],
];

/** The element that each row begins at. */
const firstsOf = (layout: Layout, rows: number) =>
  Array.from(
    { length: rows },
    (_, r) =>
      layout.offset +
      Math.floor(r / layout.batchRows) * layout.batchStride +
      (r % layout.batchRows) * layout.rowStride,
  );

const elementsOf = (layout: Layout, rows: number, hiddenSize: number) =>
  firstsOf(layout, rows).flatMap((first) =>
    Array.from({ length: hiddenSize }, (_, j) => first + j),
  );

const length = 48;

const layouts = fc
  .record({
    batchRows: fc.integer({ min: 1, max: 4 }),
    batches: fc.integer({ min: 1, max: 3 }),
    hiddenSize: fc.integer({ min: 1, max: 4 }),
    rowStride: fc.nat(12),
    batchStride: fc.nat(20),
    offsets: fc.tuple(fc.nat(14), fc.nat(14)),
    other: fc.option(fc.record({ rowStride: fc.nat(12), batchStride: fc.nat(20) })),
  })
  .map(({ batchRows, batches, hiddenSize, rowStride, batchStride, offsets, other }) => {
    const x = { offset: offsets[0], rowStride, batchRows, batchStride };
    const y = { ...x, ...other, offset: offsets[1] };
    return { x, y, rows: batchRows * batches, hiddenSize };
  });

test('layouts of x and y in one array', () => {
  const outcomes = { taken: 0, outside: 0, twice: 0, overlap: 0, interleaved: 0 };
  fc.assert(
    fc.property(layouts, ({ x, y, rows, hiddenSize }) => {
      const memory = Float32Array.from(normals(1, length));
      const before = memory.slice();
      const [read, written] = [x, y].map((layout) => elementsOf(layout, rows, hiddenSize)) as [
        number[],
        number[],
      ];
      const layout = Float64Array.from([
        rows,
        ...numbersOf(x),
        ...numbersOf(y),
        0,
        0,
        1,
        0,
        0,
        0,
        1,
        0,
      ]);
      const call = () => {
        binding.forward(memory, null, memory, null, hiddenSize, 1e-6, 0, 0, null, null, layout);
      };
      const isOutside = [...read, ...written].some((element) => element >= length);
      const isTwice = new Set(written).size < written.length;
      const isSame = read.every((element, i) => element === written[i]);
      const isShared = !isSame && read.some((element) => written.includes(element));
      if (isOutside || isTwice || isShared) {
        const { code } = errorOf(call);
        expect(code).toBe(isOutside ? range : value);
        expectSameBits(memory, before);
        ++outcomes[isOutside ? 'outside' : isTwice ? 'twice' : 'overlap'];
        return;
      }
      // Operands of different strides are taken to use everything between their ends.
      const mayRefuse =
        !isSame &&
        Math.min(...read) <= Math.max(...written) &&
        Math.min(...written) <= Math.max(...read) &&
        (x.rowStride !== y.rowStride || x.batchStride !== y.batchStride);
      try {
        call();
      } catch (error) {
        if (!mayRefuse) throw error;
        expect((error as { code: string }).code).toBe(value);
        return;
      }
      ++outcomes.taken;
      if (
        !isSame &&
        Math.max(...read) > Math.min(...written) &&
        Math.max(...written) > Math.min(...read)
      )
        ++outcomes.interleaved;
      const expected = before.slice();
      const targets = firstsOf(y, rows);
      for (const [r, first] of firstsOf(x, rows).entries()) {
        const row = before.slice(first, first + hiddenSize);
        binding.forward(row, null, row, null, hiddenSize, 1e-6, 0, 0);
        expected.set(row, targets[r]);
      }
      expectSameBits(memory, expected);
    }),
    { seed: 3, numRuns: 6000 },
  );
  for (const count of Object.values(outcomes)) expect(count).toBeGreaterThan(30);
});

const packed = [0, 4, 2, 0];
const numbers = (...changes: readonly [index: number, number: number][]) => {
  const layout = Float64Array.from([2, ...packed, ...packed, ...packed, ...packed]);
  for (const [index, number] of changes) layout[index] = number;
  return layout;
};
const huge = 2 ** 53 - 1;

test.each<[string, unknown, string]>([
  ['an array', Array.from(numbers()), type],
  ['a Float32Array', Float32Array.from(numbers()), type],
  ['too short', numbers().slice(1), range],
  ['too long', Float64Array.from([...numbers(), 0]), range],
  ['a negative offset', numbers([1, -1]), range],
  ['a fraction', numbers([2, 4.5]), range],
  ['NaN', numbers([2, NaN]), range],
  ['an infinite stride', numbers([2, Infinity]), range],
  ['beyond 2^53', numbers([2, 2 ** 54]), range],
  ['rows beyond the array', numbers([0, 3]), range],
  ['an offset beyond the array', numbers([1, 5]), range],
  ['an offset of 2^53', numbers([1, huge]), range],
  ['a stride of 2^53', numbers([2, huge]), range],
  ['2^53 rows of 4', numbers([0, huge]), range],
  [
    '2^51 rows, all the same',
    numbers([0, 2 ** 51 - 1], [2, 0], [3, 2 ** 51 - 1], [6, 0], [7, huge]),
    value,
  ],
  ['no rows in a batch', numbers([3, 0]), range],
  ['a broken batch', numbers([0, 3], [3, 2]), range],
  ['batches of 2^53', numbers([3, 1], [4, huge]), range],
  ['rows of y that overlap', numbers([6, 3]), value],
  ['rows of y that are one', numbers([6, 0]), value],
])('refused: %s', (_, layout, code) => {
  const [x, y] = [new Float32Array(8), new Float32Array(8)];
  const args = [x, null, y, null, 4, 1e-6, 0, 0, null, null, layout];
  expect(
    errorOf(() => {
      (binding.forward as (...args: unknown[]) => void)(...args);
    }).code,
  ).toBe(code);
  expect(y.every((element) => element === 0)).toBe(true);
});

test('strides of what there is one of do not matter', () => {
  const x = Float32Array.of(3, 4, 0, 0);
  const [y, expected] = [new Float32Array(4), new Float32Array(4)];
  binding.forward(x, null, expected, null, 4, 1e-6, 0, 0);
  const one = [0, huge, 1, huge];
  const layout = Float64Array.from([1, ...one, ...one, ...one, ...one]);
  binding.forward(x, null, y, null, 4, 1e-6, 0, 0, null, null, layout);
  expectSameBits(y, expected);
});
