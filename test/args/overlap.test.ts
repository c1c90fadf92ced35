// Outputs that overlap inputs or other outputs in memory.

import { rmsNorm } from '../../lib';
import { errorsOf, floats } from '../support/refusals';
import { expectSameBits } from '../support/support';

const dy = floats(12);
const x = floats(12);
const weight = floats(4);
const rstd = floats(3);

/** The names of the two overlapping arrays, and the arguments, taken from one array of 40 floats. */
type Row = readonly [
  output: string,
  input: string,
  (slice: (begin: number, end: number) => Float32Array) => readonly unknown[],
];

const forwards: readonly Row[] = [
  ['out', 'x', (slice) => [slice(0, 12), weight, { out: slice(4, 16) }]],
  ['out', 'x', (slice) => [slice(4, 16), weight, { out: slice(0, 12) }]],
  ['out', 'weight', (slice) => [x, slice(11, 15), { out: slice(0, 12) }]],
  ['out', 'weight', (slice) => [x, slice(4, 8), { out: slice(0, 12) }]],
  ['out', 'rstdOut', (slice) => [x, weight, { out: slice(0, 12), rstdOut: slice(11, 14) }]],
  ['rstdOut', 'x', (slice) => [slice(0, 12), weight, { rstdOut: slice(0, 3) }]],
  ['rstdOut', 'weight', (slice) => [x, slice(0, 4), { rstdOut: slice(3, 6) }]],
];

const backwards: readonly Row[] = [
  ['dxOut', 'dy', (slice) => [slice(0, 12), x, weight, rstd, { dxOut: slice(1, 13) }]],
  ['dxOut', 'x', (slice) => [dy, slice(0, 12), weight, rstd, { dxOut: slice(1, 13) }]],
  ['dxOut', 'weight', (slice) => [dy, x, slice(0, 4), rstd, { dxOut: slice(3, 15) }]],
  ['dxOut', 'rstd', (slice) => [dy, x, weight, slice(0, 3), { dxOut: slice(2, 14) }]],
  [
    'dxOut',
    'dweightOut',
    (slice) => [dy, x, weight, rstd, { dxOut: slice(0, 12), dweightOut: slice(8, 12) }],
  ],
  ['dweightOut', 'weight', (slice) => [dy, x, slice(0, 4), rstd, { dweightOut: slice(0, 4) }]],
  ['dweightOut', 'dy', (slice) => [slice(0, 12), x, weight, rstd, { dweightOut: slice(0, 4) }]],
  ['dweightOut', 'x', (slice) => [dy, slice(0, 12), weight, rstd, { dweightOut: slice(8, 12) }]],
  ['dweightOut', 'rstd', (slice) => [dy, x, weight, slice(0, 3), { dweightOut: slice(2, 6) }]],
];

describe.each([
  { title: 'forward', functions: [rmsNorm.forward, rmsNorm.forwardAsync], rows: forwards },
  { title: 'backward', functions: [rmsNorm.backward, rmsNorm.backwardAsync], rows: backwards },
])('$title', ({ functions, rows }) => {
  test.each(rows)(
    'refuses memory shared by %s and %s, and writes nothing',
    async (output, input, argsOf) => {
      const memory = floats(40).fill(7);
      const args = argsOf((begin, end) => memory.subarray(begin, end));
      for (const error of await errorsOf(functions, args)) {
        expect(error).toBeInstanceOf(TypeError);
        expect(error.code).toBe('ERR_INVALID_ARG_VALUE');
        expect(error.message).toContain(`'${output}' and '${input}' must not overlap`);
      }
      expect(memory.every((element) => element === 7)).toBe(true);
    },
  );
});

test('adjacent arrays do not overlap', () => {
  const memory = floats(31).map((_, i) => i + 1);
  const [own, ownWeight] = [memory.slice(0, 12), memory.slice(12, 16)];
  rmsNorm.forward(memory.subarray(0, 12), memory.subarray(12, 16), {
    out: memory.subarray(16, 28),
    rstdOut: memory.subarray(28),
  });
  const apart = rmsNorm.forward(own, ownWeight);
  expectSameBits(memory.subarray(16, 28), apart.y);
  expectSameBits(memory.subarray(28), apart.rstd);
});

test('inputs may share memory', () => {
  const square = floats(16).map((_, i) => i - 7);
  const same = rmsNorm.backward(square, square, square, null, { normalizedShape: 16 });
  const apart = rmsNorm.backward(square.slice(), square.slice(), square.slice(), null);
  expectSameBits(same.dx, apart.dx);
  expectSameBits(same.dweight, apart.dweight);
});
