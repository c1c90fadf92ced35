// Rows whose squares overflow, or all vanish with an eps of 0. A rescaled pass computes their row
// sum again from scaled numbers, and the results are as accurate as any.

import {
  cpuVariants,
  devices,
  getCpuVariant,
  rmsNorm,
  setCpuVariant,
  type DeviceName,
} from '../../lib';
import { backwardErrors, forwardErrors } from '../support/bounds';
import { makeCase } from '../support/cases';
import { backward, forward, roundTo } from '../support/reference';
import {
  arrayOf,
  expectSameBits,
  expectWithin,
  valuesOf,
  type HostArray,
} from '../support/support';

const variant = getCpuVariant();
afterEach(() => {
  setCpuVariant(variant);
});

/** The largest magnitude in each row. */
const scales = {
  // From the smallest power of two whose square overflows to the largest finite number. Squares of
  // float16 numbers never overflow.
  overflows: {
    float32: [2 ** 64, 1e25, 3.4028234663852886e38],
    bfloat16: [2 ** 64, 1e25, 3.3895313892515355e38],
  },
  vanishes: { float32: [2 ** -76, 1e-30, 2 ** -122], bfloat16: [2 ** -76, 1e-30, 2 ** -122] },
} as const;

const backends = [...cpuVariants(), ...devices().map(({ device }) => device)];

function resultsOn(backend: string, call: (device: DeviceName) => readonly (HostArray | null)[]) {
  if (backend.startsWith('cuda')) return call(backend as DeviceName);
  setCpuVariant(backend);
  return call('cpu');
}

describe.each(['float32', 'bfloat16'] as const)('%s', (dtype) => {
  describe.each(['overflows', 'vanishes'] as const)('where a square %s', (kind) => {
    test.each([1, 7, 64, 300, 1025])(
      'rows of %i are within the bounds, with the same bits on every backend',
      (hiddenSize) => {
        const largest = scales[kind][dtype];
        const rows = largest.length + 1; // the last row is ordinary
        const made = makeCase({
          dtype,
          rows,
          hiddenSize,
          castOrder: 'float',
          eps: kind === 'overflows' ? 1e-6 : 0,
        });
        const values = valuesOf(made.x, dtype);
        for (const [r, size] of largest.entries()) {
          const row = values.subarray(r * hiddenSize, (r + 1) * hiddenSize);
          const most = row.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
          for (const [j, value] of row.entries()) row[j] = roundTo[dtype]((value / most) * size);
        }
        const x = arrayOf(dtype, values);
        const problem = { ...made.problem, x: values };
        const run = (device: DeviceName) => {
          const options = { ...made.options, device };
          const { y, rstd } = rmsNorm.forward(x, made.weight, options);
          const { dx, dweight } = rmsNorm.backward(made.dy, x, made.weight, null, options);
          const stored = rmsNorm.backward(made.dy, x, made.weight, rstd, options);
          expectSameBits(stored.dx, dx);
          expectSameBits(stored.dweight, dweight);
          return [y, rstd, dx, dweight] as const;
        };
        const [y, rstd, dx, dweight] = resultsOn('scalar', run) as ReturnType<typeof run>;
        const errors = forwardErrors(problem);
        const exact = forward(problem);
        expectWithin(rstd, exact.rstd, errors.rstd, Math.fround);
        expectWithin(valuesOf(y, dtype), exact.y, errors.y, roundTo[dtype]);
        expect(
          errors.y.every((error, i) => error < 2 ** -12 * Math.abs(exact.y[i] as number) + 1e-30),
        ).toBe(true);
        const gradients = backward(problem, made.dyValues, rstd);
        const backErrors = backwardErrors(problem, made.dyValues, rstd);
        expectWithin(valuesOf(dx, dtype), gradients.dx, backErrors.dx, roundTo[dtype]);
        expectWithin(
          valuesOf(dweight as HostArray, dtype),
          gradients.dweight,
          backErrors.dweight,
          roundTo[dtype],
        );
        for (const backend of backends) {
          const others = resultsOn(backend, run);
          for (const [i, other] of others.entries())
            expectSameBits(other, [y, rstd, dx, dweight][i] ?? null);
        }
      },
    );
  });
});

test('rows of zeros stay zero, and an infinity becomes NaN', () => {
  const x = Float32Array.of(0, 0, 0, 0, 1, Infinity, 1, 1);
  for (const backend of backends) {
    const [y] = resultsOn(backend, (device) => [
      rmsNorm(x, null, { eps: 1e-6, normalizedShape: 4, device }),
    ]);
    expect([...(y ?? [])]).toEqual([0, 0, 0, 0, 0, NaN, 0, 0]);
  }
});
