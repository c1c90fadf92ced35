// Serves requests of a few rows each from a pool of worker threads. Rows are passed in memory that the
// threads share; messages carry only the number of elements.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';

import { allocate, rmsNorm, setNumThreads } from 'fused-rmsnorm';
import { normals } from './random.mts';

const hiddenSize = 1024;
const maxRows = 32;

/** The program of each worker. */
const program = new URL('./norm-worker.mjs', import.meta.url);

/** The `workerData` of a worker: arrays of `allocate`, which are shared. */
interface Memory {
  readonly weight: Float32Array;
  /** (maxRows, hiddenSize): the rows of a request, which the results overwrite. */
  readonly rows: Float32Array;
}

interface PoolWorker {
  readonly worker: Worker;
  readonly rows: Float32Array;
  served: number;
}

/** Worker threads, each of which serves one request at a time. */
class Pool {
  readonly workers: readonly PoolWorker[];
  readonly #idle: PoolWorker[];
  readonly #waiting: ((worker: PoolWorker) => void)[] = [];

  private constructor(workers: readonly PoolWorker[]) {
    this.workers = workers;
    this.#idle = [...workers];
  }

  /** Starts a pool, and waits until its workers are ready. */
  static async start(count: number, weight: Float32Array): Promise<Pool> {
    const sharedWeight = allocate(weight.length);
    sharedWeight.set(weight);
    const workers = Array.from({ length: count }, () => {
      const rows = allocate(maxRows * hiddenSize);
      const memory: Memory = { weight: sharedWeight, rows };
      return { worker: new Worker(program, { workerData: memory }), rows, served: 0 };
    });
    await Promise.all(workers.map(({ worker }) => once(worker, 'message')));
    return new Pool(workers);
  }

  /** Returns the rows of x normalised. x has at most maxRows rows. */
  async normalize(x: Float32Array): Promise<Float32Array> {
    const own = this.#idle.pop() ?? (await new Promise<PoolWorker>((r) => this.#waiting.push(r)));
    own.rows.set(x);
    own.worker.postMessage(x.length);
    await once(own.worker, 'message'); // rejects with the error if one ends the worker
    const y = own.rows.slice(0, x.length);
    ++own.served;
    const next = this.#waiting.shift();
    if (next === undefined) this.#idle.push(own);
    else next(own);
    return y;
  }

  async close(): Promise<void> {
    await Promise.all(this.workers.map(({ worker }) => worker.terminate()));
  }
}

setNumThreads(1); // for the whole process: requests run in parallel instead of calls
const weight = normals(1, hiddenSize);
const requests = Array.from({ length: 200 }, (_, i) =>
  normals(2 + i, (1 + ((i * 7) % maxRows)) * hiddenSize),
);
const pool = await Pool.start(Math.max(2, availableParallelism() - 1), weight);
const results = await Promise.all(requests.map((x) => pool.normalize(x)));
await pool.close();

requests.forEach((x, i) => {
  assert.deepEqual(results[i], rmsNorm(x, weight), `request ${i}`);
});
const shares = pool.workers.map(({ served }) => served);
console.log(`${requests.length} requests, ${shares.join(' + ')} of them by each worker`);
console.log('every result has the bits of a call on the main thread');
