// An inference server: POST /norm takes the rows of a batch, and answers with them normalised. Calls
// compute on threads of the package: the event loop stays free for other requests.

import { fastify } from 'fastify';
import { rmsNorm } from 'fused-rmsnorm';

const size = 256;
const mostRows = 64;
// Memory that calls share is read where it is, and not copied for each.
const weight = new Float32Array(new SharedArrayBuffer(4 * size)).fill(1);

type Plan = (x: Float32Array) => Promise<Float32Array>;
function makePlan(_rows: number): Plan {
  return (x) => rmsNorm.async(x, weight);
}

/** One for each number of rows, made when such a batch first comes. */
const plans = new Map<number, Plan>();
function planOf(rows: number): Plan {
  const plan = plans.get(rows) ?? makePlan(rows);
  plans.set(rows, plan);
  return plan;
}

const row = { type: 'array', items: { type: 'number' }, minItems: size, maxItems: size };
const schema = { body: { type: 'array', items: row, minItems: 1, maxItems: mostRows } };
const server = fastify({ bodyLimit: 32 * mostRows * size });
server.post<{ Body: number[][] }>('/norm', { schema }, async ({ body }) => {
  const y = await planOf(body.length)(Float32Array.from(body.flat()));
  return body.map((_, i) => [...y.subarray(i * size, (i + 1) * size)]);
});

process.once('SIGTERM', () => void server.close());
const port = Number(process.env['PORT'] ?? 0);
console.log(`listening at ${await server.listen({ port })}`);
