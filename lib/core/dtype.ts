import { argumentError, codedError } from './errors';

/**
 * Element types of tensors. Host arrays of the 16-bit ones hold their bits. float64 is computed in
 * float64 throughout, and on the CPU alone.
 */
export type DType = 'float32' | 'float16' | 'bfloat16' | 'float64';

/** Element types of memory on a GPU. */
export type DeviceDType = 'float32' | 'float16' | 'bfloat16';

/**
 * The `Float16Array` of runtimes that have it, whatever TypeScript's `lib` knows of it, or that of
 * `@petamoriken/float16`.
 */
export interface Float16ArrayLike extends ArrayBufferView {
  /** In elements. */
  readonly length: number;
  /** By which the array is known, whatever realm it is of. */
  readonly [Symbol.toStringTag]: 'Float16Array';
}

/**
 * Elements of a tensor: float32 as `Float32Array` and float64 as `Float64Array`; float16 as
 * `Float16Array` or, with a `dtype`, as the bits in a `Uint16Array`; bfloat16, with a `dtype`, as the
 * bits in a `Uint16Array`.
 */
export type FloatArray = Float32Array | Float64Array | Uint16Array | Float16ArrayLike;

/** One value a row: float32, or float64 beside float64 tensors. */
export type RstdArray = Float32Array | Float64Array;

/** The kinds of array the native addon takes. */
export type NativeArray = Float32Array | Float64Array | Uint16Array;

export type ArrayKind = 'Float32Array' | 'Float64Array' | 'Uint16Array' | 'Float16Array';

/** The dtypes: all that depends on one alone, once. */
export const dtypes = {
  float32: { code: 0, bytes: 4, isOnGpu: true, bits: 'Float32Array', kinds: ['Float32Array'] },
  float16: {
    code: 1,
    bytes: 2,
    isOnGpu: true,
    bits: 'Uint16Array',
    kinds: ['Float16Array', 'Uint16Array'],
  },
  bfloat16: { code: 2, bytes: 2, isOnGpu: true, bits: 'Uint16Array', kinds: ['Uint16Array'] },
  float64: { code: 3, bytes: 8, isOnGpu: false, bits: 'Float64Array', kinds: ['Float64Array'] },
} as const satisfies { readonly [D in DType]: DTypeTraits<D> };

interface DTypeTraits<D extends DType> {
  /** Its number in native calls: `DType` of csrc/op/rms_norm.h. */
  readonly code: number;
  /** The size of an element. */
  readonly bytes: number;
  /** Whether GPUs compute in it. */
  readonly isOnGpu: D extends DeviceDType ? true : false;
  /** The array of its bits, as native calls take it. */
  readonly bits: NativeArray[typeof Symbol.toStringTag];
  /** The arrays that may hold its elements. */
  readonly kinds: readonly ArrayKind[];
}

const names = Object.keys(dtypes) as DType[];
const namesOnGpu = names.filter((name) => dtypes[name].isOnGpu);

/** The dtype of an array unless the caller states it; undefined where he must. */
const dtypesOfKinds = {
  Float32Array: 'float32',
  Float64Array: 'float64',
  Float16Array: 'float16',
  Uint16Array: undefined,
} as const satisfies Record<ArrayKind, DType | undefined>;

type Float16ArrayConstructor = new (
  buffer: ArrayBufferLike | number,
  byteOffset?: number,
  length?: number,
) => Float16ArrayLike;

/** What tensors must be, in messages. */
export const anArray =
  'a Float32Array, Float64Array, Uint16Array, Float16Array or DeviceBuffer, ' +
  'or a tensor { data, dims } of one';

/** Whether a value is an array of a kind that tensors have. */
export function isFloatArray(value: unknown): value is FloatArray {
  if (!ArrayBuffer.isView(value)) return false;
  const kind: string = (value as FloatArray)[Symbol.toStringTag];
  const isBits = kind === 'Uint16Array' || kind === 'Float16Array';
  return kind === 'Float32Array' || isBits || kind === 'Float64Array';
}

/** The kind of an array by its tag: `instanceof` fails for arrays of another realm. */
export function arrayKind(name: string, value: unknown, expected: string = anArray): ArrayKind {
  if (isFloatArray(value)) return value[Symbol.toStringTag];
  throw argumentError('ERR_INVALID_ARG_TYPE', name, expected, value);
}

/** The same memory as an array the native addon takes. */
export function nativeView(array: FloatArray): NativeArray {
  return array[Symbol.toStringTag] === 'Float16Array'
    ? new Uint16Array(array.buffer, array.byteOffset, array.length)
    : (array as NativeArray);
}

/** A new array of `length` zeros. */
export function zeros(kind: ArrayKind, length: number): FloatArray {
  try {
    return makeArray(kind, length);
  } catch (cause) {
    throw outOfMemory(length, cause);
  }
}

/** The error for an array of `length` elements that could not be made. */
export function outOfMemory(length: number, cause: unknown): Error {
  const message = `Out of memory: no room for ${length} elements`;
  return codedError('ERR_MEMORY_ALLOCATION_FAILED', message, { cause });
}

/** A new array of a kind: of `content` zeros, or over a whole buffer. */
export function makeArray(kind: ArrayKind, content: number | ArrayBufferLike): FloatArray {
  if (kind === 'Float32Array') return new Float32Array(content as ArrayBuffer);
  if (kind === 'Float64Array') return new Float64Array(content as ArrayBuffer);
  if (kind === 'Uint16Array') return new Uint16Array(content as ArrayBuffer);
  const { Float16Array } = globalThis as unknown as { Float16Array: Float16ArrayConstructor };
  return new Float16Array(content);
}

/** The kind of array that holds rstd beside tensors of a dtype. */
export function rstdKind(dtype: DType): 'Float32Array' | 'Float64Array' {
  return dtype === 'float64' ? 'Float64Array' : 'Float32Array';
}

/** Refuses what is not the name of a dtype, such as an array of one, which would be its key, too. */
export function checkDTypeName(value: unknown): asserts value is DType {
  if (typeof value === 'string' && Object.hasOwn(dtypes, value)) return;
  throw wrongName(names, value);
}

/** Refuses what is not the name of a dtype that GPUs have. */
export function checkDeviceDType(value: unknown): asserts value is DeviceDType {
  if (typeof value === 'string' && (namesOnGpu as string[]).includes(value)) return;
  throw wrongName(namesOnGpu, value);
}

function wrongName(known: readonly DType[], value: unknown): Error {
  const quoted = known.map((name) => `'${name}'`);
  const expected = `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1) ?? ''}`;
  return argumentError('ERR_INVALID_ARG_VALUE', 'dtype', expected, value);
}

/** The dtype of an array of this kind, where `stated` is what the caller says it is. */
export function dtypeOf(name: string, kind: ArrayKind, stated: unknown): DType {
  if (kind === 'Uint16Array' && (stated === 'float16' || stated === 'bfloat16')) return stated;
  if (stated !== undefined) checkDTypeName(stated);
  if (kind === 'Uint16Array') {
    throw argumentError(
      'ERR_INVALID_ARG_VALUE',
      'dtype',
      `'float16' or 'bfloat16', since '${name}' is a Uint16Array`,
      stated,
    );
  }
  const dtype = dtypesOfKinds[kind];
  if (stated === undefined || stated === dtype) return dtype;
  throw argumentError(
    'ERR_INVALID_ARG_VALUE',
    'dtype',
    `'${dtype}', since '${name}' is a ${kind}`,
    stated,
  );
}
