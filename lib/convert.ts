import { binding } from './binding';
import {
  dtypes,
  isElementArray,
  nativeView,
  type ArrayKind,
  type CodeArray,
  type DType,
  type Float16ArrayLike,
  type FloatArray,
  type QuantizedDType,
} from './core/dtype';
import { adoptNativeError, argumentError, lengthError } from './core/errors';
import { readHostArray } from './core/host-array';
import { allocateArray } from './core/outputs';

/**
 * Converts float32 to the bits of bfloat16, rounded to nearest even. NaN stays NaN. Magnitudes that round
 * above the largest bfloat16, about 3.39e38, become infinity.
 *
 * @param source - float32 values
 * @param out - receives the bits, and is returned; of source's length. Default: a new array
 * @throws TypeError `ERR_INVALID_ARG_TYPE` if an argument is not an array of its class,
 * `ERR_INVALID_ARG_VALUE` if an array is detached or `out` and `source` overlap in memory; RangeError
 * `ERR_OUT_OF_RANGE` if `out` has another length; Error `ERR_MEMORY_ALLOCATION_FAILED`
 */
export function toBFloat16(source: Float32Array, out?: Uint16Array): Uint16Array {
  return convert(source, 'float32', out, 'bfloat16') as Uint16Array;
}

/** Converts the bits of bfloat16 to float32, exactly. Arguments and errors as in {@link toBFloat16}. */
export function fromBFloat16(source: Uint16Array, out?: Float32Array): Float32Array {
  return convert(source, 'bfloat16', out, 'float32') as Float32Array;
}

/**
 * Converts float32 to float16, rounded to nearest even. NaN stays NaN. Magnitudes of 65520 or more become
 * infinity. Throws the errors of {@link toBFloat16}.
 *
 * @param source - float32 values
 * @param out - a `Uint16Array`, which receives the bits, or a `Float16Array`, which receives the values.
 * Default: a new `Uint16Array`
 */
export function toFloat16<A extends Uint16Array | Float16ArrayLike = Uint16Array>(
  source: Float32Array,
  out?: A,
): A {
  return convert(source, 'float32', out, 'float16') as A;
}

/**
 * Converts float16, as bits in a `Uint16Array` or as a `Float16Array`, to float32, exactly. Arguments and
 * errors as in {@link toBFloat16}.
 */
export function fromFloat16(
  source: Uint16Array | Float16ArrayLike,
  out?: Float32Array,
): Float32Array {
  return convert(source, 'float16', out, 'float32') as Float32Array;
}

/**
 * Converts float32 to the bits of a float8 dtype, rounded to nearest even. Magnitudes beyond the largest
 * value, 448 (e4m3) or 57344 (e5m2), become that value, as with the option `quantize`. NaN becomes 0x7f.
 *
 * @param source - float32 values
 * @param dtype - `'float8_e4m3'` or `'float8_e5m2'`
 * @param out - receives the bits, and is returned; of source's length. Default: a new array
 * @throws the errors of {@link toBFloat16}; TypeError `ERR_INVALID_ARG_VALUE` for another `dtype`
 */
export function toFloat8(source: Float32Array, dtype: Float8DType, out?: Uint8Array): Uint8Array {
  return convert(source, 'float32', out, readFloat8(dtype)) as Uint8Array;
}

/** Converts the bits of a float8 dtype to float32, exactly. Arguments and errors as in {@link toFloat8}. */
export function fromFloat8(
  source: Uint8Array,
  dtype: Float8DType,
  out?: Float32Array,
): Float32Array {
  return convert(source, readFloat8(dtype), out, 'float32') as Float32Array;
}

function readFloat8(dtype: unknown): Float8DType {
  if (dtype === 'float8_e4m3' || dtype === 'float8_e5m2') return dtype;
  const expected = "'float8_e4m3' or 'float8_e5m2'";
  throw argumentError('ERR_INVALID_ARG_VALUE', 'dtype', expected, dtype);
}

/** The 8-bit dtypes that represent numbers even without a scale. */
export type Float8DType = Exclude<QuantizedDType, 'int8'>;

type Convertible = Exclude<DType, 'float64'> | Float8DType;
type Elements = FloatArray | CodeArray;

function convert(
  source: Elements,
  from: Convertible,
  out: Elements | undefined,
  to: Convertible,
): Elements {
  const input = readArray('source', source, from);
  const { length } = input;
  const output =
    out === undefined ? allocateArray(dtypes[to].bits, length) : readArray('out', out, to);
  if (output.length !== length) {
    throw lengthError('out', length, out);
  }
  try {
    binding.convert(nativeView(input), dtypes[from].code, nativeView(output), dtypes[to].code);
  } catch (error) {
    throw adoptNativeError(error);
  }
  return out ?? output;
}

function readArray(name: string, value: unknown, dtype: Convertible): Elements {
  const kinds: readonly ArrayKind[] = dtypes[dtype].kinds;
  const expected = `a ${kinds.join(' or ')}`;
  const { data, kind } = readHostArray(name, value, expected, isElementArray);
  if (kinds.includes(kind)) return data;
  throw argumentError('ERR_INVALID_ARG_TYPE', name, expected, value);
}
