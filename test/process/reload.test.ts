// The addon can be loaded more than once in a thread: by hot reloaders, which clear the cache of
// `require`, and from copies of the package. Every load must work like the first.

import { copyFileSync, linkSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { addon, hasSimulator, printedBy, simulator } from '../support/processes';

jest.setTimeout(60_000); // processes take long to start on a busy machine

const folder = mkdtempSync(path.join(tmpdir(), 'fused-rmsnorm-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});
const copy = path.join(folder, 'copy.node');
copyFileSync(addon, copy);
const link = path.join(folder, 'link.node');
linkSync(copy, link);
const benchAddon = addon.replace('rmsnorm.node', 'rmsnorm_bench.node');

const prelude = `
  const { nativeCalls } = require(${JSON.stringify(require.resolve('../support/native-calls.js'))});
  const load = (file) => {
    const module = { exports: {} };
    process.dlopen(module, file);
    return module.exports;
  };
  const check = async (binding) => {
    const x = new Float32Array(4000).map((_, i) => Math.sin(i));
    const y = new Float32Array(4000);
    const calls = nativeCalls(binding);
    calls.forward({ x, out: y }, { hiddenSize: 1000 });
    const [, , made] = await calls.forwardAsync({ x, out: true }, { hiddenSize: 1000 });
    return [y, new Float32Array(made)].every(
      (array) => array[7] === y[7] && Number.isFinite(array[7]),
    );
  };
`;

/** Loads these files in turn, and checks that the first still works after the last. */
const loadAll = (files: readonly string[], times: number) => `
  const files = ${JSON.stringify(files)};
  const first = load(files[0]);
  let count = 0;
  for (let i = 0; i < ${times}; ++i) {
    for (const file of files) if (await check(load(file))) ++count;
  }
  print(count);
  print(await check(first));
`;

const printed = (program: string, environment: Record<string, string> = {}) =>
  printedBy(`${prelude} (async () => { ${program} })();`, environment);

test.each([
  ['one file', [addon]],
  ['the file, a copy and a hard link', [addon, copy, link]],
])('the addon works after repeated loads of %s', async (_, files) => {
  expect(await printed(loadAll(files, 20))).toEqual([20 * files.length, true]);
});

test('the package works after its modules were dropped from the cache', async () => {
  const values = await printed(`
    const entry = require.resolve('./lib');
    let right = 0;
    const all = [];
    for (let i = 0; i < 5; ++i) {
      for (const key of Object.keys(require.cache)) delete require.cache[key];
      all.push(require(entry));
      for (const { rmsNorm } of all) {
        const x = new Float32Array(8).fill(3);
        if (rmsNorm(x, x)[0] === rmsNorm(x, x)[7] && (await rmsNorm.async(x, x))[0] === rmsNorm(x, x)[0]) ++right;
      }
    }
    print(right);
  `);
  expect(values).toEqual([15]);
});

test('the addon can be loaded again in a worker that ends with calls in flight', async () => {
  const worker = `${prelude} (async () => { ${loadAll([addon, copy], 3)} })();`;
  const values = await printed(`
    const { Worker } = require('node:worker_threads');
    const { once } = require('node:events');
    const program = \`const print = () => {}; \${${JSON.stringify(worker)}}
      const x = new Float32Array(1 << 20);
      for (const file of ${JSON.stringify([addon, copy])}) {
        for (let i = 0; i < 5; ++i) {
          nativeCalls(load(file)).forwardAsync({ x, out: true }, { hiddenSize: 1024 });
        }
      }
      require('node:worker_threads').parentPort.postMessage('ready');\`;
    for (let i = 0; i < 2; ++i) {
      const one = new Worker(program, { eval: true });
      await once(one, 'message');
      print(await one.terminate());
    }
    ${loadAll([addon], 1)}
  `);
  expect(values).toEqual([1, 1, 1, true]);
});

(hasSimulator ? test : test.skip)('objects of a GPU work after repeated loads', async () => {
  const values = await printed(
    `for (let i = 0; i < 3; ++i) {
       const { cuda } = load(${JSON.stringify(addon)});
       const buffer = cuda.createDeviceBuffer(0, 8, 0);
       cuda.deviceBufferFill(buffer, 3, null);
       const target = new Float32Array(8);
       await cuda.deviceBufferReadAsync(buffer, target, 0, null);
       print(target[7]);
     }`,
    { RMSNORM_LIBCUDA: simulator },
  );
  expect(values).toEqual([3, 3, 3]);
});

test("the benchmark's addon can be loaded twice", async () => {
  const values = await printed(
    `const [a, b] = [load(${JSON.stringify(benchAddon)}), load(${JSON.stringify(benchAddon)})];
     print([typeof a.move, typeof b.move]);`,
  );
  expect(values).toEqual([['function', 'function']]);
});
