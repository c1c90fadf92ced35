// Checks that the package works in worker threads: in several at once that end by themselves, and
// in some that are terminated with calls in flight.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { isMainThread, parentPort, Worker, workerData } = require('node:worker_threads');

const { bitsOf } = require('./bits.cjs');
const expected = require('./expected-bits.json');

async function main() {
  const ending = Array.from({ length: 3 }, () => new Worker(__filename, { workerData: 'bits' }));
  await Promise.all(
    ending.map(async (worker) => {
      const [[bits], [code]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
      assert.deepEqual(bits, expected);
      assert.equal(code, 0);
    }),
  );
  for (let i = 0; i < 5; ++i) {
    const worker = new Worker(__filename, { workerData: 'busy' });
    await once(worker, 'message');
    await worker.terminate();
  }
  assert.deepEqual(bitsOf(require('fused-rmsnorm')), expected);
  console.log('worker threads: the expected bits, and ended with calls in flight');
}

if (isMainThread) {
  main();
} else if (workerData === 'bits') {
  parentPort.postMessage(bitsOf(require('fused-rmsnorm')));
} else {
  const { rmsNorm } = require('fused-rmsnorm');
  const x = new Float32Array(512 * 4096).fill(1);
  const start = () => rmsNorm.async(x, null, { normalizedShape: 4096 }).then(start);
  for (let i = 0; i < 4; ++i) start();
  parentPort.postMessage('busy');
}
