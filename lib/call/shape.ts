// The hidden size of a call (the elements of a row), from x, weight and normalizedShape. The number of rows
// is the number of x's elements divided by it.

import { copyList, isList, maxDims } from '../core/caller-values';
import { argumentError, lengthError, requirementError } from '../core/errors';
import { tensorOf, sizeOf, type Argument, type TensorArgument } from './tensor';

/** Whether two shapes are equal. */
export function isSame(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; ++i) if (a[i] !== b[i]) return false;
  return true;
}

/** The hidden size, from normalizedShape and the weight, checked against each other and x. */
export function readHiddenSize(
  x: Argument,
  weight: Argument | undefined,
  normalizedShape: unknown,
): number {
  if (ArrayBuffer.isView(x) && ArrayBuffer.isView(weight) && weight.length > 0) {
    const { length } = weight;
    if (normalizedShape === undefined || normalizedShape === length) return length;
  }
  return hiddenSizeOf(tensorOf(x), weight && tensorOf(weight), normalizedShape);
}

function hiddenSizeOf(
  x: TensorArgument,
  weight: TensorArgument | undefined,
  normalizedShape: unknown,
): number {
  const optionShape = readNormalizedShape(normalizedShape);
  const shape = optionShape ?? weight?.dims ?? null;
  const hiddenSize = shape === null ? weight?.length : sizeOf(shape);
  if (hiddenSize === undefined) {
    const expected = 'given if weight is null';
    throw argumentError('ERR_INVALID_ARG_TYPE', 'normalizedShape', expected, undefined);
  }
  if (weight !== undefined) checkWeightShape(weight, hiddenSize, optionShape);
  if (hiddenSize === 0) {
    throw requirementError('ERR_OUT_OF_RANGE', 'weight', 'have at least 1 element', weight?.data);
  }
  if (x.dims !== null) checkLastDims(x.dims, shape, hiddenSize);
  return hiddenSize;
}

/** Refuses a weight that does not have `hiddenSize` elements, or whose dims are not `shape`. */
export function checkWeightShape(
  { data, dims, length }: TensorArgument,
  hiddenSize: number,
  shape: readonly number[] | null,
): void {
  if (length !== hiddenSize) throw lengthError('weight', hiddenSize, data);
  if (shape === null || dims === null || isSame(dims, shape)) return;
  const expected = `[${shape.join(', ')}], the normalizedShape`;
  throw argumentError('ERR_OUT_OF_RANGE', 'weight.dims', expected, dims);
}

/** normalizedShape as dims, or null if there is none. */
export function readNormalizedShape(value: unknown): readonly number[] | null {
  if (value === undefined) return null;
  const shape = isList(value) ? copyList(value) : [value];
  if (shape !== null && shape.length > 0 && sizeOf(shape) >= 1) {
    if (Number.isSafeInteger(sizeOf(shape))) return shape as number[];
  }
  const isOfNumbers = shape === null || shape.every((dim) => typeof dim === 'number');
  const count = shape === null ? `up to ${String(maxDims)} ` : '';
  throw argumentError(
    isOfNumbers ? 'ERR_OUT_OF_RANGE' : 'ERR_INVALID_ARG_TYPE',
    'normalizedShape',
    `an integer >= 1, or an array of ${count}such integers`,
    value,
  );
}

/**
 * Checks that the dims of x end in the normalised dims: in `shape`, or if that is null, in dims whose product
 * is `size`. `shape` is null if there is neither a normalizedShape nor a weight with dims.
 */
function checkLastDims(
  dims: readonly number[],
  shape: readonly number[] | null,
  size: number,
): void {
  if (shape !== null) {
    if (isSame(dims.slice(-shape.length), shape)) return;
    const requirement = `end in [${shape.join(', ')}]`;
    throw requirementError('ERR_OUT_OF_RANGE', 'x.dims', requirement, dims);
  }
  let product = 1;
  for (let i = dims.length - 1; i >= 0 && product < size; --i) product *= dims[i] as number;
  if (product === size) return;
  const requirement = `end in dims whose product is ${String(size)}, the length of weight`;
  throw requirementError('ERR_OUT_OF_RANGE', 'x.dims', requirement, dims);
}
