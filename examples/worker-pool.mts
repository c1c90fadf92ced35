// Serves requests of some rows each from a pool of worker threads. Rows travel through memory that
// the threads share; messages carry nothing but their number.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';

import { allocate, rmsNorm, setNumThreads } from 'fused-rmsnorm';
import { normals } from './random.mts';

const hiddenSize = 1024;
const maxRows = 32;

/** What each worker runs. */
const program = new URL('./norm-worker.mjs', import.meta.url);

/** What a worker starts with: both of allocate, and so shared. */
interface Memory {
  readonly weight: Float32Array;
  /** (maxRows, hiddenSize): the rows of a request, then the results in their place. */
  readonly rows: Float32Array;
}

interface PoolWorker {
  readonly worker: Worker;
  readonly rows: Float32Array;
  served: number;
}

/** Workers, each of which has one request at a time. */
class Pool {
  readonly workers: readonly PoolWorker[];
  readonly #idle: PoolWorker[];
  readonly #waiting: ((worker: PoolWorker) => void)[] = [];

  private constructor(workers: readonly PoolWorker[]) {
    this.workers = workers;
    this.#idle = [...workers];
  }

  /** A pool whose workers have loaded what they need. */
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

  /** The normalised rows: of x's length, which is at most maxRows rows. */
  async normalize(x: Float32Array): Promise<Float32Array> {
    const own = this.#idle.pop() ?? (await new Promise<PoolWorker>((r) => this.#waiting.push(r)));
    own.rows.set(x);
    own.worker.postMessage(x.length);
    await once(own.worker, 'message'); // or rejects with the error that ended the worker
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

setNumThreads(1); // of the process: here requests are what runs side by side
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
