import { rmsNorm } from '../../lib';
import { makeCase } from '../support/cases';
import {
  arrayOf,
  detach,
  dtypes,
  expectSameBits,
  rejectionOf,
  zeros,
  type HostArray,
} from '../support/support';

type ResizableBuffer = ArrayBuffer & { resize(length: number): void };
type ResizableBufferConstructor = new (
  length: number,
  options: { maxByteLength: number },
) => ResizableBuffer;

/** A copy of an array on a resizable buffer. */
function onResizable(array: Float32Array, tracksLength = false): [Float32Array, ResizableBuffer] {
  const { byteLength, length } = array;
  const buffer = new (ArrayBuffer as unknown as ResizableBufferConstructor)(byteLength, {
    maxByteLength: 2 * byteLength,
  });
  const copy = tracksLength ? new Float32Array(buffer) : new Float32Array(buffer, 0, length);
  copy.set(array);
  return [copy, buffer];
}

function onShared<A extends HostArray>(array: A): A {
  const buffer = new SharedArrayBuffer(array.byteLength);
  const copy = array instanceof Float32Array ? new Float32Array(buffer) : new Uint16Array(buffer);
  copy.set(array);
  return copy as A;
}

const floats = (c: ReturnType<typeof makeCase>) => ({
  x: c.x as Float32Array,
  dy: c.dy as Float32Array,
  weight: c.weight as Float32Array,
});

const gone = 'ERR_INVALID_ARG_VALUE';

describe.each(dtypes)('%s', (dtype) => {
  test.each([
    [5, 100],
    [300, 1000],
    [0, 8],
  ])('%i rows of %i have the bits of the synchronous calls', async (rows, hiddenSize) => {
    for (const weightKind of ['none', 'same', 'float32'] as const) {
      const settings = { weightOffset: 0.5, eps: 0.01, castOrder: 'float' } as const;
      const c = makeCase({ dtype, rows, hiddenSize, weightKind, ...settings });
      const { x, dy, weight, options } = c;
      const expected = rmsNorm.forward(x, weight, options);

      const y = await rmsNorm.async(x, weight, options);
      expect(y.constructor).toBe(x.constructor);
      expectSameBits(y, expected.y);
      const both = await rmsNorm.forwardAsync(x, weight, options);
      expectSameBits(both.y, expected.y);
      expectSameBits(both.rstd, expected.rstd);
      const out = zeros(dtype, x.length, 3);
      const rstdOut = new Float32Array(rows);
      const written = await rmsNorm.forwardAsync(x, weight, { ...options, out, rstdOut });
      expect(written.y).toBe(out);
      expect(written.rstd).toBe(rstdOut);
      expectSameBits(out, expected.y);
      expectSameBits(rstdOut, expected.rstd);

      for (const rstd of [expected.rstd, null]) {
        const back = rmsNorm.backward(dy, x, weight, rstd, options);
        const backAsync = await rmsNorm.backwardAsync(dy, x, weight, rstd, options);
        expectSameBits(backAsync.dx, back.dx);
        expectSameBits(backAsync.dweight, back.dweight);
        expect(backAsync.dweight?.constructor).toBe(back.dweight?.constructor);
      }
    }
  });

  test('outputs may be provided, in place or omitted', async () => {
    const { x, dy, weight, options } = makeCase({ dtype, rows: 40, hiddenSize: 100 });
    const expected = rmsNorm.backward(dy, x, weight, null, options);
    const dweightOut = arrayOf('float32', new Float64Array(100).fill(0.5));
    const accumulated = dweightOut.slice();
    const accumulate = { ...options, accumulate: true };
    rmsNorm.backward(dy, x, weight, null, { ...accumulate, dweightOut: accumulated });

    const dxOut = dy.slice();
    const promise = rmsNorm.backwardAsync(dxOut, x, weight, null, {
      ...accumulate,
      dxOut,
      dweightOut,
    });
    const { dx, dweight } = await promise;
    expect([dx, dweight]).toEqual([dxOut, dweightOut]);
    expect(dx).toBe(dxOut);
    expect(dweight).toBe(dweightOut);
    expectSameBits(dx, expected.dx);
    expectSameBits(dweight, accumulated);

    const noDx = { ...options, needsDx: false } as const;
    expectSameBits(
      (await rmsNorm.backwardAsync(dy, x, weight, null, noDx)).dweight,
      expected.dweight,
    );
    const noDweight = { ...options, needsDweight: false } as const;
    const onlyDx = await rmsNorm.backwardAsync(dy, x, weight, null, noDweight);
    expect(onlyDx.dweight).toBeNull();
    expectSameBits(onlyDx.dx, expected.dx);
  });

  test('arrays on SharedArrayBuffers are used in place', async () => {
    const c = makeCase({ dtype, rows: 40, hiddenSize: 100 });
    const [x, dy] = [onShared(c.x), onShared(c.dy)];
    const weight = onShared(c.weight as HostArray);
    const expected = rmsNorm.forward(c.x, c.weight, c.options);
    const expectedBack = rmsNorm.backward(c.dy, c.x, c.weight, null, c.options);

    const out = onShared(zeros(dtype, x.length));
    const rstdOut = onShared(new Float32Array(40));
    await rmsNorm.forwardAsync(x, weight, { ...c.options, out, rstdOut });
    expectSameBits(out, expected.y);
    expectSameBits(rstdOut, expected.rstd);
    const dweightOut = onShared(zeros(dtype, 100));
    const outputs = { ...c.options, dxOut: dy, dweightOut };
    await rmsNorm.backwardAsync(dy, x, weight, rstdOut, outputs);
    expectSameBits(dy, expectedBack.dx);
    expectSameBits(dweightOut, expectedBack.dweight);
    await rmsNorm.async(x, weight, { ...c.options, out: x });
    expectSameBits(x, expected.y);
  });
});

const shape = { dtype: 'float32', rows: 60, hiddenSize: 1000 } as const;

// A call cannot settle before the JavaScript after it has run. So these tests change arrays while the
// call is in flight.
test('inputs may change after the call', async () => {
  const c = makeCase(shape);
  const { x, dy, weight } = floats(c);
  const expected = rmsNorm.forward(x, weight);
  const expectedBack = rmsNorm.backward(dy, x, weight, expected.rstd);
  const rstd = expected.rstd.slice();

  const calls = [rmsNorm.async(x, weight), rmsNorm.async(x, weight)];
  const back = rmsNorm.backwardAsync(dy, x, weight, rstd);
  for (const array of [x, dy, weight, rstd]) array.fill(NaN);
  for (const y of await Promise.all(calls)) expectSameBits(y, expected.y);
  expectSameBits((await back).dx, expectedBack.dx);
  expectSameBits((await back).dweight, expectedBack.dweight);
});

test('inputs may be transferred after the call', async () => {
  const c = makeCase(shape);
  const { x, dy, weight } = floats(c);
  const expected = rmsNorm(x, weight);
  const expectedBack = rmsNorm.backward(dy, x, weight);
  const forward = rmsNorm.async(x, weight);
  const back = rmsNorm.backwardAsync(dy, x, weight);
  for (const array of [x, dy, weight]) detach(array);
  expect(x.length).toBe(0);
  expectSameBits(await forward, expected);
  expectSameBits((await back).dx, expectedBack.dx);
  expectSameBits((await back).dweight, expectedBack.dweight);
});

test('buffers of inputs may shrink after the call', async () => {
  const c = makeCase(shape);
  const { weight } = floats(c);
  const expected = rmsNorm(c.x, weight);
  const [x, buffer] = onResizable(floats(c).x);
  const forward = rmsNorm.async(x, weight);
  buffer.resize(0);
  expectSameBits(await forward, expected);
});

test('a call rejects if an output is detached or resized before the result comes', async () => {
  const c = makeCase(shape);
  const { x, dy, weight } = floats(c);
  const transferred = x.slice();
  const rstdTransferred = new Float32Array(60);
  const dweightTransferred = new Float32Array(1000);
  const [shrunk, shrunkBuffer] = onResizable(x);
  const [grown, grownBuffer] = onResizable(x, true);
  const [dxShrunk, dxBuffer] = onResizable(dy);

  const promises: [string, Promise<unknown>][] = [
    ['out', rmsNorm.async(x, weight, { out: transferred })],
    ['rstdOut', rmsNorm.forwardAsync(x, weight, { rstdOut: rstdTransferred })],
    ['out', rmsNorm.async(x, weight, { out: shrunk })],
    ['out', rmsNorm.async(x, weight, { out: grown })],
    ['dxOut', rmsNorm.backwardAsync(dy, x, weight, null, { dxOut: dxShrunk })],
    ['dweightOut', rmsNorm.backwardAsync(dy, x, weight, null, { dweightOut: dweightTransferred })],
  ];
  // Listens to all at once: a promise that rejects without a listener is an unhandled rejection.
  const errors = Promise.all(promises.map(([, promise]) => rejectionOf(promise)));
  for (const array of [transferred, rstdTransferred, dweightTransferred]) detach(array);
  shrunkBuffer.resize(8);
  grownBuffer.resize(grownBuffer.byteLength + 4);
  dxBuffer.resize(0);
  for (const [i, error] of (await errors).entries()) {
    const name = promises[i]?.[0] ?? '';
    expect(error).toBeInstanceOf(TypeError);
    expect(error.code).toBe(gone);
    expect(error.message).toContain(`'${name}' was detached or resized`);
  }
});

test('an output is written although its buffer has grown behind it', async () => {
  const c = makeCase(shape);
  const { x, weight } = floats(c);
  const [out, buffer] = onResizable(x);
  const promise = rmsNorm.async(x, weight, { out });
  buffer.resize(2 * x.byteLength);
  expect(await promise).toBe(out);
  expectSameBits(out, rmsNorm(x, weight));
  expect(new Uint8Array(buffer, x.byteLength).every((byte) => byte === 0)).toBe(true);
});

test('a rejected call does not affect the next', async () => {
  const c = makeCase(shape);
  const { x, weight } = floats(c);
  const out = x.slice();
  const rejected = rmsNorm.async(x, weight, { out });
  const next = rmsNorm.async(x, weight);
  detach(out);
  expect((await rejectionOf(rejected)).code).toBe(gone);
  expectSameBits(await next, rmsNorm(x, weight));
});

test('argument errors reject the promise', async () => {
  // Outside of any try or await: a throw would fail the test here.
  const promise = rmsNorm.async(new Float32Array(3), new Float32Array(2));
  const error = await rejectionOf(promise);
  expect(error).toBeInstanceOf(RangeError);
  expect(error.code).toBe('ERR_OUT_OF_RANGE');
});

test('many calls of different sizes can run at once', async () => {
  const cases = Array.from({ length: 60 }, (_, i) =>
    makeCase({
      dtype: dtypes[i % 3] ?? 'float32',
      rows: 1 + ((i * 37) % 90),
      hiddenSize: 1 + ((i * 101) % 1200),
      weightKind: 'float32',
    }),
  );
  const results = await Promise.all(
    cases.map(({ x, dy, weight, options }) =>
      Promise.all([
        rmsNorm.forwardAsync(x, weight, options),
        rmsNorm.backwardAsync(dy, x, weight, null, options),
      ]),
    ),
  );
  for (const [i, [forward, back]] of results.entries()) {
    const { x, dy, weight, options } = cases[i] as (typeof cases)[number];
    const expected = rmsNorm.forward(x, weight, options);
    const expectedBack = rmsNorm.backward(dy, x, weight, expected.rstd, options);
    expectSameBits(forward.y, expected.y);
    expectSameBits(forward.rstd, expected.rstd);
    expectSameBits(back.dx, expectedBack.dx);
    expectSameBits(back.dweight, expectedBack.dweight);
  }
  const buffers = new Set(results.flatMap(([{ y, rstd }]) => [y.buffer, rstd.buffer]));
  expect(buffers.size).toBe(120);
});

test('synchronous calls work while asynchronous ones are in flight', async () => {
  const c = makeCase({ dtype: 'float32', rows: 300, hiddenSize: 1000 });
  const expected = rmsNorm(c.x, c.weight, c.options);
  const promises = Array.from({ length: 8 }, () => rmsNorm.async(c.x, c.weight, c.options));
  for (let i = 0; i < 8; ++i) expectSameBits(rmsNorm(c.x, c.weight, c.options), expected);
  for (const y of await Promise.all(promises)) expectSameBits(y, expected);
});
