// Shared by the tests of docs/migration.md: its rows, and 16-bit data on which the models of
// foreign-norms.ts are exact.

import { readFileSync } from 'node:fs';
import path from 'node:path';

import { foreignNorm, type ForeignNorm, type Scaling } from './foreign-norms';
import { roundTo, type Round } from './reference';
import { arrayOf, expectSameBits, normals, uniform } from './support';

export const hiddenSize = 64;
export const rows = 6;
export const length = rows * hiddenSize;

/** The tensors of a call, as bits and as numbers. */
export interface Tensors {
  readonly dtype: 'bfloat16' | 'float16';
  readonly round: Round;
  readonly x: Uint16Array;
  readonly xValues: Float64Array;
  readonly weight: Uint16Array;
  readonly weightValues: Float64Array;
  readonly float32Weight: Float32Array;
  readonly dy: Uint16Array;
  readonly dyValues: Float64Array;
  /** Its sums with x must be rounded in bfloat16. */
  readonly residual: Uint16Array;
  readonly residualValues: Float64Array;
}

/**
 * Multiples of 1/8 up to `most`. Every other row has multiples of 2^-13 instead, with mean squares
 * near eps.
 */
export const eighths = (seed: number, most: number) => {
  const random = uniform(seed);
  const scaleOf = (i: number) => 2 ** (Math.floor(i / hiddenSize) % 2 === 0 ? -3 : -13);
  return new Float64Array(length).map(
    (_, i) => Math.round((2 * random() - 1) * 8 * most) * scaleOf(i),
  );
};

/** The bits of values that the dtype represents exactly. */
export const bitsOf = (dtype: Tensors['dtype'], values: ArrayLike<number>) =>
  arrayOf(dtype, values) as Uint16Array;

export function makeTensors(dtype: Tensors['dtype']): Tensors {
  const round = roundTo[dtype];
  const xValues = eighths(1, 4);
  const weightValues = normals(2, hiddenSize, 0.5, 1).map(round);
  const dyValues = normals(3, length).map(round);
  const residualValues = eighths(4, 56).map(round);
  return {
    dtype,
    round,
    x: bitsOf(dtype, xValues),
    xValues,
    weight: bitsOf(dtype, weightValues),
    weightValues,
    float32Weight: Float32Array.from(normals(5, hiddenSize, 0.5, 1)),
    dy: bitsOf(dtype, dyValues),
    dyValues,
    residual: bitsOf(dtype, residualValues),
    residualValues,
  };
}

/** A check of the claim in a table row, on data of a 16-bit dtype. */
export type Check = (tensors: Tensors) => void;

/** Runs a check for both dtypes. */
export const forBoth = (check: Check) => () => {
  check(makeTensors('bfloat16'));
  check(makeTensors('float16'));
};

/** Fails unless y has the bits that another library computes from x and weight, step by step. */
export function expectForeign(
  y: Uint16Array,
  { dtype, round, xValues, weightValues }: Tensors,
  scaling: Scaling,
  changes: Partial<ForeignNorm> & Pick<ForeignNorm, 'eps'>,
): void {
  const norm = { x: xValues, weight: weightValues, scaling, round, ...changes };
  expectSameBits(y, bitsOf(dtype, foreignNorm(norm)));
}

/** A row of a table, with backticks removed. */
export interface Row {
  readonly there: string;
  readonly here: string;
}

/** The tables of docs/migration.md, by the heading above each. */
export function tables(): ReadonlyMap<string, readonly Row[]> {
  const text = readFileSync(path.join(__dirname, '../../docs/migration.md'), 'utf8');
  const sections = text.split(/^## /m).slice(1);
  return new Map(
    sections.map((section) => {
      const [heading = '', ...lines] = section.split('\n');
      const cells = lines
        .filter((line) => line.startsWith('| '))
        .map((line) => line.replaceAll('`', '').split('|').slice(1, -1))
        .map(([there = '', here = '']) => ({ there: there.trim(), here: here.trim() }));
      return [heading, cells.slice(2)];
    }),
  );
}
