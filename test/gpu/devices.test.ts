// devices() and the option `device`, mainly without a GPU: most machines that run the package have
// none.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { devices, RMSNorm, rmsNorm } from '../../lib';
import { binding } from '../../lib/binding';
import { printedBy } from '../support/processes';
import { describeRefusals, floats, value } from '../support/refusals';
import { nativeCalls } from '../support/native-calls';
import { errorOf, rejectionOf } from '../support/support';

jest.setTimeout(60_000); // processes take long to start on a busy machine

const hasDevice = devices().length > 0;

/**
 * Prints the results of devices() and of calls on a device, and a result of the CPU, which must
 * still work.
 */
const tryAll = `
  const x = Float32Array.of(3, 4);
  const options = { normalizedShape: 2, eps: 0, device: 'cuda' };
  const tell = (error) => [error instanceof lib.CudaError, error.name, error.code, error.message];
  const attempt = (call) => { try { return call(); } catch (error) { return tell(error); } };
  const list = lib.devices();
  (async () => {
    print({
      length: list.length,
      reason: list.reason,
      forward: attempt(() => lib.rmsNorm(x, null, options)),
      backward: attempt(() => lib.rmsNorm.backward(x, x, null, null, { ...options, device: 'cuda:7' })),
      module: attempt(() => new lib.RMSNorm(2, { device: 'cuda:0' })),
      async: await lib.rmsNorm.async(x, null, options).catch(tell),
      cpu: [...lib.rmsNorm(x, null, { ...options, device: 'cpu' })].map((y) => y.toFixed(3)),
    });
  })();
`;

const noDriver = (reason: string) => {
  const message = `CUDA is not available: ${reason}`;
  const error = [true, 'CudaError', 'ERR_CUDA_UNAVAILABLE', message];
  return {
    ...{ length: 0, reason: message, cpu: ['0.849', '1.131'] },
    ...{ forward: error, backward: error, module: error, async: error },
  };
};

const folder = mkdtempSync(path.join(tmpdir(), 'rmsnorm-devices-'));
const pipe = path.join(folder, 'pipe');
execFileSync('mkfifo', [pipe]);
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const named = (library: string) => `'${library}', named by RMSNORM_LIBCUDA,`;
const text = path.join(__dirname, '../../package.json');
const libc = process.platform === 'linux' && process.arch === 'x64' ? 'libc.so.6' : 'libc.so';

test.each([
  ['a missing library', '/nonsense/libcuda.so.1', 'No such file or directory'],
  ['a file that is not a library', text, 'file too short|invalid ELF header'],
  ['a folder', __dirname, 'it is not a regular file'],
  ['a pipe', pipe, 'it is not a regular file'],
])('errors give the reason if RMSNORM_LIBCUDA names %s', async (_, library, detail) => {
  const [result] = (await printedBy(tryAll, { RMSNORM_LIBCUDA: library })) as [{ reason: string }];
  const reason = result.reason.replace(/\(.*\)$/, '(…)');
  expect(result.reason).toMatch(new RegExp(`\\(.*(${detail}).*\\)$`));
  expect(reason).toBe(
    `CUDA is not available: the driver's library ${named(library)} cannot be opened (…)`,
  );
  expect(result).toEqual(noDriver(result.reason.replace('CUDA is not available: ', '')));
});

test('errors give the reason if RMSNORM_LIBCUDA names another library', async () => {
  expect(await printedBy(tryAll, { RMSNORM_LIBCUDA: libc })).toEqual([
    noDriver(`the library ${named(libc)} is not a CUDA driver`),
  ]);
});

test('an empty RMSNORM_LIBCUDA means the same as none', async () => {
  const reasons = ['', undefined].map((library) =>
    printedBy('print(lib.devices().reason);', { RMSNORM_LIBCUDA: library }),
  );
  expect(await reasons[0]).toEqual(await reasons[1]);
});

test('the list of devices is always the same object, and cannot be changed', () => {
  const list = devices();
  expect(devices()).toBe(list);
  expect(() => {
    (list as unknown as unknown[]).push('mine');
  }).toThrow('not extensible');
  expect(list.reason === null).toBe(hasDevice);
  for (const [ordinal, device] of list.entries()) {
    expect(device.device).toBe(`cuda:${ordinal}`);
    expect(device.computeCapability).toMatch(/^\d+\.\d+$/);
    expect(device.driverVersion).toMatch(/^\d+\.\d+$/);
    expect(device.totalMemory).toBeGreaterThan(0);
    expect(device.multiprocessors).toBeGreaterThan(0);
  }
});

test("device 'cpu' is the default", () => {
  const [x, options] = [floats(4).fill(2), { normalizedShape: 2 }];
  expect(rmsNorm(x, null, { ...options, device: 'cpu' })).toEqual(rmsNorm(x, null, options));
  expect(new RMSNorm(2).device).toBe('cpu');
});

const known = hasDevice
  ? `one of ${["'cpu'", ...devices().map(({ device }) => `'${device}'`)].join(', ')}`
  : "'cpu', since no GPU is available";
const wrong = [
  ...(["'gpu'", "'CUDA'", "'cuda:'", "'cuda:01x'", "'cuda:-1'", "'cuda:1.5'", "'cpu:0'"] as const),
  ...(["''", '0', 'null', 'true', '[]', '{}'] as const),
];
const rowsOf = (before: readonly unknown[]) =>
  wrong.map((shown) => {
    const device = (shown.startsWith("'") ? shown.slice(1, -1) : JSON.parse(shown)) as unknown;
    return [
      shown,
      [...before, { normalizedShape: 2, device }],
      value,
      'device',
      known,
      shown,
    ] as const;
  });
describeRefusals('as device, rmsNorm refuses', [rmsNorm, rmsNorm.async], rowsOf([floats(4), null]));
describeRefusals(
  'as device, rmsNorm.backward refuses',
  [rmsNorm.backward, rmsNorm.backwardAsync],
  rowsOf([floats(4), floats(4), null, null]),
);

test('a native call refuses a device that does not exist', async () => {
  const calls = nativeCalls(binding);
  const settings = { hiddenSize: 2, device: 1000 };
  const forward = { x: floats(4), out: floats(4) };
  const backward = { dy: floats(4), x: floats(4), dxOut: floats(4) };
  const errors = [
    errorOf(() => {
      calls.forward(forward, settings);
    }),
    errorOf(() => {
      calls.backward(backward, settings);
    }),
    await rejectionOf(calls.forwardAsync(forward, settings)),
    await rejectionOf(calls.backwardAsync(backward, settings)),
  ];
  for (const { code, message } of errors) {
    expect(code).toBe(hasDevice ? 'ERR_INVALID_ARG_VALUE' : 'ERR_CUDA_UNAVAILABLE');
    expect(message).toContain(hasDevice ? "There is no device 'cuda:1000'" : 'not available');
  }
});
