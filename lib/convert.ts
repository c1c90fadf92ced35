import { arrayKind, dtypeCodes, type ArrayKind, type DType, type NativeArray } from './dtype';
import { binding } from './binding';
import { adoptNativeError, argumentError } from './errors';
import { freshArray } from './outputs';
import { refuseDetached } from './tensor';

/**
 * float32 to the bits of bfloat16, rounded to nearest even. NaN stays NaN.
 *
 * @param source - float32 values
 * @param out - receives the bits, and is returned; of source's length. Default: a new array
 * @throws TypeError `ERR_INVALID_ARG_TYPE` and RangeError `ERR_OUT_OF_RANGE`
 */
export function toBFloat16(source: Float32Array, out?: Uint16Array): Uint16Array {
  return convert(source, 'float32', out, 'bfloat16') as Uint16Array;
}

/** The bits of bfloat16 to float32, exactly. Arguments and errors as {@link toBFloat16}. */
export function fromBFloat16(source: Uint16Array, out?: Float32Array): Float32Array {
  return convert(source, 'bfloat16', out, 'float32') as Float32Array;
}

/** float32 to the bits of float16, as {@link toBFloat16}; from 65520 up it becomes infinity. */
export function toFloat16(source: Float32Array, out?: Uint16Array): Uint16Array {
  return convert(source, 'float32', out, 'float16') as Uint16Array;
}

/** The bits of float16 to float32, exactly. Arguments and errors as {@link toBFloat16}. */
export function fromFloat16(source: Uint16Array, out?: Float32Array): Float32Array {
  return convert(source, 'float16', out, 'float32') as Float32Array;
}

type Convertible = Exclude<DType, 'float64'>;

function convert(
  source: NativeArray,
  from: Convertible,
  out: NativeArray | undefined,
  to: Convertible,
): NativeArray {
  checkKind('source', source, from);
  if (out !== undefined) {
    checkKind('out', out, to);
    if (out.length !== source.length) {
      throw argumentError('ERR_OUT_OF_RANGE', 'out', `of ${String(source.length)} elements`, out);
    }
  }
  const destination =
    out ??
    (freshArray(to === 'float32' ? 'Float32Array' : 'Uint16Array', source.length) as NativeArray);
  try {
    binding.convert(source, dtypeCodes[from], destination, dtypeCodes[to]);
  } catch (error) {
    throw adoptNativeError(error);
  }
  return destination;
}

function checkKind(name: string, value: unknown, dtype: Convertible): void {
  const expected: ArrayKind = dtype === 'float32' ? 'Float32Array' : 'Uint16Array';
  if (arrayKind(name, value) !== expected) {
    throw argumentError('ERR_INVALID_ARG_TYPE', name, `a ${expected}`, value);
  }
  refuseDetached(name, value as NativeArray);
}
