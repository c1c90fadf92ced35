// Other code in the process may flush subnormals or change the rounding mode; onnxruntime does on
// request. Each test has its own processes, since a thread has a mode and new threads inherit it.

import path from 'node:path';

import { devices } from '../../lib';
import type { FloatingPointMode } from '../support/native-support';
import { printedBy } from '../support/processes';

const hasGpu = devices().length > 0;

/**
 * `results()` makes every call, on values whose results are subnormal or must be rounded, and returns
 * a hash of each. `inMode` runs a function in a mode. Its second value is true if the thread still has
 * the mode afterwards.
 */
const prelude = `
  const support = require(${JSON.stringify(path.join(__dirname, '../support/native-support'))});
  const { createHash } = require('node:crypto');
  const { rmsNorm, createPlan, RMSNorm, DeviceBuffer, Stream } = lib;
  const [rows, hiddenSize] = [130, 1031];
  const make = (length, scale) =>
    new Float32Array(length).map((_, i) => Math.sin(1 + i) * scale * (1 + (i % 7)));
  const [x, dy] = [make(rows * hiddenSize, 1e-3), make(rows * hiddenSize, 3e-37)];
  const weight = make(hiddenSize, 1e-37);
  const tiny = make(rows * hiddenSize, 1e-39);
  const bits = (array) => lib.toBFloat16(array);
  const halves = (array) => lib.toFloat16(array);
  const ordinary = make(hiddenSize, 1);
  const [x16, weight16] = [bits(x), bits(weight)];
  const [xHalf, weightHalf] = [halves(x), halves(make(hiddenSize, 1e-7))];
  const x64 = Float64Array.from(x, (value) => value * 1e-300);
  const row = x.subarray(0, hiddenSize);
  const long = make(1 << 17, 1);
  const plan = createPlan({ rows, weight });
  const out = new Float32Array(x.length);
  const calls = {
    forward: () => [rmsNorm(x, weight, { eps: 0.1 })],
    row: () => [rmsNorm(row, weight, { eps: 0.3 })],
    tiny: () => [rmsNorm(tiny, ordinary, { eps: 0 })],
    residual: () => Object.values(rmsNorm.forward(x, weight, { residual: tiny, weightOffset: 0.1 })),
    backward: () => Object.values(rmsNorm.backward(dy, x, ordinary)),
    bfloat16: () => [rmsNorm(x16, weight16, { dtype: 'bfloat16', castOrder: 'float' })],
    float16: () => [rmsNorm(xHalf, weightHalf, { dtype: 'float16' })],
    float64: () => Object.values(rmsNorm.backward(x64, x64, x64.subarray(0, hiddenSize))),
    long: () => Object.values(rmsNorm.backward(long, long, long)),
    convert: () => [lib.toFloat16(tiny), lib.toBFloat16(dy), lib.fromFloat16(xHalf)],
    plan: () => (plan.forward(x, out), [out]),
    async: async () => Object.values(await rmsNorm.backwardAsync(dy, x, ordinary)),
  };
  const onGpu = {
    arrays: () => [rmsNorm(x, weight, { device: 'cuda', eps: 0.1 })],
    backward: () => Object.values(rmsNorm.backward(dy, x, ordinary, null, { device: 'cuda' })),
    buffers: () => {
      const y = rmsNorm(DeviceBuffer.from(x), DeviceBuffer.from(weight), { eps: 0.1 });
      return [y.toHost()];
    },
    fill: () => ['float32', 'float16', 'bfloat16'].map((dtype) => {
      const buffer = new DeviceBuffer(3, dtype);
      buffer.fill(0.1);
      return buffer.toHost();
    }),
  };
  const hash = (arrays) => arrays.filter((array) => array !== null).reduce(
    (hash, { buffer, byteOffset, byteLength }) =>
      hash.update(Buffer.from(buffer, byteOffset, byteLength)),
    createHash('sha256'),
  ).digest('hex').slice(0, 16);
  const inMode = async (mode, call) => {
    support.setFloatingPointMode(mode);
    const before = JSON.stringify(support.getFloatingPointMode());
    const pending = call();
    const after = JSON.stringify(support.getFloatingPointMode());
    support.setFloatingPointMode({});
    return [hash(await pending), before === after];
  };
  const results = async (calls, mode) => {
    const all = {};
    for (const [name, call] of Object.entries(calls)) all[name] = await inMode(mode, call);
    return all;
  };
`;

/** The hashes of calls in each of the modes, in one process. */
async function hashesIn(
  calls: 'calls' | 'onGpu',
  modes: readonly Partial<FloatingPointMode>[],
  env: Record<string, string | undefined>,
): Promise<unknown[]> {
  const program = `(async () => {
    for (const mode of ${JSON.stringify(modes)}) print(await results(${calls}, mode));
  })();`;
  return printedBy(prelude + program, { RMSNORM_NUM_THREADS: '2', ...env });
}

const modes: Partial<FloatingPointMode>[] = [
  { flushToZero: true, denormalsAreZero: true },
  { flushToZero: true },
  { denormalsAreZero: true },
  { rounding: 'down' },
  { rounding: 'up' },
  { rounding: 'zero' },
];

test.each(['scalar', undefined])(
  'variant %s gives the same bits in every mode of the caller, and leaves the mode as it was',
  async (variant) => {
    const env = { RMSNORM_CPU_VARIANT: variant };
    const [[expected], first, others] = await Promise.all([
      hashesIn('calls', [{}], { ...env, RMSNORM_NUM_THREADS: '1' }),
      // Threads start in the first mode of the list.
      hashesIn('calls', modes, env),
      hashesIn('calls', modes.toReversed(), env),
    ]);
    expect(first).toEqual(modes.map(() => expected));
    expect(others).toEqual(modes.map(() => expected));
  },
);

// A GPU rounds on its own, but the host rounds eps, 1 / hiddenSize and the value of a fill.
(hasGpu ? test : test.skip)('a GPU gives the same bits in every mode of the caller', async () => {
  const [[expected], actual] = await Promise.all([
    hashesIn('onGpu', [{}], {}),
    hashesIn('onGpu', modes, {}),
  ]);
  expect(actual).toEqual(modes.map(() => expected));
});
