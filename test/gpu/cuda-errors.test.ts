// Failures of a GPU, injected on a simulated one: the error names the failure, nothing leaks, and
// later calls work.

import { hasSimulator, printedBy, runProgram, simulator } from '../support/processes';

jest.setTimeout(120_000); // processes take long to start on a busy machine

const onSimulator = hasSimulator ? describe : describe.skip;

const environment = { RMSNORM_LIBCUDA: simulator, RMSNORM_CUDA_CHUNK_BYTES: '3000' };

/**
 * Calls forward and backward on the GPU until three attempts in a row succeed. Collects the outcome
 * of each attempt: 'ok', 'other bits' if the bits are not the CPU's, or the error. 70 rows are at
 * least 5 chunks.
 */
const persist = `
  const values = (length, step) => Float32Array.from({ length }, (_, i) => Math.sin(i * step));
  const [x, dy, weight] = [values(2100, 0.1), values(2100, 0.7), values(30, 3)];
  const same = (a, b) => Buffer.from(a.buffer).equals(Buffer.from(b.buffer));
  const both = (device) => {
    const { y, rstd } = lib.rmsNorm.forward(x, weight, { device });
    const { dx, dweight } = lib.rmsNorm.backward(dy, x, weight, rstd, { device });
    return [y, rstd, dx, dweight];
  };
  const expected = both('cpu');
  const attempt = () => {
    try {
      return both('cuda').every((array, i) => same(array, expected[i])) ? 'ok' : 'other bits';
    } catch (error) {
      const { code, message, driverError, driverMessage } = error;
      if (!(error instanceof lib.CudaError)) return String(error);
      return { code, message, driverError, driverMessage };
    }
  };
  const outcomes = [];
  while (outcomes.length < 30 && outcomes.slice(-3).join() !== 'ok,ok,ok') outcomes.push(attempt());
  if (!both('cpu').every((array, i) => same(array, expected[i]))) outcomes.push('the CPU');
`;

interface Failure {
  readonly code: string;
  readonly message: string;
  readonly driverError: string | null;
  readonly driverMessage: string | null;
}

/**
 * The outcomes of `persist`. The process must end with code 0, and the simulator must report
 * nothing on stderr.
 */
async function outcomesOf(variables: Record<string, string>): Promise<('ok' | Failure)[]> {
  const { end, stdout, stderr } = await runProgram(
    `${persist} process.stdout.write(JSON.stringify(outcomes));`,
    { ...environment, ...variables },
  );
  expect(stderr).toBe('');
  expect(end).toBe(0);
  return JSON.parse(stdout) as ('ok' | Failure)[];
}

const allWell = ['ok', 'ok', 'ok'];

onSimulator('on a simulated GPU', () => {
  test('every attempt succeeds without injected failures', async () => {
    expect(await outcomesOf({})).toEqual(allWell);
  });

  test.each([
    'cuMemAlloc_v2',
    'cuMemHostAlloc',
    'cuStreamCreate',
    'cuEventCreate',
    'cuMemcpyHtoDAsync_v2',
    'cuMemcpyDtoHAsync_v2',
    'cuEventRecord',
    'cuStreamWaitEvent',
    'cuStreamSynchronize',
    'cuLaunchKernel',
    'cuFuncGetAttribute',
    'cuFuncSetAttribute',
    'cuCtxSetCurrent',
  ])('failures of %s are reported, and later calls work', async (name) => {
    const counts = [1, 2, 5, 11, 17];
    const failures = counts.map((count) => `${name}@${count}:CUDA_ERROR_OUT_OF_MEMORY`);
    const outcomes = await outcomesOf({ CUDASIM_FAIL: failures.join() });
    const errors = outcomes.filter((outcome) => outcome !== 'ok');
    expect(errors.length).toBeGreaterThanOrEqual(2);
    for (const error of errors) {
      expect(error).toEqual({
        code: 'ERR_CUDA_OUT_OF_MEMORY',
        message: `${name} failed: CUDA_ERROR_OUT_OF_MEMORY (out of memory)`,
        driverError: 'CUDA_ERROR_OUT_OF_MEMORY',
        driverMessage: 'out of memory',
      });
    }
    expect(outcomes.slice(-3)).toEqual(allWell);
  });

  test('a lack of device memory is reported', async () => {
    const outcomes = await outcomesOf({ CUDASIM_MEMORY: '6000' });
    expect(outcomes).toHaveLength(30);
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ code: 'ERR_CUDA_OUT_OF_MEMORY' });
    }
  });

  test('calls work after a failure to retain the context', async () => {
    const fail = 'cuDevicePrimaryCtxRetain@1:CUDA_ERROR_OUT_OF_MEMORY';
    const [first, ...others] = await outcomesOf({ CUDASIM_FAIL: fail });
    expect(first).toMatchObject({ code: 'ERR_CUDA_OUT_OF_MEMORY' });
    expect(others).toEqual(allWell);
  });

  // A simulated driver runs no machine code, so the second of two loads is of PTX.
  test.each([
    ['CUDA_ERROR_INVALID_IMAGE', [1, 3]],
    ['CUDA_ERROR_NO_BINARY_FOR_GPU', [2, 4]],
    ['CUDA_ERROR_OUT_OF_MEMORY', [1, 2]],
  ])('kernels that fail to load with %s are reported', async (name, calls) => {
    const fail = calls.map((call) => `cuModuleLoadData@${call}:${name}`).join();
    const [first, second, ...others] = await outcomesOf({ CUDASIM_FAIL: fail });
    for (const outcome of [first, second]) {
      expect(outcome).toMatchObject({ code: name.replace('CUDA_ERROR', 'ERR_CUDA') });
      const { message } = outcome as Failure;
      expect(message).toContain("cannot be loaded on 'cuda:0' (cudasim");
      expect(message).toContain('compute capability 9.0): cuModuleLoadData failed: ' + name);
    }
    expect(others).toEqual(allWell);
  });

  test('a kernel that is missing from its module is reported', async () => {
    const fail = 'cuModuleGetFunction@1:CUDA_ERROR_NOT_FOUND';
    const [first, ...others] = await outcomesOf({ CUDASIM_FAIL: fail });
    expect(first).toMatchObject({
      code: 'ERR_CUDA_NOT_FOUND',
      message: expect.stringMatching(
        /^cuModuleGetFunction of \w+ failed: CUDA_ERROR_NOT_FOUND \(named symbol not found\)$/,
      ) as unknown,
    });
    expect(others).toEqual(allWell);
  });

  test.each([
    ...['ILLEGAL_ADDRESS', 'MISALIGNED_ADDRESS', 'LAUNCH_FAILED', 'TENSOR_MEMORY_LEAK'],
    ...['ECC_UNCORRECTABLE', 'NVLINK_UNCORRECTABLE', 'CONTAINED', 'MPS_CLIENT_TERMINATED'],
    'EXTERNAL_DEVICE',
  ])('an error after the fault %s mentions that fault', async (fault) => {
    const fail = [
      `cuLaunchKernel@1:CUDA_ERROR_${fault}`,
      'cuLaunchKernel@2:CUDA_ERROR_LAUNCH_FAILED',
      'cuLaunchKernel@3:CUDA_ERROR_OUT_OF_MEMORY',
    ];
    const outcomes = await outcomesOf({ CUDASIM_FAIL: fail.join() });
    const messages = outcomes.slice(0, 3).map((outcome) => (outcome as Failure).message);
    expect(outcomes[0]).toMatchObject({ code: `ERR_CUDA_${fault}` });
    expect(messages[0]).not.toContain('earlier');
    expect(outcomes[1]).toMatchObject({ code: 'ERR_CUDA_LAUNCH_FAILED' });
    expect(messages[1]).toContain(
      `. An earlier call on 'cuda:0' failed with CUDA_ERROR_${fault}; since then`,
    );
    expect(messages[2]).not.toContain('earlier');
    expect(outcomes.slice(3)).toEqual(allWell);
  });

  test.each([
    ['no device', { CUDASIM_DEVICES: '0' }, 'no CUDA device was found'],
    [
      'an old driver',
      { CUDASIM_DRIVER_VERSION: '10020' },
      'the driver supports CUDA 10.2; CUDA 11.0 or newer is required (driver 450 or newer)',
    ],
  ])('CUDA is reported unavailable: %s', async (_, variables, reason) => {
    const message = `CUDA is not available: ${reason}`;
    const outcomes = await outcomesOf(variables);
    expect(outcomes).toHaveLength(30);
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ code: 'ERR_CUDA_UNAVAILABLE', message });
    }
    const printedValues = await printedBy('print(lib.devices().reason);', {
      ...environment,
      ...variables,
    });
    expect(printedValues).toEqual([message]);
  });

  test.each([
    ['cuDriverGetVersion', true],
    ['cuInit', true],
    ['cuDeviceGetCount', true],
    ['cuDeviceGet', false],
    ['cuDeviceGetName', false],
    ['cuDeviceTotalMem_v2', false],
    ['cuDeviceGetAttribute', false],
  ])('the next call looks for devices again after a failure of %s', async (name, isUnavailable) => {
    const fail = { CUDASIM_FAIL: `${name}@1:CUDA_ERROR_OUT_OF_MEMORY` };
    const [first, ...others] = await outcomesOf(fail);
    const failed = `${name} failed: CUDA_ERROR_OUT_OF_MEMORY (out of memory)`;
    expect(first).toMatchObject(
      isUnavailable
        ? { code: 'ERR_CUDA_UNAVAILABLE', message: `CUDA is not available: ${failed}` }
        : { code: 'ERR_CUDA_OUT_OF_MEMORY', message: failed },
    );
    expect(others).toEqual(allWell);
    const program = `
      const lists = [1, 2, 3].map(() => lib.devices());
      for (const { length, reason } of lists) print([length, reason]);
      print(lists[1] === lists[2]);
      try { new lib.Stream(); print('ok'); } catch ({ code }) { print(code); }
    `;
    const printedValues = await printedBy(program, { ...environment, ...fail });
    const reason = expect.stringContaining(failed) as unknown;
    expect(printedValues).toEqual([[0, reason], [1, null], [1, null], true, 'ok']);
  });
});
