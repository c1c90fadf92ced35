// JavaScript that runs inside a call on objects of a GPU: hooks of node:async_hooks, and setters of
// prototypes. Whatever it disposes of, the call succeeds or throws.

import path from 'node:path';

import { hasSimulator, runProgram, simulator } from '../support/processes';

jest.setTimeout(120_000); // processes take long to start on a busy machine

const onSimulator = hasSimulator ? describe : describe.skip;

/**
 * Prints the outcomes of `call`. `meanwhile` runs during the call, when its `turn`-th promise is
 * made.
 */
const program = (call: string, meanwhile: string) => `
  const { createHook } = require('node:async_hooks');
  const { DeviceBuffer, Stream, CudaEvent } = lib;
  const blocks = [];
  const outcomes = [];
  (async () => {
    for (let turn = 1; turn <= 6; ++turn) {
      for (let i = 0; i < 20; ++i) {
        const [stream, event] = [new Stream(), new CudaEvent()];
        const x = DeviceBuffer.from(new Float32Array(100).fill(1), { stream });
        event.record(stream);
        let promises = 0;
        const hook = createHook({
          init(id, type) {
            if (type !== 'PROMISE' || ++promises !== turn) return;
            ${meanwhile}
            // Reuses released memory, so that a later access to it reads other values.
            for (let j = 0; j < 50; ++j) blocks.push(Buffer.allocUnsafeSlow(160).fill(0x41));
          },
        });
        hook.enable();
        const promise = ${call};
        hook.disable();
        const outcome = await promise.then(
          (array) => (array === undefined || array.every((value) => value === 1) ? 'ok' : 'other elements'),
          ({ code }) => code,
        );
        outcomes.push(outcome);
        for (const each of [stream, event, x]) each.dispose();
      }
    }
    process.stdout.write(JSON.stringify([...new Set(outcomes)].sort()));
  })();
`;

const calls = [
  'stream.synchronizeAsync()',
  'event.synchronizeAsync()',
  'x.toHostAsync({ stream })',
];
const disposals = ['stream.dispose();', 'event.dispose();', 'x.dispose();'];
const cases = calls.flatMap((call, i) => [
  [call, disposals[i] as string] as const,
  [call, disposals.join(' ')] as const,
]);

onSimulator('a hook of async_hooks', () => {
  test.each([...cases, ['x.toHostAsync({ stream })', 'stream.dispose();'] as const])(
    'runs safely during %s: %s',
    async (call, meanwhile) => {
      const { end, stdout, stderr } = await runProgram(program(call, meanwhile), {
        RMSNORM_LIBCUDA: simulator,
      });
      expect(stderr).toBe('');
      expect(end).toBe(0);
      // The hook runs at each promise in turn. Before the addon's own promise it makes the call
      // fail; later it has no effect.
      expect(JSON.parse(stdout)).toEqual(['ERR_DISPOSED', 'ok']);
    },
  );
});

onSimulator('a setter of a prototype', () => {
  test('does not run, and leaves no promise pending', async () => {
    const text = `
      const { binding } = require(${JSON.stringify(path.join(__dirname, '../../lib/binding'))});
      const { nativeStream } = require(${JSON.stringify(path.join(__dirname, '../../lib/gpu/stream'))});
      const stream = new lib.Stream();
      const x = new lib.DeviceBuffer(100, 'float32');
      const host = new lib.HostBuffer(100, 'float32');
      x.copyTo(host, { stream }); // what was never written: an error of the simulated GPU
      const setters = [
        [Object.prototype, ['driverError', 'driverMessage', 'totalMemory', 'multiprocessors']],
        [Error.prototype, ['code']],
      ];
      // Node.js assigns, too: the setter throws for the addon's objects alone.
      const set = function () {
        if (!(this instanceof Error) || this.message.startsWith('Work of')) throw new Error('of the setter');
      };
      for (const [prototype, names] of setters) {
        for (const name of names) Object.defineProperty(prototype, name, { configurable: true, set });
      }
      // For one call, since Node.js assigns to elements.
      Object.defineProperty(Array.prototype, '0', { configurable: true, set });
      const list = binding.devices();
      delete Array.prototype[0];
      binding.cuda.streamPassed(nativeStream(stream)).catch((error) => {
        for (const [prototype, names] of setters) for (const name of names) delete prototype[name];
        const { code, driverError } = error;
        process.stdout.write([list.length, typeof list[0].totalMemory, code, driverError].join(' '));
      });
    `;
    const { stdout, end } = await runProgram(text, {
      RMSNORM_LIBCUDA: simulator,
      CUDASIM_PATIENCE_US: '20000', // nothing fails before the promise is made
    });
    expect(stdout).toBe('1 number ERR_CUDA_LAUNCH_FAILED CUDA_ERROR_LAUNCH_FAILED');
    expect(end).toBe(0);
  });
});
