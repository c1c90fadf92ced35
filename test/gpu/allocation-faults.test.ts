// GPU memory and page-locked memory while single calls of cuCtxGetCurrent fail, so that a thread
// cannot use the device. Memory that cannot be freed at once is freed later, and not too early.

import { hasSimulator, runProgram, simulator } from '../support/processes';

jest.setTimeout(120_000); // processes take long to start on a busy machine

const onSimulator = hasSimulator ? describe : describe.skip;

const program = `
  const { DeviceBuffer, HostBuffer, Stream } = lib;
  const codes = new Set();
  const attempt = () => {
    const owned = [];
    const own = (object) => {
      owned.push(object);
      return object;
    };
    try {
      const stream = own(new Stream());
      const x = own(new DeviceBuffer(1000, 'float32'));
      const host = own(new HostBuffer(1000, 'float32'));
      x.fill(3, { stream });
      x.copyTo(host, { stream });
      stream.synchronize();
      codes.add(host.array[999] === 3 ? 'ok' : 'other elements');
      x.fill(5, { stream });
      x.copyTo(host, { stream });
    } catch ({ code }) {
      codes.add(code);
    } finally {
      for (const object of owned) object.dispose();
    }
  };
  (async () => {
    for (let i = 0; i < 60; ++i) {
      attempt();
      if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    process.stdout.write(JSON.stringify([...codes].sort()));
  })();
`;

/** Failures of every `step`-th call of cuCtxGetCurrent, beginning with call number `first`. */
const failures = (first: number, step: number) =>
  Array.from({ length: 600 }, (_, i) => `cuCtxGetCurrent@${first + i * step}:CUDA_ERROR_UNKNOWN`);

onSimulator('on a simulated GPU', () => {
  test.each([
    [3, 5],
    [5, 11],
    [6, 13],
    [7, 17],
    [10, 37],
    [20, 2],
  ])('memory is freed in time if, from call %d on, every %d-th fails', async (first, step) => {
    for (const patience of ['200', 'never']) {
      const { end, stdout, stderr } = await runProgram(program, {
        RMSNORM_LIBCUDA: simulator,
        CUDASIM_FAIL: failures(first, step).join(),
        CUDASIM_PATIENCE_US: patience,
      });
      expect(stderr).not.toMatch(/allocation|memory|freed|invalid/);
      expect(end).toBe(0);
      expect(['ok', 'ERR_CUDA_UNKNOWN']).toEqual(
        expect.arrayContaining(JSON.parse(stdout) as string[]),
      );
    }
  });
});
