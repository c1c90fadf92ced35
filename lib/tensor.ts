import { arrayKind, type ArrayKind, type Float16ArrayLike, type FloatArray } from './dtype';
import { argumentError } from './errors';

/**
 * An array with a shape, as onnxruntime's and transformers.js's tensors are.
 */
export interface TensorLike<A extends FloatArray = FloatArray> {
  /** The elements, row-major. */
  readonly data: A;
  /** The shape: whole numbers whose product is `data.length`. */
  readonly dims: readonly number[];
  /** Where there is one, taken as the dtype of 16-bit `data`. */
  readonly type?: string;
}

/** What functions take for a tensor. */
export type Input = FloatArray | TensorLike;

type Fresh<A> = A extends Float32Array
  ? Float32Array
  : A extends Uint16Array
    ? Uint16Array
    : A extends Float16ArrayLike
      ? A
      : never;

/** What functions return for an input of type T: an array for an array, a tensor for a tensor. */
export type Output<T> =
  T extends TensorLike<infer A> ? { data: Fresh<A>; dims: readonly number[] } : Fresh<T>;

/** An argument, taken apart. */
export interface Operand {
  readonly data: FloatArray;
  readonly kind: ArrayKind;
  /** null for a plain array. */
  readonly dims: readonly number[] | null;
  /** The dtype a tensor states, or undefined. */
  readonly type: string | undefined;
}

/** Checks that `value` is a non-detached array or a tensor of one whose dims fit. */
export function readOperand(name: string, value: unknown): Operand {
  if (ArrayBuffer.isView(value) || value === null || typeof value !== 'object') {
    const kind = arrayKind(name, value);
    const data = value as FloatArray;
    refuseDetached(name, data);
    return { data, kind, dims: null, type: undefined };
  }
  const { data, dims, type } = value as Partial<TensorLike>;
  const kind = arrayKind(dims === undefined ? name : `${name}.data`, data ?? value);
  const array = data as FloatArray;
  refuseDetached(name, array);
  const size = Array.isArray(dims) ? sizeOf(dims as readonly unknown[]) : NaN;
  if (size !== array.length) {
    throw argumentError(
      Array.isArray(dims) ? 'ERR_OUT_OF_RANGE' : 'ERR_INVALID_ARG_TYPE',
      `${name}.dims`,
      `an array of whole numbers whose product is ${String(array.length)}, the length of data`,
      dims,
    );
  }
  return { data: array, kind, dims: dims as readonly number[], type };
}

/** The product of `dims`, or NaN if one is not a whole number from 0 up. */
export function sizeOf(dims: readonly unknown[]): number {
  return dims.reduce<number>(
    (size, dim) =>
      Number.isSafeInteger(dim) && (dim as number) >= 0 ? size * (dim as number) : NaN,
    1,
  );
}

/** The result for an operand of this form: `data` itself, or a tensor of it. */
export function likeOperand(operand: Operand, data: FloatArray): Input {
  return operand.dims === null ? data : { data, dims: [...operand.dims] };
}

/**
 * Refuses an empty array that is so because its buffer was transferred, or shrank below it: it would
 * pass for zero rows.
 */
export function refuseDetached(name: string, array: FloatArray): void {
  if (array.length > 0) return;
  try {
    (array as Uint16Array).includes(0);
  } catch {
    const expected = 'an array whose buffer is not detached, nor shrunk below it';
    throw argumentError('ERR_INVALID_ARG_VALUE', name, expected, array);
  }
}
