// Shared by the tests of the benchmark's rivals: the check of a rival's results against the oracle.

import { makeArrays, type Elements } from '../../bench/cases/arrays';
import { eps, type Case } from '../../bench/cases/cases';
import type { Answer } from '../../bench/cases/verify';
import type { LoadedRival, Rival } from '../../bench/subjects/rivals/rival';
import type { OutputMode } from '../../bench/subjects/subject';
import { foreignErrors, layerNormErrors } from './foreign-bounds';
import { backward, forward, layerNorm, residualSum, roundTo, type Problem } from './reference';
import { expectWithin, valuesOf } from './support';

const { fround } = Math;

/** Shapes around the step sizes of typical loops. */
export const ragged: readonly [rows: number, hiddenSize: number][] = [
  ...([1, 7, 8, 33, 111, 512, 769, 4096, 5125] as const).map((size): [number, number] => [3, size]),
  [1, 1],
  [1, 64],
  [1, 4096],
  [2, 500],
  [40, 257],
  [67, 16],
];

/**
 * Runs a case twice, because the first run must not affect the second, and checks every element.
 */
export async function expectRight(
  rival: Rival,
  loaded: LoadedRival,
  one: Case,
  outputs: OutputMode,
): Promise<void> {
  expect(rival.supports(one)).toBe(true);
  const arrays = makeArrays(one);
  for (const array of [arrays.out, arrays.dweight, arrays.sum]) array.fill(NaN);
  const prepared = await loaded.prepare(one, arrays, outputs);
  try {
    expect(await prepared.run(2)).toBeGreaterThan(0);
    const results = await prepared.results();
    const x = valuesOf(arrays.x, one.dtype);
    const residual = valuesOf(arrays.residual, one.dtype);
    const problem: Problem = {
      x: one.op === 'residual' ? residualSum(x, residual, roundTo[one.dtype]) : x,
      weight: valuesOf(arrays.weight, one.dtype),
      ...{ hiddenSize: one.hiddenSize, eps, weightOffset: 0, round: null },
    };
    if (one.op === 'backward') expectGradients(problem, valuesOf(arrays.dy, one.dtype), results);
    else expectNorm(rival, problem, one, results);
  } finally {
    await prepared.dispose?.();
  }
}

function expectNorm(rival: Rival, problem: Problem, one: Case, results: Answer): void {
  const { op, dtype } = one;
  const isRms = rival.computes === 'rms-norm';
  const exact = isRms ? forward(problem).y : layerNorm(problem);
  const errors = isRms ? foreignErrors(problem).y : layerNormErrors(problem);
  expect(Object.keys(results).sort()).toEqual(op === 'residual' ? ['sum', 'y'] : ['y']);
  expectWithin(values(results.y), exact, errors, roundTo[dtype]);
  if (op === 'residual') expect(Float64Array.from(values(results.sum))).toEqual(problem.x);
}

function expectGradients(problem: Problem, dy: Float64Array, results: Answer): void {
  const exact = backward(problem, dy);
  const errors = foreignErrors(problem, dy);
  expect(Object.keys(results).sort()).toEqual(['dweight', 'dx']);
  expectWithin(values(results.dx), exact.dx, errors.dx, fround);
  expectWithin(values(results.dweight), exact.dweight, errors.dweight, fround);
}

function values(result: Elements | undefined): Float32Array {
  expect(result).toBeInstanceOf(Float32Array);
  return result as Float32Array;
}
