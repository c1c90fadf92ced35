// A worker of worker-pool.mts: normalises the rows in its memory, whenever it is told how many elements
// there are. It is JavaScript so that it runs whatever compiled the program that starts it.

import { parentPort, workerData } from 'node:worker_threads';

import { rmsNorm } from 'fused-rmsnorm';

const { weight, rows } = workerData;

parentPort.on('message', (length) => {
  const x = rows.subarray(0, length);
  rmsNorm(x, weight, { out: x });
  parentPort.postMessage('done');
});
parentPort.postMessage('ready');
