// Driver calls of steady loops, counted by a simulated driver that executes nothing. A loop calls
// only what its work needs. It acquires everything else in its first iterations.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { hasSimulator, runProgram, simulator } from '../support/processes';

jest.setTimeout(120_000); // processes take long to start on a busy machine

const onSimulator = hasSimulator ? describe : describe.skip;

type Counts = Readonly<Record<string, number>>;

/** How often a program of `turns` iterations calls each function of the driver. */
async function callsOf(program: string, turns: number): Promise<Counts> {
  const folder = mkdtempSync(path.join(tmpdir(), 'rmsnorm-calls-'));
  try {
    const file = path.join(folder, 'calls.json');
    const { end, stderr } = await runProgram(`const turns = ${turns}; ${program}`, {
      RMSNORM_LIBCUDA: simulator,
      CUDASIM_EXECUTE: '0',
      CUDASIM_CALLS: file,
    });
    expect(stderr).toBe('');
    expect(end).toBe(0);
    return JSON.parse(readFileSync(file, 'utf8')) as Counts;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Functions that make a context current, and functions that a process calls a varying number of times
 * when it ends.
 */
const uncounted = new Set([
  ...['cuCtxGetCurrent', 'cuCtxSetCurrent'],
  ...['cuEventSynchronize', 'cuStreamSynchronize', 'cuThreadExchangeStreamCaptureMode'],
]);

/** The driver calls that 100 more iterations make, without the functions of `uncounted`. */
async function callsOf100(loop: string): Promise<Counts> {
  const program = `
    const { CudaEvent, createPlan, DeviceBuffer, rmsNorm, Stream } = lib;
    const stream = new Stream();
    const ones = (length) => {
      const buffer = DeviceBuffer.from(new Float32Array(length).fill(1), { stream });
      stream.synchronize();
      return buffer;
    };
    const [x, dy, weight] = [ones(8 * 256), ones(8 * 256), ones(256)];
    (async () => {
      ${loop}
      stream.synchronize();
    })();
  `;
  const few = await callsOf(program, 50);
  const many = await callsOf(program, 150);
  const more = Object.entries(many).map(([name, count]) => [name, count - (few[name] ?? 0)]);
  return Object.fromEntries(
    more.filter(([name, count]) => count !== 0 && !uncounted.has(name as string)),
  ) as Counts;
}

onSimulator('a steady loop', () => {
  test.each([
    ['without an output', 'const next = rmsNorm(x, weight, { stream });'],
    [
      'with the results of a training step',
      `const { y: next, rstd } = rmsNorm.forward(x, weight, { stream });
       const { dx, dweight } = rmsNorm.backward(dy, x, weight, rstd, { stream });
       for (const each of [rstd, dx, dweight]) each.dispose();`,
    ],
  ])('of calls %s only launches kernels', async (_, call) => {
    const calls = await callsOf100(`
      let y = null;
      for (let i = 0; i < turns; ++i) {
        ${call}
        y?.dispose();
        y = next;
      }
    `);
    expect(Object.keys(calls)).toEqual(['cuLaunchKernel']);
    expect(calls).toEqual({ cuLaunchKernel: call.includes('backward') ? 300 : 100 });
  });

  test('of a plan only launches kernels', async () => {
    const calls = await callsOf100(`
      const plan = createPlan({ rows: 8, weight, stream });
      for (let i = 0; i < turns; ++i) plan.run(x);
    `);
    expect(calls).toEqual({ cuLaunchKernel: 100 });
  });

  test('on the stream of another library records an event for each released buffer', async () => {
    const calls = await callsOf100(`
      const theirs = Stream.fromPointer(stream.pointer);
      for (let i = 0; i < turns; ++i) rmsNorm(x, weight, { stream: theirs }).dispose();
    `);
    expect(calls).toEqual({
      cuLaunchKernel: 100,
      cuStreamIsCapturing: 200,
      cuEventCreate: 100,
      cuEventRecord: 100,
      cuEventDestroy_v2: 100,
    });
  });

  test.each([
    ['toHostAsync', 'await x.toHostAsync({ stream });', 'cuMemcpyDtoHAsync_v2'],
    [
      'copyToAsync',
      'await x.copyToAsync(new Float32Array(8 * 256), { stream });',
      'cuMemcpyDtoHAsync_v2',
    ],
    [
      'copyFromAsync',
      'await x.copyFromAsync(new Float32Array(8 * 256), { stream });',
      'cuMemcpyHtoDAsync_v2',
    ],
  ])('of %s allocates no page-locked memory and queries nothing', async (_, call, copy) => {
    const calls = await callsOf100(`for (let i = 0; i < turns; ++i) ${call}`);
    const ofPromise = { cuEventRecord: 100, cuStreamWaitEvent: 100, cuStreamAddCallback: 100 };
    expect(calls).toEqual({ [copy]: 100, ...ofPromise });
  });

  test('that waits for an event creates no stream', async () => {
    const calls = await callsOf100(`
      const event = new CudaEvent();
      for (let i = 0; i < turns; ++i) {
        event.record(stream);
        await event.synchronizeAsync();
      }
    `);
    expect(calls).toEqual({ cuEventRecord: 100, cuStreamWaitEvent: 100, cuStreamAddCallback: 100 });
  });
});

onSimulator('a copy of 128 MiB', () => {
  const copies = (method: string) => `
    const { DeviceBuffer, Stream } = lib;
    const stream = new Stream();
    const x = new DeviceBuffer(1 << 25, 'float32');
    const array = new Float32Array(1 << 25);
    (async () => {
      for (let i = 0; i < turns; ++i) await x.${method}(array, { stream });
    })();
  `;

  test.each(['copyFromAsync', 'copyToAsync'])('by %s reuses page-locked blocks', async (method) => {
    const calls = await callsOf(copies(method), 3);
    expect(calls['cuMemHostAlloc']).toBeLessThanOrEqual(32);
    // In the first iteration each chunk may find the oldest block still in use.
    expect(calls['cuEventQuery'] ?? 0).toBeLessThanOrEqual(40);
  });
});

onSimulator('captures', () => {
  test('find all kernels loaded', async () => {
    const program = (launch: string) => `
      const { DeviceBuffer, Graph, rmsNorm, Stream } = lib;
      const stream = new Stream();
      const x = DeviceBuffer.from(new Float32Array(256).fill(1), { stream });
      const weight = DeviceBuffer.from(new Float32Array(256).fill(1), { stream });
      const graph = Graph.capture(stream, () => { ${launch} });
    `;
    const without = await callsOf(program(''), 1);
    const calls = await callsOf(program('rmsNorm(x, weight, { out: x, stream });'), 1);
    for (const name of ['cuModuleLoadData', 'cuModuleGetFunction', 'cuFuncSetAttribute']) {
      expect(without[name]).toBeGreaterThan(0);
      expect(calls[name]).toBe(without[name]);
    }
  });
});

onSimulator('emptyCache()', () => {
  test.each([
    ['', 'true'],
    ['emptyCache();', 'false'],
  ])('frees cached memory: after %j the memory is there: %s', async (call, isThere) => {
    const { stdout, stderr } = await runProgram(
      `
      const { DeviceBuffer, emptyCache, Stream } = lib;
      const stream = new Stream();
      const x = DeviceBuffer.from(new Float32Array(1000), { stream });
      const { pointer } = x;
      stream.synchronize();
      x.dispose();
      ${call}
      let isThere = true;
      try { DeviceBuffer.fromPointer(pointer, 1000, 'float32'); } catch { isThere = false; }
      process.stdout.write(String(isThere));
      `,
      { RMSNORM_LIBCUDA: simulator },
    );
    expect([stdout, stderr]).toEqual([isThere, '']);
  });

  test('does nothing without a GPU', async () => {
    const { end, stderr } = await runProgram('lib.emptyCache();', {
      RMSNORM_LIBCUDA: '/nonsense/libcuda.so.1',
    });
    expect([end, stderr]).toEqual([0, '']);
  });
});
