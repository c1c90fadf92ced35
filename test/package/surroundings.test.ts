// Tests the installed package in surroundings that other code has changed.

import { makeApplication, outputOf, removeFolders } from './application';

afterAll(removeFolders);

const pollute = `
Object.prototype.foo = 1;
for (const name of ['eps', 'device', 'out', 'dims', 'strides', 'offset', 'residual', 'code', 'length']) {
  Object.defineProperty(Object.prototype, name, {
    get() { throw new Error('the ' + name + ' of all objects was read'); },
    set(value) { Object.defineProperty(this, name, { __proto__: null, value, writable: true, enumerable: true, configurable: true }); },
    configurable: true,
  });
}
`;

const calls = `
const x = new Float32Array([3, 4]);
const w = new Float32Array([1, 1]);
const results = [
  rmsNorm(x, w, { weightOffset: 0 }),
  rmsNorm.forward({ data: x, dims: [1, 2] }, w).y.data,
  new RMSNorm(2, { castOrder: 'float' }).forward(x),
];
let refusal;
try {
  rmsNorm(x, w, { bar: 1 });
} catch (error) {
  refusal = error.code;
}
process.stdout.write(results.map(([first]) => first.toFixed(4)).join(' ') + ' ' + refusal);
`;
const expected = '0.8485 0.8485 0.8485 ERR_INVALID_ARG_VALUE';

test('require works although other code extends Object.prototype', () => {
  const folder = makeApplication({
    'pollute.cjs': pollute,
    'app.cjs': `const { rmsNorm, RMSNorm } = require('fused-rmsnorm');${calls}`,
  });
  expect(outputOf(folder, process.execPath, ['-r', './pollute.cjs', 'app.cjs'])).toBe(expected);
});

test('import works although other code extends Object.prototype', () => {
  const folder = makeApplication({
    'pollute.cjs': pollute,
    'app.mjs': `import { rmsNorm, RMSNorm } from 'fused-rmsnorm';${calls}`,
  });
  expect(outputOf(folder, process.execPath, ['-r', './pollute.cjs', 'app.mjs'])).toBe(expected);
});

test('a worker reads its own RMSNORM_NUM_THREADS', () => {
  const folder = makeApplication({
    'app.cjs': `
      const { Worker, isMainThread } = require('node:worker_threads');
      const { getNumThreads } = require('fused-rmsnorm');
      if (isMainThread) {
        const worker = new Worker(__filename, { env: { RMSNORM_NUM_THREADS: '1' }, stdout: false });
        worker.on('exit', () => console.log('main', getNumThreads()));
      } else {
        console.log('worker', getNumThreads());
      }`,
  });
  const output = outputOf(folder, process.execPath, ['app.cjs'], { RMSNORM_NUM_THREADS: '3' });
  expect(output).toBe('worker 1\nmain 3\n');
});
