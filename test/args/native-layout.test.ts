// Compares the layouts that the native functions accept and refuse with sets of elements. All rows
// must lie in their array. No element of an output may be written twice or read by another row.

import fc from 'fast-check';

import { binding } from '../../lib/binding';
import { nativeCalls } from '../support/native-calls';
import { range, value } from '../support/refusals';
import { errorOf, expectSameBits, normals } from '../support/support';

const { forward } = nativeCalls(binding);

interface Layout {
  readonly offset: number;
  readonly rowStride: number;
  readonly batchRows: number;
  readonly batchStride: number;
}

const numbersOf = ({ offset, rowStride, batchRows, batchStride }: Layout) => [
  ...[offset, rowStride, batchRows, batchStride],
];

/** The index of the first element of each row. */
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

test('forward accepts only safe layouts of x and y in one array', () => {
  const outcomes = { taken: 0, outside: 0, twice: 0, overlap: 0, interleaved: 0 };
  fc.assert(
    fc.property(layouts, ({ x, y, rows, hiddenSize }) => {
      const memory = Float32Array.from(normals(1, length));
      const before = memory.slice();
      const [read, written] = [x, y].map((layout) => elementsOf(layout, rows, hiddenSize)) as [
        number[],
        number[],
      ];
      const layouts = { x: numbersOf(x), out: numbersOf(y) };
      const call = () => {
        forward({ x: memory, out: memory }, { rows, hiddenSize, layouts });
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
      // Operands with different strides count as using every element from their first to their last.
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
        forward({ x: row, out: row }, { hiddenSize });
        expected.set(row, targets[r]);
      }
      expectSameBits(memory, expected);
    }),
    { seed: 3, numRuns: 6000 },
  );
  for (const count of Object.values(outcomes)) expect(count).toBeGreaterThan(30);
});

const packed = [0, 4, 2, 0];
const huge = 2 ** 53 - 1;

/** Changes to a valid call: its number of rows, and its layouts of two contiguous rows of four. */
interface Changes {
  readonly rows?: number;
  readonly x?: readonly number[];
  readonly out?: readonly number[];
}

test.each<[string, Changes, string]>([
  ['a negative offset', { x: [-1, 4, 2, 0] }, range],
  ['a fractional stride', { x: [0, 4.5, 2, 0] }, range],
  ['a stride of NaN', { x: [0, NaN, 2, 0] }, range],
  ['an infinite stride', { x: [0, Infinity, 2, 0] }, range],
  ['a stride beyond 2^53', { x: [0, 2 ** 54, 2, 0] }, range],
  ['a stride beyond 2^63', { x: [0, 2 ** 70, 2, 0] }, range],
  ['rows beyond the array', { rows: 3 }, range],
  ['an offset beyond the array', { x: [5, 4, 2, 0] }, range],
  ['an offset of 2^53', { x: [huge, 4, 2, 0] }, range],
  ['a stride of 2^53', { x: [0, huge, 2, 0] }, range],
  ['2^53 rows of 4', { rows: huge }, range],
  [
    '2^51 rows in one position',
    { rows: 2 ** 51 - 1, x: [0, 0, 2 ** 51 - 1, 0], out: [0, 0, huge, 0] },
    value,
  ],
  ['no rows in a batch', { x: [0, 4, 0, 0] }, range],
  ['an incomplete batch', { rows: 3, x: [0, 4, 2, 0] }, range],
  ['a batch stride of 2^53', { x: [0, 4, 1, huge] }, range],
  ['output rows that overlap', { out: [0, 3, 2, 0] }, value],
  ['output rows in one position', { out: [0, 0, 2, 0] }, value],
])('forward refuses %s, and writes nothing', (_, { rows = 2, x = packed, out = packed }, code) => {
  const operands = { x: new Float32Array(8), out: new Float32Array(8) };
  const call = () => {
    forward(operands, { rows, hiddenSize: 4, layouts: { x, out } });
  };
  expect(errorOf(call).code).toBe(code);
  expect(operands.out.every((element) => element === 0)).toBe(true);
});

test('the strides of a single row and batch do not matter', () => {
  const x = Float32Array.of(3, 4, 0, 0);
  const [out, expected] = [new Float32Array(4), new Float32Array(4)];
  forward({ x, out: expected }, { hiddenSize: 4 });
  const one = [0, huge, 1, huge];
  forward({ x, out }, { hiddenSize: 4, layouts: { x: one, out: one } });
  expectSameBits(out, expected);
});
