// Calls must not slow down the rest of the process. V8 compiles loops over typed arrays without a check
// for detached memory, until the first ArrayBuffer of the process is detached or transferred. From then
// on every such loop of the process takes longer, on Node.js 22 twice as long.
//
// Only these tests measure time. They take a ratio, and one try of five within the limit is enough.
// They are meaningful on Node.js 22 and newer, with which scripts/test-node.sh runs them.

import { devices } from '../../lib';
import { printedBy } from '../support/processes';

jest.setTimeout(300_000);

const hasGpu = devices().length > 0;

const mostTimes = 1.5;
const tries = 5;

/** `time` returns the shortest time of a compiled loop over 65,536 floats, in ms. */
const prelude = `
  const { rmsNorm, createPlan, RMSNorm, DeviceBuffer, HostBuffer, Stream } = lib;
  const [a, b] = [new Float32Array(65536).fill(1), new Float32Array(65536).fill(2)];
  const loop = (scale) => {
    for (let i = 0; i < a.length; ++i) a[i] += scale * b[i];
  };
  const time = () => {
    let least = Infinity;
    for (let i = 0; i < 300; ++i) {
      const start = performance.now();
      loop(1e-9);
      least = Math.min(least, performance.now() - start);
    }
    return least;
  };
  const x = new Float32Array(2 ** 20).fill(0.5);
  const weight = new Float32Array(1024).fill(1);
  const out = new Float32Array(x.length);
  time();
`;

/** The time of the loop after a call, divided by the time before it. */
async function timesAfter(call: string): Promise<number> {
  const program = `(async () => {
    const before = time();
    ${call};
    print(time() / before);
  })();`;
  const [ratio] = await printedBy(prelude + program, {});
  return ratio as number;
}

async function leastTimesAfter(call: string): Promise<number> {
  let least = Infinity;
  for (let i = 0; i < tries && least > mostTimes; ++i) {
    least = Math.min(least, await timesAfter(call));
  }
  return least;
}

test.each([
  ['rmsNorm', 'rmsNorm(x, weight)'],
  ['rmsNorm with out', 'rmsNorm(x, weight, { out })'],
  ['rmsNorm.forward', 'rmsNorm.forward(x, weight, { residual: x })'],
  ['rmsNorm.backward', 'rmsNorm.backward(x, x, weight)'],
  ['rmsNorm.async', 'await rmsNorm.async(x, weight)'],
  ['rmsNorm.backwardAsync', 'await rmsNorm.backwardAsync(x, x, weight)'],
  ['a plan', 'createPlan({ rows: 1024, weight }).forward(x, out)'],
  ['a module', 'const norm = new RMSNorm(1024); norm.vjp(x).backward(norm.forward(x))'],
  ['a conversion', 'lib.fromBFloat16(lib.toBFloat16(x))'],
])('%s does not slow down loops over typed arrays', async (_, call) => {
  expect(await leastTimesAfter(call)).toBeLessThan(mostTimes);
});

(hasGpu ? test : test.skip).each([
  ['a call on a GPU with arrays', "rmsNorm(x.subarray(0, 4096), weight, { device: 'cuda' })"],
  [
    'a call on a GPU with buffers',
    `const buffer = DeviceBuffer.from(x.subarray(0, 4096));
     await rmsNorm(buffer, DeviceBuffer.from(weight)).toHostAsync();
     buffer.dispose()`,
  ],
  ['page-locked memory', "globalThis.kept = new HostBuffer(4096, 'float32')"],
])('%s does not slow down loops over typed arrays', async (_, call) => {
  expect(await leastTimesAfter(call)).toBeLessThan(mostTimes);
});

test('the loop takes longer after a transfer on Node.js 22', async () => {
  let most = 0;
  for (let i = 0; i < tries && most < mostTimes; ++i) {
    const transfer = 'structuredClone(0, { transfer: [new ArrayBuffer(8)] })';
    most = Math.max(most, await timesAfter(transfer));
  }
  expect(most > mostTimes || !process.versions.node.startsWith('22.')).toBe(true);
});
