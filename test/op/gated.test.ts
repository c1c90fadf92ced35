// A gate beside the norm: results and gradients within derived bounds of the oracle, and the same
// bits on every path.

import {
  cpuVariants,
  getCpuVariant,
  getNumThreads,
  rmsNorm,
  setCpuVariant,
  setNumThreads,
  type GateOrder,
} from '../../lib';
import { makeCase, type CaseOptions } from '../support/cases';
import { gatedBackward, gatedErrors, gatedForward } from '../support/gated';
import { roundTo } from '../support/reference';
import { arrayOf, expectSameBits, expectWithin, normals, valuesOf } from '../support/support';

const variant = getCpuVariant();
const threads = getNumThreads();
afterEach(() => {
  setCpuVariant(variant);
  setNumThreads(threads);
});

const orders: readonly GateOrder[] = ['after-norm', 'before-norm'];
const kinds = (['float32', 'float16', 'bfloat16'] as const).flatMap((dtype) =>
  (['llama', 'float'] as const).flatMap((castOrder) =>
    orders.map((gateOrder) => ({ dtype, castOrder, gateOrder })),
  ),
);

function gatedCase(options: CaseOptions) {
  const one = makeCase(options);
  const values = normals(one.rows * 31 + one.hiddenSize, one.x.length, 2).map(roundTo[one.dtype]);
  return { ...one, gate: arrayOf(one.dtype, values), gateValues: values };
}

describe.each(kinds)('$dtype, $castOrder, $gateOrder', ({ dtype, castOrder, gateOrder }) => {
  test.each([
    [3, 1, 'same', 0],
    [4, 7, 'none', 0],
    [5, 33, 'same', 1],
    [17, 64, 'float32', 0],
    [3, 256, 'same', 0],
    [2, 1000, 'none', 0],
    [19, 769, 'float32', -0.25],
    [2, 5125, 'same', 0],
  ] as const)(
    '%i x %i, weight %s, offset %d: results are within the bounds',
    (rows, hiddenSize, weightKind, weightOffset) => {
      const shape = { rows, hiddenSize, weightKind, weightOffset };
      const one = gatedCase({ dtype, castOrder, ...shape });
      const { x, weight, dy, gate, gateValues, dyValues, options, problem, dsum } = one;
      const gated = { ...problem, gate: gateValues, gateOrder };
      const exact = gatedForward(gated);
      const result = rmsNorm.forward(x, weight, { ...options, gate, gateOrder });
      const errors = gatedErrors(gated, dyValues);
      expectWithin(valuesOf(result.y, dtype), exact.y, errors.y, roundTo[dtype]);
      expectWithin(result.rstd, exact.rstd, errors.rstd, Math.fround);

      const back = rmsNorm.backward(dy, x, weight, null, { ...options, gate, gateOrder });
      const exactBack = gatedBackward(gated, dyValues);
      expectWithin(valuesOf(back.dx, dtype), exactBack.dx, errors.dx, roundTo[dtype]);
      expectWithin(valuesOf(back.dgate, dtype), exactBack.dgate, errors.dgate, roundTo[dtype]);
      if (weight !== null) {
        const { dweight } = back;
        const type = one.weightDtype;
        if (dweight === null) throw new Error('There is no dweight');
        expectWithin(valuesOf(dweight, type), exactBack.dweight, errors.dweight, roundTo[type]);
      }

      // With forward's rstd, and with outputs over their inputs, the bits are the same.
      const dgateOut = gate.slice();
      const dxOut = dy.slice();
      const again = rmsNorm.backward(dxOut, x, weight, result.rstd, {
        ...{ ...options, gate: dgateOut, gateOrder, dxOut, dgateOut },
      });
      expect(again.dx).toBe(dxOut);
      expect(again.dgate).toBe(dgateOut);
      expectSameBits(dxOut, back.dx);
      expectSameBits(dgateOut, back.dgate);
      expectSameBits(again.dweight, back.dweight);
      expect(
        rmsNorm.backward(dy, x, weight, null, { ...options, gate, needsDx: false }).dgate,
      ).toBeNull();

      const withDsum = rmsNorm.backward(dy, x, weight, null, { ...options, gate, gateOrder, dsum });
      expectSameBits(withDsum.dgate, back.dgate);
      expect(withDsum.dx).not.toEqual(back.dx);
    },
  );

  test('every path, variant and number of threads gives the same bits', async () => {
    const { x, dy, weight, gate, residual, options } = gatedCase({
      ...{ dtype, castOrder, rows: 40, hiddenSize: 300 },
    });
    const settings = { ...options, gate, gateOrder, residual };
    const expected = rmsNorm.forward(x, weight, settings);
    const { sum, rstd } = expected;
    const back = { ...options, gate, gateOrder, dsum: dy };
    const expectedBack = rmsNorm.backward(dy, sum, weight, rstd, back);
    const codes = rmsNorm.forward(x, weight, { ...settings, quantize: 'int8' });
    for (const name of cpuVariants()) {
      setCpuVariant(name);
      for (const count of [1, 3]) {
        setNumThreads(count);
        const forward = rmsNorm.forward(x, weight, settings);
        expectSameBits(forward.y, expected.y);
        expectSameBits(forward.sum, sum);
        const backward = rmsNorm.backward(dy, sum, weight, rstd, back);
        expectSameBits(backward.dx, expectedBack.dx);
        expectSameBits(backward.dgate, expectedBack.dgate);
        expectSameBits(backward.dweight, expectedBack.dweight);
        const quantised = rmsNorm.forward(x, weight, { ...settings, quantize: 'int8' });
        expect(quantised.y).toEqual(codes.y);
        expectSameBits(quantised.scale, codes.scale);
      }
    }
    const alone = rmsNorm(sum, weight, { ...options, gate, gateOrder });
    expectSameBits(alone, expected.y);
    const later = await rmsNorm.forwardAsync(x, weight, settings);
    expectSameBits(later.y, expected.y);
    const laterBack = await rmsNorm.backwardAsync(dy, sum, weight, rstd, back);
    expectSameBits(laterBack.dgate, expectedBack.dgate);
    expectSameBits(laterBack.dx, expectedBack.dx);
  });
});

test('quantized codes are those of the gated y', () => {
  for (const gateOrder of orders) {
    const { x, weight, gate, rows, hiddenSize } = gatedCase({
      dtype: 'float32',
      rows: 4,
      hiddenSize: 100,
    });
    const y = rmsNorm(x, weight, { gate, gateOrder }) as Float32Array;
    const { y: codes, scale } = rmsNorm.forward(x, weight, { gate, gateOrder, quantize: 'int8' });
    for (let r = 0; r < rows; ++r) {
      const row = y.subarray(r * hiddenSize, (r + 1) * hiddenSize);
      const largest = row.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      expect(scale[r]).toBe(Math.fround(largest / 127));
      row.forEach((value, j) => {
        const quotient = Math.fround(value / (scale[r] as number));
        expect(Math.abs((codes[r * hiddenSize + j] as number) - quotient)).toBeLessThanOrEqual(0.5);
      });
    }
  }
});

test('a gate of large, infinite or NaN values gives the limits of silu', () => {
  const x = Float32Array.of(1, 1, 1, 1, 1);
  const gate = Float32Array.of(-Infinity, -200, 0, 200, Infinity);
  const y = rmsNorm(x, null, { normalizedShape: 5, gate, eps: 0 });
  expect(Array.from(y)).toEqual([-0, -0, 0, 200, Infinity]);
  const nan = rmsNorm(x, null, { normalizedShape: 5, gate: Float32Array.of(0, 0, NaN, 0, 0) });
  expect(Array.from(nan)).toEqual([0, 0, NaN, 0, 0]);
  const { dgate } = rmsNorm.backward(x, x, null, null, { normalizedShape: 5, gate, eps: 0 });
  expect(Array.from(dgate)).toEqual([expect.closeTo(0, 30), expect.closeTo(0, 30), 0.5, 1, 1]);
});

test('groups of a row are normed on views, each by itself', () => {
  const [rows, groups, size] = [3, 4, 32];
  const { x, gate, weight } = gatedCase({ dtype: 'float32', rows, hiddenSize: groups * size });
  const y = new Float32Array(x.length);
  for (let g = 0; g < groups; ++g) {
    const groupView = (data: Float32Array) => ({
      ...{ data, dims: [rows, size], strides: [groups * size, 1], offset: g * size },
    });
    const options = { gate: groupView(gate as Float32Array), gateOrder: 'before-norm' } as const;
    const own = (weight as Float32Array).subarray(g * size, (g + 1) * size);
    rmsNorm(groupView(x as Float32Array), own, { ...options, out: groupView(y) });
  }
  for (let r = 0; r < rows; ++r) {
    for (let g = 0; g < groups; ++g) {
      const begin = (r * groups + g) * size;
      const own = weight?.slice(g * size, (g + 1) * size) as Float32Array;
      const options = { gate: gate.slice(begin, begin + size), gateOrder: 'before-norm' } as const;
      const alone = rmsNorm(x.slice(begin, begin + size), own, options) as Float32Array;
      expectSameBits(y.slice(begin, begin + size), alone);
    }
  }
});
