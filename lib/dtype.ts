import { argumentError, codedError } from './errors';

/** Element types of tensors. Host arrays of the 16-bit ones hold their bits. */
export type DType = 'float32' | 'float16' | 'bfloat16';

/** The `Float16Array` of runtimes that have it, whatever TypeScript's `lib` knows of it. */
export interface Float16ArrayLike extends ArrayBufferView {
  /** In elements. */
  readonly length: number;
  /** By which the array is known, whatever realm it is of. */
  readonly [Symbol.toStringTag]: 'Float16Array';
}

/**
 * Elements of a tensor: float32 as `Float32Array`; float16 as `Float16Array` or, with a `dtype`, as
 * the bits in a `Uint16Array`; bfloat16, with a `dtype`, as the bits in a `Uint16Array`.
 */
export type FloatArray = Float32Array | Uint16Array | Float16ArrayLike;

/** The kinds of array the native addon takes. */
export type NativeArray = Float32Array | Uint16Array;

/** Numbers of the dtypes in native calls; `DType` of csrc/rms_norm.h. */
export const dtypeCodes = { float32: 0, float16: 1, bfloat16: 2 } as const satisfies Record<
  DType,
  number
>;

type Float16ArrayConstructor = new (
  buffer: ArrayBufferLike | number,
  byteOffset?: number,
  length?: number,
) => Float16ArrayLike;

export type ArrayKind = 'Float32Array' | 'Uint16Array' | 'Float16Array';

/** The kind of an array by its tag: `instanceof` fails for arrays of another realm. */
export function arrayKind(name: string, value: unknown): ArrayKind {
  if (ArrayBuffer.isView(value)) {
    const kind: string = (value as FloatArray)[Symbol.toStringTag];
    if (kind === 'Float32Array' || kind === 'Uint16Array' || kind === 'Float16Array') return kind;
  }
  throw argumentError(
    'ERR_INVALID_ARG_TYPE',
    name,
    'a Float32Array, Uint16Array or Float16Array, or a tensor { data, dims } of one',
    value,
  );
}

/** The same memory as an array the native addon takes. */
export function nativeView(array: FloatArray): NativeArray {
  if (array[Symbol.toStringTag] !== 'Float16Array') return array as NativeArray;
  return new Uint16Array(array.buffer, array.byteOffset, array.length);
}

/** A new array of `length` zeros. */
export function zeros(kind: ArrayKind, length: number): FloatArray {
  try {
    return makeArray(kind, length);
  } catch (cause) {
    const message = `Out of memory: no room for ${length} elements`;
    throw codedError('ERR_MEMORY_ALLOCATION_FAILED', message, { cause });
  }
}

/** A new array of a kind: of `content` zeros, or over a whole buffer. */
export function makeArray(kind: ArrayKind, content: number | ArrayBuffer): FloatArray {
  if (kind === 'Float32Array') return new Float32Array(content as ArrayBuffer);
  if (kind === 'Uint16Array') return new Uint16Array(content as ArrayBuffer);
  const { Float16Array } = globalThis as unknown as { Float16Array: Float16ArrayConstructor };
  return new Float16Array(content);
}

/** Refuses what is not the name of a dtype. */
export function checkDTypeName(value: unknown): void {
  if (Object.hasOwn(dtypeCodes, value as PropertyKey)) return;
  const expected = "'float32', 'float16' or 'bfloat16'";
  throw argumentError('ERR_INVALID_ARG_VALUE', 'dtype', expected, value);
}

/** The dtype of an array of this kind, where `stated` is what the caller says it is. */
export function dtypeOf(name: string, kind: ArrayKind, stated: unknown): DType {
  if (stated !== undefined) checkDTypeName(stated);
  if (kind === 'Uint16Array') {
    if (stated === 'float16' || stated === 'bfloat16') return stated;
    throw argumentError(
      'ERR_INVALID_ARG_VALUE',
      'dtype',
      `'float16' or 'bfloat16', since '${name}' is a Uint16Array`,
      stated,
    );
  }
  const dtype = kind === 'Float32Array' ? 'float32' : 'float16';
  if (stated === undefined || stated === dtype) return dtype;
  throw argumentError(
    'ERR_INVALID_ARG_VALUE',
    'dtype',
    `'${dtype}', since '${name}' is a ${kind}`,
    stated,
  );
}
