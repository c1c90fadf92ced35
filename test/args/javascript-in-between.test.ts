// JavaScript may run while the addon reads arguments: async hooks, patched builtins, setters of
// prototypes. The addon must not use a pointer that it read before such code changed the memory.
// Each test has its own process, since such a bug would crash it.

import { hasSimulator, printedBy, simulator } from '../support/processes';

jest.setTimeout(60_000); // processes take long to start on a busy machine

const prelude = `
  const { createHook } = require('node:async_hooks');
  const { rmsNorm } = lib;
  const hiddenSize = 64;
  const length = hiddenSize * 4096;
  const resizable = (length) => new ArrayBuffer(length * 4, { maxByteLength: length * 4 });
  const buffer = resizable(length);
  const x = new Float32Array(buffer, 0, length).fill(2);
  const weight = new Float32Array(hiddenSize).fill(1);
  const outcome = (promise) =>
    promise.then((value) => (ArrayBuffer.isView(value) ? value.length : 'fulfilled'), ({ code }) => code);
  const inHook = async (type, index, action, call) => {
    let count = 0;
    const hook = createHook({
      init(id, kind) {
        if (kind === type && ++count === index) action();
      },
    });
    hook.enable();
    const promise = call();
    hook.disable();
    print(await outcome(promise));
  };
`;

const printed = (program: string, environment: Record<string, string> = {}) =>
  printedBy(`${prelude} (async () => { ${program} })();`, environment);

/** Calls with x as an operand. */
const calls = [
  'rmsNorm.async(x, weight)',
  'rmsNorm.async(new Float32Array(length), weight, { out: x })',
  'rmsNorm.forwardAsync(new Float32Array(length), weight, { residual: x })',
  'rmsNorm.backwardAsync(x, x, weight)',
];

// Hooks run for every object that a call makes, such as its thread work and its promises.
describe.each(['fused-rmsnorm', 'PROMISE'])('an init hook of %s', (type) => {
  test.each(calls)('may shrink x during %s', async (call) => {
    const values = await printed(`
      for (let index = 1; index <= 4; ++index) {
        buffer.resize(length * 4);
        x.fill(2);
        await inHook('${type}', index, () => buffer.resize(0), () => ${call});
      }
    `);
    for (const value of values) {
      expect([262144, 'fulfilled', 'ERR_INVALID_ARG_VALUE', 'ERR_OUT_OF_RANGE']).toContain(value);
    }
    // The hook of the first object that the call makes runs before x is read.
    if (type === 'fused-rmsnorm') expect(values[0]).toMatch(/^ERR_/);
  });
});

test('hooks may make calls during a call', async () => {
  const values = await printed(`
    const calls = [];
    let depth = 0;
    const hook = createHook({
      init() {
        if (++depth < 8) calls.push(rmsNorm.async(x, weight));
      },
    });
    hook.enable();
    calls.push(rmsNorm.async(x, weight));
    hook.disable();
    print((await Promise.all(calls)).every((y) => y.length === x.length && y[0] > 0.99));
    print(calls.length > 5);
  `);
  expect(values).toEqual([true, true]);
});

test.each([
  [
    'ArrayBuffer',
    'globalThis.ArrayBuffer = function (length) { buffer.resize(0); return new Real(length); };\nObject.setPrototypeOf(ArrayBuffer, Real);',
  ],
  [
    'ArrayBuffer.prototype',
    `for (const name of ['transfer', 'slice', 'resize']) {
       ArrayBuffer.prototype[name] = function () { resize.call(buffer, 0); return this; };
     }`,
  ],
  [
    'typed arrays',
    'globalThis.Float32Array = class extends Float { constructor(...a) { super(...a); resize.call(buffer, 0); } };',
  ],
])('calls give a result or a coded error in a program that replaces %s', async (_, replace) => {
  const values = await printed(`
    const [Real, Float, { resize }] = [ArrayBuffer, Float32Array, ArrayBuffer.prototype];
    const residual = x;
    const other = new Float32Array(length).fill(1);
    ${replace}
    const { y } = await rmsNorm.forwardAsync(other, weight, { residual }).catch((error) => ({ y: [error.code] }));
    print(y[0]);
    const sync = (() => { try { return rmsNorm(other, weight)[0]; } catch ({ code }) { return code; } })();
    print(sync);
  `);
  for (const value of values) {
    if (typeof value === 'number') expect(value).toBeCloseTo(1, 5);
    else expect(['ERR_OUT_OF_RANGE', 'ERR_INVALID_ARG_VALUE']).toContain(value);
  }
  expect(values).toHaveLength(2);
});

test('calls run no setters of Object.prototype and Array.prototype', async () => {
  const values = await printed(`
    const names = ['y', 'rstd', 'sum', 'dx', 'dweight', 'rows', 'forward', 'backward', 'driverError', 'cuda'];
    const throwing = { set() { throw new Error('setter'); }, get() {}, configurable: true };
    const results = [];
    await new Promise((resolve) => setTimeout(resolve, 300)); // for what started the process
    for (const name of names) Object.defineProperty(Object.prototype, name, throwing);
    for (const index of [0, 1, 2]) Object.defineProperty(Array.prototype, index, throwing);
    const note = (value) => Object.defineProperty(results, results.length, { value, enumerable: true });
    try {
      note((await rmsNorm.async(x, weight)).length);
      note((await rmsNorm.backwardAsync(x, x, weight)).dweight.length);
      note(lib.cpuVariants().length > 0);
      note(lib.devices().length >= 0);
    } catch (error) {
      note(error.stack);
    }
    for (const name of names) delete Object.prototype[name];
    for (const index of [0, 1, 2]) delete Array.prototype[index];
    print(results);
  `);
  expect(values).toEqual([[262144, 64, true, true]]);
});

test('a getter of Object.prototype.then may shrink x when a promise settles', async () => {
  const values = await printed(`
    Object.defineProperty(Object.prototype, 'then', {
      get() { buffer.resize(0); return undefined; }, configurable: true,
    });
    const y = await rmsNorm.async(x, weight);
    delete Object.prototype.then;
    print(y[0]);
  `);
  expect(values[0]).toBeCloseTo(1);
});

(hasSimulator ? describe : describe.skip)('objects of a GPU', () => {
  const environment = { RMSNORM_LIBCUDA: simulator };
  test.each(['fused-rmsnorm', 'PROMISE'])('may be disposed by an init hook of %s', async (type) => {
    const values = await printed(
      `const { Stream, DeviceBuffer, CudaEvent } = lib;
       for (let index = 1; index <= 4; ++index) {
         const stream = new Stream();
         const event = new CudaEvent();
         event.record(stream);
         const buffer = DeviceBuffer.from(new Float32Array(1000));
         const target = new Float32Array(resizable(1000));
         const calls = [
           [stream, () => stream.synchronizeAsync()],
           [buffer, () => buffer.toHostAsync()],
           [event, () => event.synchronizeAsync()],
         ];
         for (const [object, call] of calls) {
           await inHook('${type}', index, () => object.dispose(), async () => call());
         }
       }`,
      environment,
    );
    expect(values).toHaveLength(12);
    for (const value of values) expect([1000, 'fulfilled', 'ERR_DISPOSED']).toContain(value);
  });
});
