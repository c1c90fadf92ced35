// Chains of work on a simulated GPU whose buffers are released before it has run: by dispose(), by
// the garbage collector, or because their thread ends. Its driver reports memory that is freed too
// early or never.

import path from 'node:path';

import { hasSimulator, runProgram, simulator } from '../support/processes';

jest.setTimeout(120_000); // processes take long to start on a busy machine

const onSimulator = hasSimulator ? describe : describe.skip;

const load = `
  const { DeviceBuffer, Stream, CudaEvent, Graph } = lib;
  const length = 1000;
  const values = Float32Array.from({ length }, (_, i) => Math.sin(i));
  const check = (array, expected = values) => {
    if (!Buffer.from(array.buffer).equals(Buffer.from(expected.buffer))) throw new Error('other elements');
  };
`;

/** Collects unreachable objects, and lets finalizers run. */
const collect = `
  require('node:v8').setFlagsFromString('--expose-gc');
  const gc = require('node:vm').runInNewContext('gc');
  const collect = async () => {
    gc();
    await new Promise((resolve) => setImmediate(resolve));
  };
`;

const worker = `
  const { Worker } = require('node:worker_threads');
  const { once } = require('node:events');
  const start = (program) => new Worker(${JSON.stringify(
    `const lib = require(${JSON.stringify(path.join(__dirname, '../../lib'))}); ${load}`,
  )} + program, { eval: true });
`;

/** Runs a program. It must end with code 0, and the simulator must report nothing on stderr. */
async function expectEnd(program: string, variables: Record<string, string> = {}) {
  const environment = { RMSNORM_LIBCUDA: simulator, ...variables };
  const { end, stderr } = await runProgram(load + program, environment);
  expect(stderr).toBe('');
  expect(end).toBe(0);
}

onSimulator('on a simulated GPU', () => {
  test('the memory of thousands of buffers dropped without dispose() is freed', async () => {
    const program = `
      ${collect}
      const bytes = 1 << 20; // all that the device has
      (async () => {
        new DeviceBuffer(bytes / 4, 'float32').dispose();
        const drop = (i) => {
          const dropped = new DeviceBuffer(1024, 'float32');
          if (i % 2 === 0) dropped.fill(i);
          if (i % 10 === 0) dropped.subarray(10);
        };
        for (let i = 0; i < 5000; ++i) { // of 4096 bytes: twenty times as much
          drop(i);
          if (i % 100 === 99) await collect();
        }
        await collect();
        Stream.default().synchronize();
        new DeviceBuffer(bytes / 4, 'float32').dispose();
      })();
    `;
    await expectEnd(program, { CUDASIM_MEMORY: String(1 << 20) });
  });

  test.each([
    ['disposed of', 'dispose', ''],
    ['dropped', 'drop', collect],
  ])('objects that work in flight uses may be %s', async (_, how, more) => {
    const program = `
      ${more}
      const letGo = (object) => { if ('${how}' === 'dispose') object.dispose(); };
      (async () => {
        const [one, two] = [new Stream(), new Stream()];
        let last = DeviceBuffer.from(values, { stream: one });
        for (let i = 0; i < 100; ++i) {
          const [stream, other] = i % 2 === 0 ? [one, two] : [two, one];
          const next = new DeviceBuffer(length, 'float32');
          next.copyFrom(last, { stream });
          letGo(last);
          last = next;
          const event = new CudaEvent();
          event.record(stream);
          other.wait(event);
          letGo(event);
          if (i % 10 === 9 && '${how}' === 'drop') await collect();
        }
        const result = last.toHostAsync({ stream: one });
        for (const object of [last, one, two]) letGo(object);
        check(await result);
      })();
    `;
    await expectEnd(program);
    if (how === 'dispose') await expectEnd(program, { CUDASIM_PATIENCE_US: '20000' });
  });

  test('buffers on two devices may be disposed of while copies are in flight', async () => {
    const program = `
      const devices = ['cuda:0', 'cuda:1'];
      (async () => {
        const streams = devices.map((device) => new Stream({ device }));
        let last = DeviceBuffer.from(values, { stream: streams[0] });
        for (let i = 0; i < 50; ++i) {
          const from = i % 2;
          const next = new DeviceBuffer(length, 'float32', { device: devices[1 - from] });
          next.copyFrom(last, { stream: streams[i % 4 < 2 ? from : 1 - from] });
          last.dispose();
          last = next;
          const events = devices.map((device) => new CudaEvent({ device }));
          events.forEach((event, of) => event.record(streams[of]));
          events.forEach((event, of) => streams[1 - of].wait(event));
          for (const event of events) event.dispose();
        }
        const result = last.toHostAsync({ stream: streams[0] });
        for (const object of [last, ...streams]) object.dispose();
        check(await result);
      })();
    `;
    await expectEnd(program, { CUDASIM_DEVICES: '2' });
  });

  const busy = `
    const stream = new Stream();
    const [x, y] = [DeviceBuffer.from(values, { stream }), new DeviceBuffer(length, 'float32')];
    const enqueue = () => {
      y.copyFrom(x, { stream });
      return [stream.synchronizeAsync(), y.toHostAsync({ stream })];
    };
  `;
  test.each([
    ['with pending promises', `${busy} for (let i = 0; i < 20; ++i) enqueue(); process.exit(3);`],
    [
      'during a capture',
      `${busy} Graph.capture(stream, () => { y.fill(1, { stream }); process.exit(3); });`,
    ],
  ])('workers may exit %s', async (_, work) => {
    const program = `
      ${worker}
      (async () => {
        const workers = [0, 1].map(() => start(${JSON.stringify(work)}));
        const exits = workers.map((each) => once(each, 'exit'));
        const x = DeviceBuffer.from(values);
        for (const [code] of await Promise.all(exits)) {
          if (code !== 3) throw new Error('a worker ended with ' + code);
        }
        check(await x.toHostAsync());
      })();
    `;
    await expectEnd(program);
  });
});
