// The memory of a HostBuffer lives exactly as long as any array over it, wherever the array was
// transferred. Runs in separate processes on a simulated GPU, which unmaps freed memory, so that
// later reads crash.

import { constants } from 'node:buffer';

import { addon, hasSimulator, printedBy, simulator } from '../support/processes';

jest.setTimeout(120_000); // processes take long to start on a busy machine

const onSimulator = hasSimulator ? describe : describe.skip;

// Node.js 20 refuses more than 4 GiB, and still calls the finalizer. Later versions accept more
// than the addon does.
const isOld = process.versions.node.startsWith('20.');
const mostBytes = isOld ? constants.MAX_LENGTH : 2 ** 53;
const refusal = isOld ? 'ERR_INVALID_STATE' : 'ERR_OUT_OF_RANGE';

const setUp = `
  const { constants } = require('node:buffer');
  const { once } = require('node:events');
  const { setTimeout: sleep } = require('node:timers/promises');
  const v8 = require('node:v8');
  const { Worker } = require('node:worker_threads');
  v8.setFlagsFromString('--expose-gc');
  // Node.js 20 has ArrayBuffer.prototype.transfer behind this flag.
  if (!ArrayBuffer.prototype.transfer) v8.setFlagsFromString('--harmony-rab-gsab-transfer');
  const gc = require('node:vm').runInNewContext('gc');
  const collect = async () => { for (let i = 0; i < 5; ++i) { gc(); await sleep(5); } };
  const residentMiB = () => process.memoryUsage.rss() / 2 ** 20;

  const helpers = \`
    const { HostBuffer, DeviceBuffer, Stream } = lib;
    const elements = 1 << 20;
    const make = () => {
      const buffer = new HostBuffer(elements, 'float32');
      buffer.array.fill(7);
      return buffer;
    };
  \`;
  const start = (program) => new Worker(
    'const lib = require(' + JSON.stringify(${JSON.stringify(`${__dirname}/../../lib`)}) + ');' +
      'const { parentPort } = require("node:worker_threads");' +
      helpers + program,
    { eval: true, execArgv: ['-r', 'tsx/cjs'] },
  );
  const { HostBuffer } = lib;
`;

const results = (program: string) =>
  printedBy(`${setUp} (async () => { ${program} })();`, { RMSNORM_LIBCUDA: simulator });

onSimulator('on a simulated GPU', () => {
  test('the memory lives as long as its array, its ArrayBuffer or a view', async () => {
    const program = `
      const make = () => {
        const buffer = new HostBuffer(1 << 20, 'float32');
        buffer.array.fill(7);
        return buffer.array;
      };
      const array = make();
      const { buffer } = make();
      const view = new Uint8Array(make().buffer, 8, 16);
      const slice = make().subarray(5, 10);
      await collect();
      print([array.length, array[99], buffer.byteLength, view.length, view[3], slice.length, slice[0]]);
    `;
    expect(await results(program)).toEqual([[1 << 20, 7, 4 << 20, 16, 0x40, 5, 7]]);
  });

  test('the memory is freed once nothing refers to it, and V8 knows its size', async () => {
    const program = `
      // Collects the garbage of the process's start, which would count otherwise.
      await collect();
      const before = process.memoryUsage().external;
      let held = new HostBuffer(1 << 20, 'float32');
      await collect();
      const isReported = process.memoryUsage().external - before >= held.array.byteLength;
      held = null;
      await collect();
      const base = residentMiB();
      for (let i = 0; i < 20; ++i) {
        // Drops the HostBuffer first in every other turn, and its array first in the others.
        let buffer = new HostBuffer(1 << 21, 'float32');
        let { array } = buffer;
        if (i % 2 === 0) buffer = null; else array = null;
        await collect();
        buffer = array = null;
        await collect();
      }
      print([isReported, residentMiB() - base < 80]); // of 160
    `;
    expect(await results(program)).toEqual([[true, true]]);
  });

  test('every array over a disposed HostBuffer is empty', async () => {
    const program = `
      const buffer = new HostBuffer(100, 'float32');
      const { array } = buffer;
      const view = new Uint8Array(array.buffer, 8, 16);
      buffer.dispose();
      buffer.dispose();
      await collect();
      print([array.length, array.buffer.byteLength, view.length]);
    `;
    expect(await results(program)).toEqual([[0, 0, 0]]);
  });

  test('its ArrayBuffer cannot be transferred by postMessage or structuredClone', async () => {
    const program = `
      const { port1 } = new MessageChannel();
      const { buffer } = new HostBuffer(100, 'float32').array;
      const transfer = [buffer];
      // Node.js 20 copies the buffer; later versions throw.
      try { port1.postMessage(buffer, transfer); } catch {}
      try { structuredClone(buffer, { transfer }); } catch {}
      print(buffer.byteLength);
      port1.close();
    `;
    expect(await results(program)).toEqual([400]);
  });

  test.each([
    ['transferred', 'const moved = make().array.buffer.transfer();', ''],
    [
      'transferred to a fixed length',
      'const moved = make().array.buffer.transferToFixedLength();',
      '',
    ],
    [
      'transferred twice',
      `const first = make().array.buffer.transfer();
       const moved = structuredClone(first, { transfer: [first] });`,
      '',
    ],
    [
      'transferred, and the HostBuffer disposed of',
      'const buffer = make(); const moved = buffer.array.buffer.transfer(); buffer.dispose();',
      '',
    ],
    [
      'transferred, and the HostBuffer collected',
      'const moved = make().array.buffer.transfer(); gc(); gc();',
      '',
    ],
    [
      'transferred with a copy in flight',
      `const stream = new Stream();
       const x = new DeviceBuffer(elements, 'float32');
       x.fill(7, { stream });
       const buffer = make();
       x.copyTo(buffer, { stream });
       const moved = buffer.array.buffer.transfer();`,
      '',
    ],
    ['transferred before process.exit()', 'const moved = make().array.buffer.transfer();', 'exit'],
    ['transferred before an exception', 'const moved = make().array.buffer.transfer();', 'throw'],
    [
      'transferred before terminate()',
      'const moved = make().array.buffer.transfer();',
      'terminate',
    ],
  ])('memory outlives the worker that made it: %s', async (_, move, ending) => {
    const program = `
      const worker = start(${JSON.stringify(move)} + 'parentPort.postMessage(moved, [moved]);' + ({
        '': '',
        exit: 'setTimeout(() => process.exit(), 50);',
        throw: 'setTimeout(() => { throw new Error("expected"); }, 50);',
        terminate: 'setInterval(() => {}, 1000);',
      })[${JSON.stringify(ending)}]);
      worker.on('error', ({ message }) => { if (message !== 'expected') print(message); });
      const exit = new Promise((resolve) => worker.on('exit', resolve));
      const [moved] = await once(worker, 'message');
      if (${JSON.stringify(ending)} === 'terminate') worker.terminate();
      await exit;
      await collect();
      const array = new Float32Array(moved);
      print([array.length, array.every((value) => value === 7)]);
      // The GPU still works.
      print(new HostBuffer(2, 'float32').array.length);
    `;
    expect(await results(program)).toEqual([[1 << 20, true], 2]);
  });

  test.each([
    ['with its HostBuffers', 'globalThis.held = buffers();', 'end'],
    ['with their arrays', 'globalThis.held = buffers().map(({ array }) => array);', 'end'],
    ['after all were collected', 'buffers(); gc(); setTimeout(() => {}, 50);', 'end'],
    ['after all were disposed of', 'for (const buffer of buffers()) buffer.dispose();', 'end'],
    [
      'after it dropped the buffers it transferred',
      'buffers().map(({ array }) => array.buffer.transfer()); gc(); setTimeout(() => {}, 50);',
      'end',
    ],
    ['by terminate()', 'globalThis.held = buffers(); setInterval(() => {}, 1000);', 'terminate'],
  ])('a worker ends %s, and its memory is freed', async (_, use, ending) => {
    const program = `
      const run = async () => {
        const worker = start(
          'const buffers = () => Array.from({ length: 8 }, () => new HostBuffer(1 << 21, "float32"));' +
            ${JSON.stringify(use)} + 'parentPort.postMessage(0);',
        );
        const exit = once(worker, 'exit');
        if (${JSON.stringify(ending)} === 'terminate') {
          await once(worker, 'message');
          worker.terminate();
        }
        await exit;
      };
      await run();
      const base = residentMiB();
      for (let i = 0; i < 3; ++i) await run();
      await collect();
      print(residentMiB() - base < 64); // of 192
    `;
    expect(await results(program)).toEqual([true]);
  });

  test('more elements than an ArrayBuffer can hold are refused', async () => {
    const program = `
      for (const [dtype, size] of [['float32', 4], ['bfloat16', 2]]) {
        const most = Math.floor(constants.MAX_LENGTH / size);
        try {
          new HostBuffer(most + 1, dtype);
        } catch ({ name, code, message }) {
          print([name, code, message.includes("'length' must be at most " + most)]);
        }
      }
    `;
    const error = ['RangeError', 'ERR_OUT_OF_RANGE', true];
    expect(await results(program)).toEqual([error, error]);
  });

  test('more bytes than an ArrayBuffer can hold are refused', async () => {
    const program = `
      const { cuda } = require(${JSON.stringify(addon)});
      const outcomeOf = (call) => { try { call(); return null; } catch ({ code }) { return code; } };
      const outcome = outcomeOf(() => cuda.createHostBuffer(0, ${mostBytes + 8}));
      await collect();
      print([outcome, residentMiB() < 2000, cuda.createHostBuffer(0, 8)[1].byteLength]);
    `;
    expect(await results(program)).toEqual([[refusal, true, 8]]);
  });
});
