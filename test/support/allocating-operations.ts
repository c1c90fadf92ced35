// The package's operations, one at a time, for allocation-failures.test.ts. Each returns the
// elements that it computed.

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

import * as lib from '../../lib';
import { addon } from './processes';

const { DeviceBuffer, HostBuffer, Stream, CudaEvent, Graph, RMSNorm, createPlan, rmsNorm } = lib;

type Elements = ArrayLike<number>;

/** Does its work. Objects passed to `own` are disposed at the end, even if the work fails. */
export type Operation = (own: Own) => Results | Promise<Results>;
type Own = <T extends { dispose(): void }>(object: T) => T;
type Results = readonly (Elements | string)[];

const values = (length: number, step: number) =>
  Float32Array.from({ length }, (_, i) => Math.sin(i * step + 1));

const hiddenSize = 96;
const rows = 5;
const [x, dy, residual] = [
  values(rows * hiddenSize, 1),
  values(rows * hiddenSize, 2),
  values(rows * hiddenSize, 3),
];
const weight = values(hiddenSize, 4);
const { rstd } = rmsNorm.forward(x, weight);

// Large enough for several threads.
const big = {
  hiddenSize: 1024,
  x: values(1 << 19, 5),
  dy: values(1 << 19, 6),
  weight: values(1024, 7),
};

const empty = (length = x.length) => new Float32Array(length);
const tensor = (data: Float32Array) => ({
  data,
  dims: [rows - 1, hiddenSize],
  strides: [hiddenSize, 1],
  offset: hiddenSize,
});

/** The code of the error that a call throws. */
function codeOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === undefined || code === 'ERR_MEMORY_ALLOCATION_FAILED') throw error;
    return code;
  }
  return 'none';
}

/** Runs a program over the native addon in a worker, and returns what the worker posts. */
async function postedBy(program: string): Promise<Results> {
  const worker = new Worker(
    `const { parentPort } = require('node:worker_threads');
     const run = async () => {
       const binding = require(${JSON.stringify(addon)});
       const { nativeCalls } = require(${JSON.stringify(require.resolve('./native-calls.js'))});
       const calls = nativeCalls(binding);
       ${program}
     };
     const fail = ({ code, stack }) => ({ code, stack });
     run().catch(fail).then((message) => parentPort.postMessage(message));`,
    { eval: true, execArgv: [] },
  );
  const exit = once(worker, 'exit');
  const [posted] = (await once(worker, 'message')) as [Results | { code: string; stack: string }];
  await exit;
  if (!('stack' in posted)) return posted;
  throw Object.assign(new Error(posted.stack), { code: posted.code });
}

/** x on a GPU, with a stream. */
function onDevice(own: Own) {
  const stream = own(new Stream());
  return {
    stream,
    buffer: own(DeviceBuffer.from(x, { stream })),
    w: own(DeviceBuffer.from(weight, { stream })),
  };
}

const onCpu: Record<string, Operation> = {
  forward: () => [rmsNorm(x, weight)],
  'forward into arrays': () => {
    const [out, rstdOut] = [empty(), empty(rows)];
    rmsNorm.forward(x, weight, { out, rstdOut });
    return [out, rstdOut];
  },
  'forward of tensors': () => {
    const sumOut = empty();
    const result = rmsNorm.forward(tensor(x), weight, {
      residual: tensor(residual),
      castOrder: 'float',
      sumOut: tensor(sumOut),
    });
    return [result.y.data, result.rstd, sumOut];
  },
  'quantised and gated forward, asynchronous': async () => {
    const options = { gate: residual, quantize: 'int8' } as const;
    const { y, scale, rstd } = await rmsNorm.forwardAsync(x, weight, options);
    return [y, scale, rstd];
  },
  'backward with a gate': () => {
    const options = { gate: residual, gateOrder: 'before-norm' } as const;
    const { dx, dweight, dgate } = rmsNorm.backward(dy, x, weight, null, options);
    return [dx, dweight, dgate];
  },
  'forward on several threads': () => {
    lib.setNumThreads(3);
    const result = rmsNorm(big.x, big.weight);
    lib.setNumThreads(1);
    return [result];
  },
  backward: () => {
    const { dx, dweight } = rmsNorm.backward(dy, x, weight, rstd);
    return [dx, dweight];
  },
  'backward into arrays': () => {
    const [dxOut, dweightOut] = [empty(), weight.slice()];
    rmsNorm.backward(dy, x, weight, null, { dxOut, dweightOut, accumulate: true });
    return [dxOut, dweightOut];
  },
  'backward of tensors': () => {
    const { dx, dweight } = rmsNorm.backward(tensor(dy), tensor(x), weight, null, {
      dsum: tensor(residual),
    });
    return [dx.data, dweight];
  },
  'backward on several threads': () => {
    lib.setNumThreads(3);
    const { dx, dweight } = rmsNorm.backward(big.dy, big.x, big.weight, null);
    lib.setNumThreads(1);
    return [dx, dweight];
  },
  'forward of float64': () => [rmsNorm(Float64Array.from(x), Float64Array.from(weight))],
  'forward, asynchronous': async () => {
    const result = await rmsNorm.forwardAsync(x, weight, { residual });
    return [result.y, result.rstd, result.sum];
  },
  'several calls, asynchronous': async () => {
    const calls = Array.from({ length: 5 }, () => rmsNorm.async(x, weight));
    const settled = await Promise.allSettled(calls);
    return settled.map((result) => {
      if (result.status === 'rejected') throw result.reason;
      return result.value;
    });
  },
  'backward, asynchronous': async () => {
    const { dx, dweight } = await rmsNorm.backwardAsync(dy, x, weight, rstd);
    return [dx, dweight];
  },
  'asynchronous on several threads': async () => {
    lib.setNumThreads(3);
    const result = await rmsNorm.async(big.x, big.weight);
    lib.setNumThreads(1);
    return [result];
  },
  'a plan': () => {
    const plan = createPlan({ rows, weight });
    const [out, dx, dweight] = [empty(), empty(), empty(hiddenSize)];
    plan.forward(x, out);
    plan.backward(dy, x, null, dx, dweight);
    return [out, dx, dweight];
  },
  'a module': () => {
    const norm = new RMSNorm(hiddenSize);
    const { y, backward } = norm.vjp(x);
    return [norm.forward(x), y, backward(dy), norm.weightGrad ?? ''];
  },
  conversions: () => {
    const [bfloat16, float16] = [lib.toBFloat16(x), lib.toFloat16(x)];
    return [bfloat16, float16, lib.fromBFloat16(bfloat16), lib.fromFloat16(float16)];
  },
  settings: () => {
    lib.setCpuVariant('scalar');
    const name = lib.getCpuVariant();
    lib.setCpuVariant(lib.cpuVariants()[0] as string);
    lib.setNumThreads(2);
    const threads = lib.getNumThreads();
    lib.setNumThreads(1);
    return [name, [threads]];
  },
  'a worker': () =>
    postedBy(`
      const y = new Float32Array(64);
      const settings = { hiddenSize: 64, eps: 0 };
      calls.forward({ x: new Float32Array(64).fill(1), out: y }, settings);
      await calls.forwardAsync({ x: new Float32Array(64), out: true }, settings);
      return [y];
    `),
  errors: () => [
    codeOf(() => rmsNorm(x, empty(7))),
    codeOf(() => rmsNorm.forward(x, weight, { out: x.subarray(1) as never })),
    codeOf(() => {
      lib.setCpuVariant('a processor of which nobody has heard');
    }),
    codeOf(() => rmsNorm.forward(x, weight, { out: x, sumOut: x, residual })),
  ],
};

const onGpu: Record<string, Operation> = {
  'a worker with a GPU': () =>
    postedBy(`
      const { cuda } = binding;
      const stream = cuda.createStream(0);
      const buffer = cuda.createDeviceBuffer(0, 8, 0);
      cuda.createHostBuffer(0, 32);
      cuda.deviceBufferFill(buffer, 3, stream);
      await cuda.streamPassed(stream);
      const y = new Float32Array(8);
      cuda.deviceBufferRead(buffer, y, 0, stream);
      cuda.deviceBufferFill(buffer, 5, stream);
      return [y];
    `),
  devices: () => [
    lib
      .devices()
      .map(({ name }) => name)
      .join(),
  ],
  'host arrays through a GPU': () => {
    const forward = rmsNorm.forward(x, weight, { device: 'cuda' });
    const { dx, dweight } = rmsNorm.backward(dy, x, weight, rstd, { device: 'cuda' });
    return [forward.y, forward.rstd, dx, dweight];
  },
  'tensors through a GPU': () => {
    const { y, sum } = rmsNorm.forward(tensor(x), weight, {
      residual: tensor(residual),
      device: 'cuda',
    });
    return [y.data, sum.data];
  },
  'host arrays through a GPU, asynchronous': async () => {
    const forward = await rmsNorm.forwardAsync(x, weight, { device: 'cuda' });
    const { dx, dweight } = await rmsNorm.backwardAsync(dy, x, weight, null, { device: 'cuda' });
    return [forward.y, forward.rstd, dx, dweight];
  },
  DeviceBuffer: (own) => {
    const [buffer, other] = [own(DeviceBuffer.from(x)), own(new DeviceBuffer(x.length, 'float32'))];
    other.copyFrom(buffer);
    const view = own(other.subarray(10, 20));
    view.fill(3);
    own(DeviceBuffer.fromPointer(other.pointer, 10, 'float32'));
    other.copyFrom(x.subarray(0, x.length));
    const target = empty();
    other.copyTo(target);
    return [buffer.toHost(), view.toHost(), target];
  },
  'DeviceBuffer of another dtype': (own) => {
    const buffer = own(DeviceBuffer.from(x, { dtype: 'bfloat16' }));
    return [buffer.toHost()];
  },
  'DeviceBuffer, asynchronous': async (own) => {
    const buffer = own(new DeviceBuffer(x.length, 'float32'));
    await buffer.copyFromAsync(x);
    const target = empty();
    await buffer.copyToAsync(target);
    return [target, await buffer.toHostAsync()];
  },
  'DeviceBuffer, disposed in flight': (own) => {
    const { stream, buffer } = onDevice(own);
    buffer.fill(2, { stream });
    buffer.dispose();
    const second = own(new DeviceBuffer(x.length, 'float32'));
    second.fill(4, { stream });
    return [second.toHost({ stream })];
  },
  HostBuffer: (own) => {
    const { stream, buffer } = onDevice(own);
    const [host, other] = [
      own(new HostBuffer(x.length, 'float32')),
      own(new HostBuffer(0, 'bfloat16')),
    ];
    buffer.copyTo(host, { stream });
    stream.synchronize();
    return [host.array.slice(), other.array];
  },
  Stream: async (own) => {
    const [one, two] = [own(new Stream()), own(Stream.fromPointer(own(new Stream()).pointer))];
    const buffer = own(DeviceBuffer.from(x, { stream: one }));
    await one.synchronizeAsync();
    buffer.fill(1, { stream: two });
    await two.synchronizeAsync();
    two.synchronize();
    return [
      [Number(one.query()), Number(two.query())],
      buffer.toHost({ stream: Stream.default() }),
    ];
  },
  CudaEvent: async (own) => {
    const { stream, buffer } = onDevice(own);
    const other = own(new Stream());
    const [begin, end] = [own(new CudaEvent()), own(new CudaEvent())];
    begin.record(stream);
    other.wait(begin);
    buffer.fill(2, { stream: other });
    end.record(other);
    await end.synchronizeAsync();
    end.synchronize();
    return [
      [Number(end.query()), Number(begin.elapsed(end) >= 0)],
      buffer.toHost({ stream: other }),
    ];
  },
  Graph: (own) => {
    const { stream, buffer, w } = onDevice(own);
    const out = own(new DeviceBuffer(x.length, 'float32'));
    const graph = own(
      Graph.capture(stream, () => {
        own(buffer.subarray(0, 3)).fill(1, { stream });
        rmsNorm(buffer, w, { out, stream });
      }),
    );
    graph.launch(stream);
    graph.launch(stream);
    return [out.toHost({ stream })];
  },
  'forward and backward on a GPU': async (own) => {
    const { stream, buffer, w } = onDevice(own);
    const gradient = own(DeviceBuffer.from(dy, { stream }));
    const forward = rmsNorm.forward(buffer, w, { stream });
    const backward = rmsNorm.backward(gradient, buffer, w, forward.rstd, { stream });
    const results = [forward.y, forward.rstd, backward.dx, backward.dweight].map(own);
    const settled = await Promise.allSettled(
      results.map((result) => result.toHostAsync({ stream })),
    );
    return settled.map((result) => {
      if (result.status === 'rejected') throw result.reason;
      return result.value;
    });
  },
  'a plan on a GPU': (own) => {
    const { stream, buffer, w } = onDevice(own);
    const plan = createPlan({ rows, weight: w, stream });
    const out = own(new DeviceBuffer(x.length, 'float32'));
    plan.forward(buffer, out);
    plan.forward(buffer, out);
    return [out.toHost({ stream })];
  },
  'errors of a GPU': (own) => {
    const { buffer } = onDevice(own);
    return [
      codeOf(() => new DeviceBuffer(2 ** 45, 'float32')),
      codeOf(() => {
        buffer.copyFrom(empty(3));
      }),
      codeOf(() => DeviceBuffer.fromPointer(8n, 4, 'float32')),
      codeOf(() => rmsNorm(buffer, weight as never)),
    ];
  },
};

/** Operations that need no GPU, and operations that need one. */
export const operations = { onCpu, onGpu };
