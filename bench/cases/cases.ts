import type { CastOrder, DType } from 'fused-rmsnorm';

/** Those of plans and of most rivals. `'residual'`: forward of x + residual, and the sum. */
export type PlainOp = 'forward' | 'backward' | 'residual';

/**
 * `'quantize'`: forward to codes of int8 and the scale of each row. `'gated'`: forward with a gate
 * after the norm.
 */
export type Op = PlainOp | 'quantize' | 'gated';

/** An operation on a shape in a dtype: what is timed. */
export interface Case {
  readonly op: Op;
  readonly rows: number;
  readonly hiddenSize: number;
  readonly dtype: DType;
  /** `'float'` only in 16 bits: elsewhere both orders are the same. */
  readonly castOrder: CastOrder;
}

export const dtypes: readonly DType[] = ['float32', 'float16', 'bfloat16', 'float64'];

export const elementBytes: Readonly<Record<DType, number>> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  float64: 8,
};

/** Matrices of (rows, hiddenSize) in the case's dtype that an operation reads or writes, each once. */
export const matrices: Readonly<Record<Op, number>> = {
  forward: 2, // x, y
  backward: 3, // dy, x, dx
  residual: 4, // x, residual, sum, y
  quantize: 1, // x
  gated: 3, // x, gate, y
};

export function isPlain({ op }: Pick<Case, 'op'>): boolean {
  return op !== 'quantize' && op !== 'gated';
}

/** Why nobody computes a case; null of one that is there. */
export function whyImpossible(one: Case): string | null {
  if (isPlain(one) || one.dtype !== 'float64') return null;
  return 'float64 is neither quantised nor gated';
}

export const castOrders: readonly CastOrder[] = ['llama', 'float'];

/** Those of the orders in which a dtype has different results: the usual one if there are none. */
export function castOrdersOf(dtype: DType, wanted: readonly CastOrder[]): readonly CastOrder[] {
  return elementBytes[dtype] === 2 ? wanted : ['llama'];
}

/** Such as `'bfloat16'`, or `'bfloat16 float'` in the order that is not the usual one. */
export function kindName({ dtype, castOrder }: Pick<Case, 'dtype' | 'castOrder'>): string {
  return castOrder === 'float' ? `${dtype} float` : dtype;
}

export function caseName({ op, rows, hiddenSize, ...kind }: Case): string {
  return `${op} ${rows}x${hiddenSize} ${kindName(kind)}`;
}

/** Of the row that the forms of a call are timed on. */
export const callShape = { rows: 1, hiddenSize: 64 } as const;

export function callName({ rows, hiddenSize }: Pick<Case, 'rows' | 'hiddenSize'>): string {
  return `call ${rows}x${hiddenSize}`;
}

/**
 * Bytes that must move: each matrix once, and a byte for each code and a float32 for each scale.
 * Weight and rstd are left out, as they are small.
 */
export function minimumBytes({ op, rows, hiddenSize, dtype }: Case): number {
  const bytes = matrices[op] * rows * hiddenSize * elementBytes[dtype];
  return op === 'quantize' ? bytes + rows * (hiddenSize + 4) : bytes;
}

/** What every subject adds to the mean square. */
export const eps = 1e-6;
