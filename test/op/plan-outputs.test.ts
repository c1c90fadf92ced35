// Plans that own their outputs: run, runAsync and runBackward.

import { Float16Array as PackagedFloat16Array } from '@petamoriken/float16';

import { allocate, createPlan, rmsNorm, toFloat16, type DType } from '../../lib';
import { makeCase } from '../support/cases';
import { printedBy } from '../support/processes';
import { detached } from '../support/refusals';
import { dtypes, errorOf, expectSameBits, normals, rejectionOf } from '../support/support';

const allDtypes: readonly DType[] = [...dtypes, 'float64'];

describe.each(allDtypes)('%s', (dtype) => {
  test.each([
    { rows: 1, hiddenSize: 64 },
    { rows: 37, hiddenSize: 771, weightOffset: 1 },
    { rows: 20, hiddenSize: 300, weightKind: 'none' },
    { rows: 20, hiddenSize: 300, weightKind: 'float32' },
    { rows: 0, hiddenSize: 8 },
  ] as const)('$rows x $hiddenSize: results have the bits of rmsNorm', async (size) => {
    if (dtype === 'float64' && 'weightKind' in size && size.weightKind === 'float32') return;
    const c = makeCase({ dtype, ...size });
    const { rows, hiddenSize, x, dy, weight, options } = c;
    const { eps, castOrder, weightOffset } = options;
    const plan = createPlan({ rows, hiddenSize, weight, dtype, eps, castOrder, weightOffset });
    const { y, rstd } = rmsNorm.forward(x, weight, options);
    for (let i = 0; i < 3; ++i) {
      const result = plan.run(x);
      expect(result.constructor).toBe(x.constructor);
      expectSameBits(result, y);
      expectSameBits(await plan.runAsync(x), y);
    }
    const expected = rmsNorm.backward(dy, x, weight, rstd, options);
    for (const rstdOrNull of [rstd, null]) {
      const { dx, dweight } = plan.runBackward(dy, x, rstdOrNull);
      expectSameBits(dx, expected.dx);
      expectSameBits(dweight, expected.dweight);
    }
  });
});

const hiddenSize = 40;
const weight = new Float32Array(hiddenSize).fill(0.5);
const inputs = Array.from({ length: 8 }, (_, i) => Float32Array.from(normals(i, 3 * hiddenSize)));
const expected = inputs.map((x) => rmsNorm(x, weight));
const at = <T>(list: readonly T[], i: number) => list[i] as T;

test.each([undefined, 1, 2, 3])('a plan with %s as outputs returns them in turn', (outputs) => {
  const count = outputs ?? 2;
  const plan = createPlan({ rows: 3, weight, outputs });
  const results = inputs.map((x) => plan.run(x));
  expect(new Set(results).size).toBe(count);
  expect(new Set(results.map(({ buffer }) => buffer)).size).toBe(count);
  results.forEach((y, i) => {
    expect(y).toBe(at(results, i % count));
  });
  // The last `count` results are not overwritten yet.
  for (let i = results.length - count; i < results.length; ++i) {
    expectSameBits(at(results, i), at(expected, i));
  }
});

test('runBackward returns its own pairs of gradients in turn', () => {
  const plan = createPlan({ rows: 3, weight, outputs: 2 });
  const [x, dy] = [at(inputs, 0), at(inputs, 1)];
  const first = plan.runBackward(dy, x, null);
  const second = plan.runBackward(x, x, null);
  plan.run(x);
  const { dx, dweight } = rmsNorm.backward(dy, x, weight);
  expectSameBits(first.dx, dx);
  expectSameBits(first.dweight, dweight);
  expect(second.dx).not.toBe(first.dx);
  expect(second.dweight).not.toBe(first.dweight);
  expect(plan.runBackward(dy, x, null)).toBe(first);
  expect(Object.isFrozen(first)).toBe(true);
});

test('with accumulate there is one dweight, which adds up all calls', () => {
  const plan = createPlan({ rows: 3, weight, accumulate: true });
  const sum = new Float32Array(hiddenSize);
  const options = { dweightOut: sum, accumulate: true, needsDx: false } as const;
  for (const x of inputs) {
    rmsNorm.backward(x, x, weight, null, options);
    expectSameBits(plan.runBackward(x, x, null).dweight, sum);
  }
  const x = at(inputs, 0);
  const { dweight } = plan.runBackward(x, x, null);
  dweight.fill(0);
  plan.runBackward(x, x, null);
  expectSameBits(dweight, rmsNorm.backward(x, x, weight).dweight);
});

test('dweight has the dtype of the weight, and is null without one', () => {
  const bits = createPlan({ rows: 1, weight, dtype: 'bfloat16' });
  const x = new Uint16Array(hiddenSize).fill(0x3f80);
  const { dx, dweight } = bits.runBackward(x, x, null);
  expect([dx, dweight].map((array) => array[Symbol.toStringTag])).toEqual([
    'Uint16Array',
    'Float32Array',
  ]);
  const bare = createPlan({ rows: 3, hiddenSize });
  expect(bare.runBackward(at(inputs, 0), at(inputs, 1), null).dweight).toBeNull();
});

test("outputs are Float16Arrays of the weight's class", async () => {
  const values = Float32Array.from(normals(5, hiddenSize));
  const ones = new PackagedFloat16Array(hiddenSize).fill(1);
  const plan = createPlan({ rows: 1, weight: ones as never });
  const x = new PackagedFloat16Array(values);
  const bits = rmsNorm(toFloat16(values), toFloat16(Float32Array.from(ones)), { dtype: 'float16' });
  for (const y of [plan.run(x as never), await plan.runAsync(x as never)]) {
    const array = y as unknown as PackagedFloat16Array;
    expect(array).toBeInstanceOf(PackagedFloat16Array);
    expectSameBits(new Uint16Array(array.buffer), bits);
  }
});

describe('runAsync', () => {
  test('makes calls wait for a free output, and each result is right when it comes', async () => {
    for (const outputs of [1, 2, 5]) {
      const plan = createPlan({ rows: 3, weight, outputs });
      const order: number[] = [];
      const calls = inputs.map(async (x, i) => {
        const y = await plan.runAsync(x);
        order.push(i);
        expectSameBits(y, at(expected, i));
      });
      await Promise.all(calls);
      expect(order.length).toBe(inputs.length);
    }
  });

  test('copies x at the call if an output is free', async () => {
    const plan = createPlan({ rows: 3, weight });
    const copies = inputs.slice(0, 2).map((x) => x.slice());
    const calls = copies.map((x) => plan.runAsync(x));
    for (const x of copies) x.fill(NaN);
    const results = await Promise.all(calls);
    results.forEach((y, i) => {
      expectSameBits(y, at(expected, i));
    });
  });

  test('rejects a waiting call whose x is detached, and runs the next one', async () => {
    const plan = createPlan({ rows: 3, weight, outputs: 1 });
    const x = at(inputs, 1).slice();
    const calls = [plan.runAsync(at(inputs, 0)), plan.runAsync(x), plan.runAsync(at(inputs, 2))];
    structuredClone(x, { transfer: [x.buffer] });
    expect((await rejectionOf(calls[1] as Promise<unknown>)).message).toContain(
      "'x' must be an array whose buffer is neither detached",
    );
    await calls[0];
    expectSameBits(await (calls[2] as Promise<Float32Array>), at(expected, 2));
    expectSameBits(await plan.runAsync(at(inputs, 3)), at(expected, 3));
  });

  test('makes run refuse an output in flight, until its call has settled', async () => {
    const plan = createPlan({ rows: 3, weight });
    const calls = [plan.runAsync(at(inputs, 0)), plan.runAsync(at(inputs, 1))];
    const error = errorOf(() => plan.run(at(inputs, 2)));
    expect(error.code).toBe('ERR_INVALID_STATE');
    expect(error.message).toContain("with more 'outputs'");
    const [first] = await Promise.all(calls);
    expect(plan.run(at(inputs, 2))).toBe(first);
    expectSameBits(first as Float32Array, at(expected, 2));
  });

  test('uses allocated arrays in place', async () => {
    const x = allocate(3 * hiddenSize);
    x.set(at(inputs, 0));
    const shared = allocate(hiddenSize).fill(0.5);
    const plan = createPlan({ rows: 3, weight: shared });
    expectSameBits(await plan.runAsync(x), at(expected, 0));
  });
});

test.each([
  [0, 'ERR_OUT_OF_RANGE', "'outputs' must be an integer >= 1"],
  [1.5, 'ERR_OUT_OF_RANGE', "'outputs'"],
  ['2', 'ERR_INVALID_ARG_TYPE', "'outputs' must be a number"],
])('refuses outputs %j', (outputs, code, message) => {
  const error = errorOf(() => createPlan({ rows: 1, weight, outputs: outputs as number }));
  expect([error.code, error.message]).toEqual([code, expect.stringContaining(message)]);
});

const plan = createPlan({ rows: 3, weight });
test.each([
  ['an x of another length', new Float32Array(1), 'ERR_OUT_OF_RANGE'],
  ['an x of another dtype', new Uint16Array(3 * hiddenSize), 'ERR_INVALID_ARG_TYPE'],
  ['a detached x', detached(new Float32Array(3 * hiddenSize)), 'ERR_INVALID_ARG_VALUE'],
  ['a missing x', undefined, 'ERR_INVALID_ARG_TYPE'],
])('a plan refuses %s, and uses no output for it', async (_, x, code) => {
  const other = new Set([plan.run(at(inputs, 0))]);
  const calls = [
    () => plan.run(x as Float32Array),
    () => plan.runBackward(at(inputs, 0), x as Float32Array, null),
  ];
  for (const call of calls) {
    const error = errorOf(call);
    expect([error.code, error.message]).toEqual([code, expect.stringContaining("'x'")]);
  }
  const rejection = await rejectionOf(plan.runAsync(x as Float32Array));
  expect([rejection.code, rejection.message]).toEqual([code, expect.stringContaining("'x'")]);
  expect(other.has(plan.run(at(inputs, 0)))).toBe(false);
});

test('a failed allocation of outputs throws a coded error, and the next call works', async () => {
  const values = await printedBy(
    `const { createPlan } = lib;
     const plan = createPlan({ rows: 2 ** 28, hiddenSize: 2 ** 16 });
     try { plan.run(new Float32Array(4)); } catch ({ code }) { print(code); }
     const shared = SharedArrayBuffer;
     const small = createPlan({ rows: 1, hiddenSize: 4 });
     globalThis.SharedArrayBuffer = class { constructor() { throw new RangeError('no room'); } };
     try { small.run(new Float32Array(4)); } catch ({ code }) { print(code); }
     globalThis.SharedArrayBuffer = shared;
     print([...small.run(new Float32Array(4).fill(1))].map(Math.round));`,
    {},
  );
  expect(values).toEqual(['ERR_OUT_OF_RANGE', 'ERR_MEMORY_ALLOCATION_FAILED', [1, 1, 1, 1]]);
});
