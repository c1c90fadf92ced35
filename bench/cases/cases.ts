import type { DType } from 'fused-rmsnorm';

/** `'residual'`: forward of x + residual, and the sum. */
export type Op = 'forward' | 'backward' | 'residual';

/** An operation on a shape in a dtype: what is timed. */
export interface Case {
  readonly op: Op;
  readonly rows: number;
  readonly hiddenSize: number;
  readonly dtype: DType;
}

export const dtypes: readonly DType[] = ['float32', 'float16', 'bfloat16', 'float64'];

export const elementBytes: Readonly<Record<DType, number>> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  float64: 8,
};

/** Matrices of (rows, hiddenSize) that an operation reads or writes, each once. */
export const matrices: Readonly<Record<Op, number>> = {
  forward: 2, // x, y
  backward: 3, // dy, x, dx
  residual: 4, // x, residual, sum, y
};

export function caseName({ op, rows, hiddenSize, dtype }: Case): string {
  return `${op} ${rows}x${hiddenSize} ${dtype}`;
}

/** Of the row that the forms of a call are timed on. */
export const callShape = { rows: 1, hiddenSize: 64 } as const;

export function callName({ rows, hiddenSize }: Pick<Case, 'rows' | 'hiddenSize'>): string {
  return `call ${rows}x${hiddenSize}`;
}

/** Bytes that must move: each matrix once. Weight and rstd are left out, as they are small. */
export function minimumBytes({ op, rows, hiddenSize, dtype }: Case): number {
  return matrices[op] * rows * hiddenSize * elementBytes[dtype];
}

/** What every subject adds to the mean square. */
export const eps = 1e-6;
