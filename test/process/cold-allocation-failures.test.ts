// Fails the n-th allocation of the addon in the first call of a process, for every n. A later call must
// then create the objects that a process creates once. Each n has its own process.

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';

import { testAddon } from '../support/native-support';
import { addon, hasSimulator, simulator } from '../support/processes';

jest.setTimeout(240_000); // processes take long to start on a busy machine

const isHere = process.platform === 'linux' && existsSync(testAddon);
const onTestAddon = isHere ? describe : describe.skip;
const onSimulator = isHere && hasSimulator ? describe : describe.skip;

/** First operations of a process, as calls of the native addon. */
const operations = {
  devices: 'if (binding.devices().length !== 1) throw new Error("no device");',
  'the number of threads': 'if (!(binding.numThreads() > 0)) throw new Error("no threads");',
  threads: `
    binding.setNumThreads(3);
    const y = new Float32Array(1 << 19);
    calls.forward({ x: new Float32Array(1 << 19).fill(1), out: y }, { hiddenSize: 1024, eps: 0 });
    if (y.at(-1) !== 1) throw new Error('other elements');
  `,
  'a call': 'await calls.forwardAsync({ x: new Float32Array(64), out: true }, { hiddenSize: 64 });',
  'a call through a GPU': `
    const y = new Float32Array(64);
    const settings = { hiddenSize: 64, eps: 0, device: 0 };
    calls.forward({ x: new Float32Array(64).fill(1), out: y }, settings);
    if (y[3] !== 1) throw new Error('other elements');
  `,
  'an asynchronous call through a GPU':
    'await calls.forwardAsync({ x: new Float32Array(64), out: true }, { hiddenSize: 64, device: 0 });',
  'a DeviceBuffer': 'binding.cuda.createDeviceBuffer(0, 16, 0);',
  'a HostBuffer': 'binding.cuda.createHostBuffer(0, 16);',
  'an empty HostBuffer': 'binding.cuda.dispose(binding.cuda.createHostBuffer(0, 0)[0]);',
  'a promise of a stream': 'await binding.cuda.streamPassed(binding.cuda.createStream(0));',
};

/** How a process ended. `stdout` is the number of allocations, and an error code or 'ok'. */
interface Ending {
  readonly end: unknown;
  readonly stdout: string;
  readonly stderr: string;
}

/** Fails `failures` allocations of an operation, from the n-th on. */
function run(operation: keyof typeof operations, n: number, failures: number): Promise<Ending> {
  const program = `
    const binding = require(${JSON.stringify(addon)});
    const { nativeCalls } = require(${JSON.stringify(require.resolve('../support/native-calls.js'))});
    const calls = nativeCalls(binding);
    const support = require(${JSON.stringify(testAddon)});
    const attempt = async () => { ${operations[operation]} };
    (async () => {
      support.failAllocations(${n}, ${failures});
      const code = await attempt().then(() => 'ok', ({ code, stack }) => code ?? stack);
      const count = support.stopFailingAllocations();
      await attempt();
      process.stdout.write(count + ' ' + code);
    })();
  `;
  const simulated = { RMSNORM_LIBCUDA: simulator, CUDASIM_DEVICES: '1', CUDASIM_CC: '9.0' };
  // The other operations skip the count of processors.
  const threads = operation === 'the number of threads' ? {} : { RMSNORM_NUM_THREADS: '2' };
  const env = { ...process.env, LD_PRELOAD: testAddon, ...simulated, ...threads };
  return new Promise((resolve) => {
    // A process that does not end by itself gets SIGTERM after the timeout.
    execFile(process.execPath, ['-e', program], { env, timeout: 30_000 }, (error, out, err) => {
      const end = error === null ? 0 : (error.signal ?? error.code);
      resolve({ end, stdout: out, stderr: err });
    });
  });
}

async function allocationsOf(operation: keyof typeof operations): Promise<number> {
  const { end, stdout, stderr } = await run(operation, 0, 0);
  expect({ end, stderr }).toEqual({ end: 0, stderr: '' });
  return Number.parseInt(stdout);
}

/**
 * Tries every n except those for which `isLeftOut`. `kinds`: the numbers of failing allocations, one or
 * all from the n-th on.
 */
async function check(
  operation: keyof typeof operations,
  kinds = [1, 1e9],
  isLeftOut: (n: number) => boolean = () => false,
): Promise<void> {
  const count = await allocationsOf(operation);
  expect(count).toBeGreaterThan(0);
  for (const failures of kinds) {
    for (let n = 1; n <= count; ++n) {
      if (isLeftOut(n)) continue;
      const { end, stdout, stderr } = await run(operation, n, failures);
      const [, outcome] = stdout.split(' ');
      const expected = { n, end: 0, stderr: '', outcome: 'ERR_MEMORY_ALLOCATION_FAILED' };
      expect({ n, end, stderr, outcome }).toEqual(
        outcome === 'ok' ? { ...expected, outcome } : expected,
      );
    }
  }
}

onTestAddon('on the CPU', () => {
  test.each(['the number of threads', 'threads', 'a call'] as const)(
    'every failed allocation of %s gives a coded error or none',
    (operation) => check(operation),
  );
});

onSimulator('on a simulated GPU', () => {
  test('every failed allocation of devices gives a coded error or none', () =>
    check('devices', [1]));

  test.each([
    'a call through a GPU',
    'an asynchronous call through a GPU',
    'a DeviceBuffer',
    'a HostBuffer',
    'an empty HostBuffer',
    'a promise of a stream',
  ] as const)('every failed allocation of %s gives a coded error or none', async (operation) => {
    // Leaves out the allocations that `devices` makes as well, except its first ones (for the
    // environment) and its last ones.
    const devices = await allocationsOf('devices');
    await check(operation, [1, 1e9], (n) => n > 8 && n < devices - 5);
  });
});
