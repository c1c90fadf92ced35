// Memory of large results that JavaScript has let go of becomes that of later ones, as docs/design.md
// says. In processes of their own: what the pool holds is the process's.

import path from 'node:path';

import { printedBy, runProgram, type Ending } from './processes';

jest.setTimeout(60_000); // processes take long to start on a busy machine

const lib = JSON.stringify(path.join(__dirname, '../lib'));

const MiB = 2 ** 20;

/**
 * `settle` collects what nobody refers to, and lets its finalizers run. `ordinary` tells how many
 * bytes of ArrayBuffers are memory of Node.js's own: recycled ones are not.
 */
const prelude = `
  const { Worker } = require('node:worker_threads');
  const { binding } = require(${lib} + '/binding');
  require('node:v8').setFlagsFromString('--expose-gc');
  const gc = require('node:vm').runInNewContext('gc');
  const MiB = ${MiB};
  const settle = async () => {
    for (let i = 0; i < 5; ++i) {
      gc();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const ordinary = () => process.memoryUsage().arrayBuffers;
  const bytes = (array) => Buffer.from(array.buffer ?? array, array.byteOffset ?? 0, array.byteLength);
  const canTransfer = 'transfer' in ArrayBuffer.prototype;
`;

const printed = (program: string) =>
  printedBy(`${prelude} (async () => { ${program} })();`, { RMSNORM_NUM_THREADS: '2' });

const isLinux = process.platform === 'linux';
const onLinux = isLinux ? test : test.skip;

onLinux('memory of a result that is gone is that of the next one', async () => {
  const values = await printed(`
    bytes(binding.createOutput(MiB)).fill(0xa5);
    await settle();
    print(bytes(binding.createOutput(MiB)).equals(Buffer.alloc(MiB, 0xa5)));
  `);
  expect(values).toEqual([true]);
});

test('memory of a result that is still referred to is not', async () => {
  const values = await printed(`
    const alive = Array.from({ length: 8 }, (_, i) => {
      const buffer = binding.createOutput(MiB);
      bytes(buffer).fill(i);
      return new Uint8Array(buffer, 5, MiB - 5).subarray(3); // the buffer itself is forgotten
    });
    for (let i = 0; i < 20; ++i) {
      bytes(binding.createOutput(MiB)).fill(0xff);
      await settle();
    }
    for (const [i, view] of alive.entries()) print(view.every((byte) => byte === i));
  `);
  expect(values).toEqual(Array.from({ length: 8 }, () => true));
});

test('results over used memory are those over memory of their own', async () => {
  const values = await printed(`
    const { rmsNorm, toBFloat16, fromBFloat16 } = lib;
    const [rows, hiddenSize] = [130, 1031];
    const make = (length, seed) =>
      new Float32Array(length).map((_, i) => Math.sin(seed + i) * (1 + (i % 7)));
    const [x, dy, residual] = [1, 2, 3].map((seed) => make(rows * hiddenSize, seed));
    const weight = make(hiddenSize, 4);
    const bf16 = { dtype: 'bfloat16' };
    const [x16, weight16] = [toBFloat16(x), toBFloat16(weight)];
    const [x64, weight64] = [Float64Array.from(x), Float64Array.from(weight)];
    const view = { data: x, dims: [rows, 1000], strides: [hiddenSize, 1], offset: 7 };
    const few = make(1 << 17, 5);
    const none = new Float32Array(0);
    const calls = {
      plain: () => [rmsNorm(x, weight)],
      forward: () => Object.values(rmsNorm.forward(x, weight, { residual })),
      backward: () => Object.values(rmsNorm.backward(dy, x, weight)),
      bfloat16: () => [rmsNorm(x16, weight16, bf16)],
      float64: () => Object.values(rmsNorm.backward(x64, x64, weight64)),
      strided: () => [rmsNorm(view, weight.subarray(0, 1000)).data],
      longRow: () => Object.values(rmsNorm.backward(few, few, few)),
      noRows: () => Object.values(rmsNorm.backward(none, none, few)),
      manyRows: () => Object.values(rmsNorm.forward(x, null, { normalizedShape: 1 })),
      convert: () => [toBFloat16(x), fromBFloat16(x16)],
      async: async () => Object.values(await rmsNorm.forwardAsync(x, weight, { residual })),
      backwardAsync: async () => Object.values(await rmsNorm.backwardAsync(dy, x, weight)),
    };
    const results = async (call) => (await call()).filter((array) => array !== null);
    const expected = {};
    for (const [name, call] of Object.entries(calls)) {
      expected[name] = (await results(call)).map((array) => Buffer.from(bytes(array)));
    }
    const wrong = new Set();
    for (let round = 0; round < 4; ++round) {
      for (const [name, call] of Object.entries(calls)) {
        for (const [i, array] of (await results(call)).entries()) {
          if (!bytes(array).equals(expected[name][i])) wrong.add(name);
          bytes(array).fill(0xff);
        }
        await settle();
      }
    }
    print([...wrong]);
    print(expected.noRows[1].every((byte) => byte === 0));
  `);
  expect(values).toEqual([[], true]);
});

onLinux('what is lent is bounded, and lent again when it has come back', async () => {
  const values = await printed(`
    const before = ordinary();
    let buffers = Array.from({ length: 6 }, () => binding.createOutput(64 * MiB));
    print(Math.max(0, ordinary() - before) / (64 * MiB));
    buffers = null;
    await settle();
    buffers = Array.from({ length: 4 }, () => binding.createOutput(64 * MiB));
    print(Math.max(0, ordinary() - before) / (64 * MiB));
    buffers = null;
    await settle();
    buffers = Array.from({ length: 2 }, () => binding.createOutput(100 * MiB));
    print(Math.max(0, ordinary() - before) / (64 * MiB));
  `);
  expect(values.map((value) => (value as number).toFixed(1))).toEqual(['2.0', '0.0', '0.0']);
});

onLinux('memory comes back from calls that throw', async () => {
  const program = `
    const before = ordinary();
    const x = new Float32Array(4 * MiB);
    const own = ordinary() - before;
    let most = 0;
    for (let i = 0; i < 40; ++i) {
      try {
        lib.rmsNorm(x, x);
        print('nothing was thrown');
      } catch (error) {
        if (i % 8 === 0) print(error.code);
        most = Math.max(most, ordinary() - before);
      }
      if (i % 8 === 7) await settle();
    }
    print((most - own) / MiB < 1);
  `;
  const values = await printedBy(`${prelude} (async () => { ${program} })();`, {
    RMSNORM_CPU_VARIANT: 'none such',
  });
  expect(values).toEqual([...Array.from({ length: 5 }, () => 'ERR_INVALID_ENVIRONMENT'), true]);
});

test('a result is transferred to a worker, which ends with it', async () => {
  const values = await printed(`
    const program = \`
      const { parentPort } = require('node:worker_threads');
      let kept;
      parentPort.on('message', (array) => {
        kept = array;
        parentPort.postMessage(array.every((value) => value === 7));
      });
    \`;
    const before = ordinary();
    for (let i = 0; i < 5; ++i) {
      const worker = new Worker(program, { eval: true });
      const array = new Float32Array(binding.createOutput(64 * MiB)).fill(7);
      worker.postMessage(array, [array.buffer]);
      const isDetached = array.length === 0;
      const other = bytes(binding.createOutput(64 * MiB)).fill(0xff);
      const [isRight] = await require('node:events').once(worker, 'message');
      await worker.terminate();
      if (!isRight || isDetached !== canTransfer) print('wrong');
      await settle();
    }
    print((ordinary() - before) / MiB < 1);
  `);
  expect(values).toEqual([true]);
});

test('a result of a worker outlives it', async () => {
  const values = await printed(`
    const program = \`
      require('tsx/cjs');
      const { rmsNorm } = require(${lib.replaceAll('\\', '\\\\')});
      const x = new Float32Array(2 ** 20).fill(3);
      const y = rmsNorm(x, null, { normalizedShape: 1024, eps: 0 });
      const forgotten = rmsNorm(x, null, { normalizedShape: 1024 });
      require('node:worker_threads').parentPort.postMessage(y, [y.buffer]);
    \`;
    for (let i = 0; i < 3; ++i) {
      const worker = new Worker(program, { eval: true });
      const [[y]] = await Promise.all(
        ['message', 'exit'].map((event) => require('node:events').once(worker, event)),
      );
      await settle();
      for (let j = 0; j < 8; ++j) bytes(binding.createOutput(4 * MiB)).fill(0xff);
      print(y.length === 2 ** 20 && y.every((value) => value === 1));
    }
  `);
  expect(values).toEqual([true, true, true]);
});

test.each([
  ['by itself', '', 0],
  ['by process.exit()', 'process.exit(7);', 7],
  ['by an exception', "throw new Error('expected');", 1],
  [
    'by process.exit() in a turn in which memory comes back',
    'array = null; gc(); process.exit(7);',
    7,
  ],
])('a process ends %s with results alive and in flight', async (_, program, end) => {
  const ending: Ending = await runProgram(
    `${prelude}
     const x = new Float32Array(4 * MiB);
     let array = lib.rmsNorm(x, null, { normalizedShape: 1024 });
     lib.rmsNorm.async(x, null, { normalizedShape: 1024 });
     ${program}`,
    {},
  );
  expect(ending.end).toBe(end);
});

test('a program that replaces what ArrayBuffers are made by and moved by', async () => {
  const values = await printed(`
    const x = new Float32Array(MiB).fill(2);
    const norm = () => lib.rmsNorm(x, null, { normalizedShape: 1024, eps: 0 });
    const { transfer } = ArrayBuffer.prototype;
    const refuse = () => { throw new Error('expected'); };
    for (const other of [undefined, refuse, () => 4, () => new ArrayBuffer(8), function () { return this; }]) {
      ArrayBuffer.prototype.transfer = other;
      print(norm().every((value) => value === 1));
      await settle();
    }
    ArrayBuffer.prototype.transfer = transfer;
    print(norm().every((value) => value === 1));
  `);
  expect(values).toEqual(Array.from({ length: 6 }, () => true));
});
