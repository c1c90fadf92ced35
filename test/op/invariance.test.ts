// The numerics contract of csrc/op/fold.h: the same bits from every CPU variant, for any number of
// threads, any number of other rows, and any address.

import {
  cpuVariants,
  getCpuVariant,
  getNumThreads,
  rmsNorm,
  setCpuVariant,
  setNumThreads,
} from '../../lib';
import { makeCase, type Case, type CaseOptions } from '../support/cases';
import { dtypes, expectSameBits, uniform, zeros, type HostArray } from '../support/support';

const variant = getCpuVariant();
const threads = getNumThreads();
afterEach(() => {
  setCpuVariant(variant);
  setNumThreads(threads);
});

function resultsOf(c: Case): (HostArray | null)[] {
  const { y, rstd } = rmsNorm.forward(c.x, c.weight, c.options);
  const { dx, dweight } = rmsNorm.backward(c.dy, c.x, c.weight, rstd, c.options);
  const recomputed = rmsNorm.backward(c.dy, c.x, c.weight, null, { ...c.options, needsDx: false });
  return [y, rstd, dx, dweight, recomputed.dweight];
}

function expectSameResults(actual: (HostArray | null)[], expected: (HostArray | null)[]): void {
  for (const [i, array] of actual.entries()) expectSameBits(array, expected[i] ?? null);
}

// The cases have enough bytes for 7 threads, several row groups, and several blocks of groups. Rows
// end inside a tile, inside a pair of vectors, or at a boundary. Row sums take one, several or many
// tiles at a time.
const shared: CaseOptions[] = [
  { dtype: 'float32', rows: 700, hiddenSize: 513 },
  { dtype: 'float32', rows: 1200, hiddenSize: 257, weightOffset: 1 },
  { dtype: 'float32', rows: 9000, hiddenSize: 33 },
  { dtype: 'float16', rows: 1200, hiddenSize: 512, weightKind: 'float32' },
  { dtype: 'float16', rows: 300, hiddenSize: 2500, castOrder: 'float', weightKind: 'none' },
  { dtype: 'bfloat16', rows: 700, hiddenSize: 771, weightKind: 'float32', weightOffset: 0.5 },
  { dtype: 'bfloat16', rows: 2000, hiddenSize: 300, castOrder: 'float' },
];
test.each(shared)(
  '$dtype $rows x $hiddenSize: every variant gives the same bits on 1, 2 and 7 threads',
  (caseOptions) => {
    const c = makeCase(caseOptions);
    setCpuVariant('scalar');
    setNumThreads(1);
    const expected = resultsOf(c);
    for (const name of cpuVariants()) {
      for (const count of [1, 2, 7]) {
        setCpuVariant(name);
        setNumThreads(count);
        expectSameResults(resultsOf(c), expected);
      }
    }
  },
);

// Too few rows for several threads, but every size of tail.
test.each(dtypes)(
  '%s: every variant gives the same bits for every row size up to 70 and some beyond',
  (dtype) => {
    const sizes = [
      ...Array.from({ length: 70 }, (_, i) => i + 1),
      255,
      258,
      511,
      1023,
      5125,
      20000,
    ];
    for (const hiddenSize of sizes) {
      for (const castOrder of ['llama', 'float'] as const) {
        const c = makeCase({ dtype, rows: 9, hiddenSize, castOrder });
        const [expected, ...others] = cpuVariants().map((name) => {
          setCpuVariant(name);
          return resultsOf(c);
        });
        for (const other of others) expectSameResults(other, expected as typeof other);
      }
    }
  },
);

// More tiles than the row sum buffers at once (kBufferedTiles).
test.each(dtypes)(
  '%s: every variant gives the same bits for rows of 300001 and 600000',
  (dtype) => {
    for (const hiddenSize of [300001, 600000]) {
      const c = makeCase({ dtype, rows: 2, hiddenSize, lead: 1 });
      const [expected, ...others] = cpuVariants().map((name) => {
        setCpuVariant(name);
        return resultsOf(c);
      });
      for (const other of others) expectSameResults(other, expected as typeof other);
    }
  },
);

// Outputs too large for the caches: aligned rows are written with non-temporal stores. The input
// repeats 50 rows, whose output alone is small enough for ordinary stores.
test.each(dtypes)('%s: outputs of more than 24 MiB have the bits of small ones', (dtype) => {
  const times = 16;
  const c = makeCase({ dtype, rows: 50, hiddenSize: dtype === 'float32' ? 4096 : 8192 });
  const [y, , dx] = resultsOf(c);
  const repeat = (array: HostArray) => {
    const repeated = zeros(dtype, array.length * times);
    for (let i = 0; i < times; ++i) repeated.set(array, i * array.length);
    return repeated;
  };
  const [x, dy] = [repeat(c.x), repeat(c.dy)];
  setCpuVariant('scalar');
  const { dweight } = rmsNorm.backward(dy, x, c.weight, null, { ...c.options, needsDx: false });
  setCpuVariant(variant);
  // Large buffers begin at a multiple of 16 bytes, so one of these offsets gives a multiple of 64.
  for (const bytes of [0, 16, 32, 48]) {
    const out = zeros(dtype, x.length, bytes / x.BYTES_PER_ELEMENT);
    rmsNorm(x, c.weight, { ...c.options, out });
    expectSameBits(out, repeat(y as HostArray));
    const back = rmsNorm.backward(dy, x, c.weight, null, { ...c.options, dxOut: out });
    expectSameBits(out, repeat(dx as HostArray));
    expectSameBits(back.dweight, dweight);
  }
});

/**
 * A view of `length` elements behind `array`, in the same buffer. It starts a multiple of 4096 bytes,
 * plus `bytes`, after the start of `array`.
 */
function placeBehind(array: HostArray, length: number, bytes: number): HostArray {
  const Kind = array.constructor as new (
    buffer: ArrayBufferLike,
    offset: number,
    length: number,
  ) => HostArray;
  const end = array.byteOffset + Math.ceil(array.byteLength / 4096 + 1) * 4096;
  return new Kind(array.buffer, end + bytes, length);
}

// The distance of the outputs from the inputs decides whether rows are written upwards or downwards.
test.each(dtypes)(
  '%s: every variant gives the same bits for outputs at any distance from inputs',
  (dtype) => {
    for (const hiddenSize of [64, 100, 128, 300, 513, 2050]) {
      const c = makeCase({ dtype, rows: 5, hiddenSize });
      const residual = c.dy;
      const memory = zeros(dtype, 3 * c.x.length + 20_000);
      const x = memory.subarray(8, 8 + c.x.length);
      const expected = rmsNorm(c.x, c.weight, c.options);
      const sum = rmsNorm.forward(c.x, c.weight, { ...c.options, residual });
      for (const name of cpuVariants()) {
        setCpuVariant(name);
        for (const distance of [-512, -64, -16, 0, 16, 64, 128, 512, 516]) {
          x.set(c.x);
          const out = placeBehind(x, x.length, distance);
          expectSameBits(rmsNorm(x, c.weight, { ...c.options, out }), expected);
          const y = placeBehind(out, x.length, 0);
          const options = { ...c.options, residual, sumOut: out, out: y };
          const actual = rmsNorm.forward(x, c.weight, options);
          expectSameBits(actual.sum, sum.sum);
          expectSameBits(actual.y, sum.y);
        }
      }
    }
  },
);

describe.each(dtypes)('%s', (dtype) => {
  test.each([1, 33, 100, 257, 700, 1000, 5125])(
    'a row of %i has the same bits alone as in a batch',
    (hiddenSize) => {
      const { x, dy, weight, options } = makeCase({ dtype, rows: 21, hiddenSize });
      const batch = rmsNorm.forward(x, weight, options);
      const { dx } = rmsNorm.backward(dy, x, weight, null, options);
      for (let r = 0; r < 21; ++r) {
        const range = [r * hiddenSize, (r + 1) * hiddenSize] as const;
        const xRow = x.slice(...range);
        const alone = rmsNorm.forward(xRow, weight, options);
        expectSameBits(alone.y, batch.y.subarray(...range));
        expectSameBits(alone.rstd, batch.rstd.subarray(r, r + 1));
        const back = rmsNorm.backward(dy.slice(...range), xRow, weight, null, options);
        expectSameBits(back.dx, dx.subarray(...range));
      }
    },
  );

  // Inside a row, stores are aligned; the first and the last store of a row overlap them. The test
  // covers every address of a cache line, out of place and in place.
  test.each([7, 33, 64, 257, 1000])(
    'rows of %i have the same bits at every address',
    (hiddenSize) => {
      const expected = resultsOf(makeCase({ dtype, rows: 5, hiddenSize }));
      const [y, , dx, dweight] = expected as [HostArray, HostArray, HostArray, HostArray];
      for (let lead = 1; lead <= 33; ++lead) {
        const c = makeCase({ dtype, rows: 5, hiddenSize, lead });
        expectSameResults(resultsOf(c), expected);
        const out = zeros(dtype, c.x.length, lead + 3);
        expectSameBits(rmsNorm(c.x, c.weight, { ...c.options, out }), y);

        for (const name of ['dy', 'x'] as const) {
          const { dy, x } = makeCase({ dtype, rows: 5, hiddenSize, lead });
          const inPlace = { dy, x }[name];
          const back = rmsNorm.backward(dy, x, c.weight, null, { ...c.options, dxOut: inPlace });
          expectSameBits(inPlace, dx);
          expectSameBits(back.dweight, dweight);
        }
        expectSameBits(rmsNorm(c.x, c.weight, { ...c.options, out: c.x }), y);
      }
    },
  );

  test('reordered rows give reordered results', () => {
    const rows = 50;
    const hiddenSize = 100;
    const { x, dy, weight, options } = makeCase({ dtype, rows, hiddenSize });
    const random = uniform(7);
    const order = Array.from({ length: rows }, (_, r) => ({ r, key: random() }))
      .sort((a, b) => a.key - b.key)
      .map(({ r }) => r);
    const reorder = (array: HostArray, length: number) => {
      const result = array.slice();
      for (const [to, from] of order.entries()) {
        result.set(array.subarray(from * length, (from + 1) * length), to * length);
      }
      return result;
    };
    const { y, rstd } = rmsNorm.forward(x, weight, options);
    const { dx } = rmsNorm.backward(dy, x, weight, null, options);
    const reordered = rmsNorm.forward(reorder(x, hiddenSize), weight, options);
    expectSameBits(reordered.y, reorder(y, hiddenSize));
    expectSameBits(reordered.rstd, reorder(rstd, 1));
    const back = rmsNorm.backward(
      reorder(dy, hiddenSize),
      reorder(x, hiddenSize),
      weight,
      null,
      options,
    );
    expectSameBits(back.dx, reorder(dx, hiddenSize));
  });
});
