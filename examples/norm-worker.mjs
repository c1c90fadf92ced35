// A worker of worker-pool.mts. Each message is a number of elements; the worker normalises the rows in
// that much of its memory. It is JavaScript, so that it runs whatever compiles the main program.

import { parentPort, workerData } from 'node:worker_threads';

import { rmsNorm } from 'fused-rmsnorm';

const { weight, rows } = workerData;

parentPort.on('message', (length) => {
  const x = rows.subarray(0, length);
  rmsNorm(x, weight, { out: x });
  parentPort.postMessage('done');
});
parentPort.postMessage('ready');
