import { checkDTypeName, type DType, type FloatArray } from './core/dtype';
import { allocateShared } from './core/outputs';
import { readCount } from './core/validate';

/** The class of array for elements of a dtype: for a 16-bit dtype, a `Uint16Array` of their bits. */
export type ArrayOf<D extends DType> = D extends 'float32'
  ? Float32Array
  : D extends 'float64'
    ? Float64Array
    : Uint16Array;

/**
 * Allocates an array of zeros over a `SharedArrayBuffer`, which nothing can detach or shrink. So
 * asynchronous calls use it in place, while they copy all other arrays. Worker threads can share it:
 * `postMessage` passes the memory, not a copy. Arrays of 4 MiB or more use huge pages where the system has
 * them.
 *
 * ```ts
 * const x = allocate(rows * 4096);
 * const bits = allocate(rows * 4096, 'bfloat16'); // a Uint16Array
 * ```
 *
 * @param length - the number of elements, 0 or more
 * @param dtype - the dtype of the elements. Default `'float32'`
 * @throws TypeError `ERR_INVALID_ARG_TYPE` and RangeError `ERR_OUT_OF_RANGE` for an invalid length,
 * TypeError `ERR_INVALID_ARG_VALUE` for an invalid dtype; Error `ERR_MEMORY_ALLOCATION_FAILED`
 */
export function allocate<D extends DType = 'float32'>(length: number, dtype?: D): ArrayOf<D>;
export function allocate(length: number, dtype: DType = 'float32'): FloatArray {
  checkDTypeName(dtype);
  return allocateShared(dtype, readCount('length', length, 0));
}
