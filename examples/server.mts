// An inference server: POST /norm takes the rows of a batch and returns them normalised. Calls compute
// on threads of the package, so the event loop stays free for other requests.

import { fastify } from 'fastify';
import { allocate, createPlan } from 'fused-rmsnorm';

const size = 256;
const maxRows = 64;
// Calls use an array of allocate in place; any other array would be copied by each call.
const weight = allocate(size).fill(1);

const makePlan = (rows: number) => createPlan({ rows, weight });

/** One plan for each number of rows, made for the first batch of that size. */
const plans = new Map<number, ReturnType<typeof makePlan>>();
function planOf(rows: number) {
  const plan = plans.get(rows) ?? makePlan(rows);
  plans.set(rows, plan);
  return plan;
}

const row = { type: 'array', items: { type: 'number' }, minItems: size, maxItems: size };
const schema = { body: { type: 'array', items: row, minItems: 1, maxItems: maxRows } };
const server = fastify({ bodyLimit: 32 * maxRows * size });
server.post<{ Body: number[][] }>('/norm', { schema }, async ({ body }) => {
  // y is in memory of the plan, which later calls reuse: it is read before the next await.
  const y = await planOf(body.length).runAsync(Float32Array.from(body.flat()));
  return body.map((_, i) => [...y.subarray(i * size, (i + 1) * size)]);
});

process.once('SIGTERM', () => void server.close());
const port = Number(process.env['PORT'] ?? 0);
console.log(`listening at ${await server.listen({ port })}`);
