import type { CastOrder, DType } from 'fused-rmsnorm';

/**
 * The operations that plans and most rivals have. `'residual'`: forward of x + residual, with the sum as a
 * second result.
 */
export type BasicOp = 'forward' | 'backward' | 'residual';

/**
 * `'quantize'`: forward to int8 codes and a scale for each row. `'gated'`: forward with a gate
 * after the norm.
 */
export type Op = BasicOp | 'quantize' | 'gated';

/** An operation on a shape in a dtype: the unit that is timed. */
export interface Case {
  readonly op: Op;
  readonly rows: number;
  readonly hiddenSize: number;
  readonly dtype: DType;
  /** `'float'` only for 16-bit dtypes: for the others both orders are the same. */
  readonly castOrder: CastOrder;
}

export const dtypes: readonly DType[] = ['float32', 'float16', 'bfloat16', 'float64'];

export const elementBytes: Readonly<Record<DType, number>> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  float64: 8,
};

/** Matrices of (rows, hiddenSize) in the case's dtype that an operation reads or writes once each. */
export const matrices: Readonly<Record<Op, number>> = {
  forward: 2, // x, y
  backward: 3, // dy, x, dx
  residual: 4, // x, residual, sum, y
  quantize: 1, // x
  gated: 3, // x, gate, y
};

/** Whether the operation of a case is a {@link BasicOp}. */
export function isBasic({ op }: Pick<Case, 'op'>): boolean {
  return op !== 'quantize' && op !== 'gated';
}

/** Why no subject can compute a case; null if one can. */
export function reasonImpossible(one: Case): string | null {
  if (isBasic(one) || one.dtype !== 'float64') return null;
  return 'float64 is neither quantised nor gated';
}

export const castOrders: readonly CastOrder[] = ['llama', 'float'];

/** The wanted cast orders if they give a dtype different results; otherwise the default one. */
export function castOrdersOf(dtype: DType, wanted: readonly CastOrder[]): readonly CastOrder[] {
  return elementBytes[dtype] === 2 ? wanted : ['llama'];
}

/** Such as `'bfloat16'`, or `'bfloat16 float'` for the cast order that is not the default. */
export function kindName({ dtype, castOrder }: Pick<Case, 'dtype' | 'castOrder'>): string {
  return castOrder === 'float' ? `${dtype} float` : dtype;
}

export function caseName({ op, rows, hiddenSize, ...kind }: Case): string {
  return `${op} ${rows}x${hiddenSize} ${kindName(kind)}`;
}

/** The shape of the row on which the forms of a call are timed. */
export const callShape = { rows: 1, hiddenSize: 64 } as const;

export function callName({ rows, hiddenSize }: Pick<Case, 'rows' | 'hiddenSize'>): string {
  return `call ${rows}x${hiddenSize}`;
}

/**
 * Bytes that a case must move: each matrix once, and for quantize a byte for each code and 4 for
 * each scale. Weight and rstd are left out, since they are small.
 */
export function minimumBytes({ op, rows, hiddenSize, dtype }: Case): number {
  const bytes = matrices[op] * rows * hiddenSize * elementBytes[dtype];
  return op === 'quantize' ? bytes + rows * (hiddenSize + 4) : bytes;
}

/** The eps of every subject: added to the mean square. */
export const eps = 1e-6;
