/* @jest-environment ./test/support/shared-realm.ts */
// Tests the rival that consists of our norm and a loop: its codes are those of the definition, and
// its results pass the benchmark's check.

import { makeArrays } from '../../bench/cases/arrays';
import { dtypes, eps, type Case, type Op } from '../../bench/cases/cases';
import { Verifier } from '../../bench/cases/verify';
import { unfused } from '../../bench/subjects/rivals/unfused';
import { poison } from '../../bench/subjects/subject';
import { rmsNorm } from '../../lib';
import { quantize } from '../support/quantize';
import { ragged } from '../support/rivals';

const caseOf = (op: Op, rows: number, hiddenSize: number): Case => {
  return { op, dtype: 'float32', castOrder: 'llama', rows, hiddenSize };
};

test('supports only the fused operations, in float32', () => {
  const ops = ['forward', 'backward', 'residual', 'quantize', 'gated'] as const;
  const kinds = ops.flatMap((op) => dtypes.map((dtype) => ({ ...caseOf(op, 1, 64), dtype })));
  const supported = kinds.filter((one) => unfused.supports(one));
  expect(supported.map(({ op, dtype }) => [op, dtype])).toEqual([
    ['quantize', 'float32'],
    ['gated', 'float32'],
  ]);
});

describe.each(['quantize', 'gated'] as const)('%s', (op) => {
  test.each(ragged)('is right for %d x %d', async (rows, hiddenSize) => {
    const one = caseOf(op, rows, hiddenSize);
    const arrays = makeArrays(one);
    poison(arrays);
    const loaded = await unfused.load();
    const prepared = await loaded.prepare(one, arrays, 'given');
    expect(await prepared.run(2)).toBeGreaterThan(0);
    const answer = await prepared.results();
    new Verifier(one, arrays).check('unfused', answer);
    if (op === 'gated') return;
    const y = rmsNorm(arrays.x as Float32Array, arrays.weight as Float32Array, { eps });
    const { codes, scales } = quantize('int8', y, rows, {});
    expect([...arrays.codes]).toEqual(codes);
    expect([...arrays.scales]).toEqual(scales);
  });
});

test('a row of zeros has codes of 0, and ties are rounded to even', async () => {
  const one = caseOf('quantize', 2, 4);
  const arrays = { ...makeArrays(one), weight: Float32Array.of(127, 2.5, 3.5, -0.5) };
  const x = Float32Array.of(1, 1, 1, 1, 0, 0, 0, 0);
  const loaded = await unfused.load();
  const prepared = await loaded.prepare(one, { ...arrays, x }, 'given');
  await prepared.run(1);
  expect([...arrays.codes]).toEqual([127, 2, 4, 0, 0, 0, 0, 0]);
  expect(arrays.scales[1]).toBe(0);
});
