import { fromFloat8, type Float8DType } from './convert';
import { isCodeArray, isElementArray, type CodeArray } from './core/dtype';
import { argumentError, lengthError, requirementError } from './core/errors';
import { readHostArray } from './core/host-array';
import { allocateArray } from './core/outputs';
import { knownOptions } from './core/validate';

/** Options of {@link dequantize}. */
export interface DequantizeOptions {
  /** The dtype of the codes. Required for a `Uint8Array`, and not allowed for an `Int8Array`. */
  readonly dtype?: Float8DType | undefined;
  /** Receives the numbers, and is returned. It has as many elements as `codes`, and does not overlap it. */
  readonly out?: Float32Array | undefined;
}

const optionNames: ReadonlySet<string> = new Set(['dtype', 'out']);

/**
 * Converts codes, as `quantize` makes them, to the numbers that they represent: `code * scale`, rounded to
 * float32. Here `code` is an int8, or the number that the bits of a float8 encode.
 *
 * ```ts
 * const { y, scale } = rmsNorm.forward(x, weight, { quantize: 'int8' });
 * const values = dequantize(y, scale);
 * ```
 *
 * @param codes - (rows, hiddenSize): an `Int8Array`, or the bits of a float8 in a `Uint8Array`
 * @param scale - (rows) of float32, or one number for all rows
 * @returns float32 values: `options.out` if passed, else a new array
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` and RangeError `ERR_OUT_OF_RANGE`
 * for invalid arguments; Error `ERR_MEMORY_ALLOCATION_FAILED`
 */
export function dequantize(
  codes: CodeArray,
  scale: Float32Array | number,
  options: DequantizeOptions = {},
): Float32Array {
  const { dtype, out } = knownOptions(options, optionNames);
  const { data, kind } = readHostArray('codes', codes, 'an Int8Array or Uint8Array', isCodeArray);
  const scales = typeof scale === 'number' ? [scale] : readFloats('scale', scale);
  const { length } = data;
  const columns = length / scales.length;
  if (length > 0 && !Number.isInteger(columns)) {
    const rows = String(scales.length);
    const requirement = `consist of ${rows} whole rows of equal length, one per element of scale`;
    throw requirementError('ERR_OUT_OF_RANGE', 'codes', requirement, codes);
  }
  const values =
    out === undefined
      ? (allocateArray('Float32Array', length) as Float32Array)
      : readFloats('out', out);
  if (values.length !== length) {
    throw lengthError('out', length, out);
  }
  let numbers = data as Int8Array | Float32Array;
  if (kind === 'Uint8Array') {
    numbers = fromFloat8(data as Uint8Array, dtype as Float8DType, values);
  } else if (dtype !== undefined) {
    const expected = 'omitted if codes is an Int8Array';
    throw argumentError('ERR_INVALID_ARG_VALUE', 'dtype', expected, dtype);
  }
  for (let i = 0, row = 0; i < length; ++row) {
    const factor = scales[row] as number;
    // A float32 scale has a significand of 24 bits, a code at most 8 bits. Their product is exact in float64,
    // so storing it is the only rounding. A scale passed as a number can have 53 bits: then there may be two.
    for (const end = i + columns; i < end; ++i) values[i] = (numbers[i] as number) * factor;
  }
  return values;
}

function readFloats(name: string, value: unknown): Float32Array {
  const expected = name === 'scale' ? 'a number or a Float32Array' : 'a Float32Array';
  const { data, kind } = readHostArray(name, value, expected, isElementArray);
  if (kind === 'Float32Array') return data as Float32Array;
  throw argumentError('ERR_INVALID_ARG_TYPE', name, expected, value);
}
