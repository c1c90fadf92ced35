import { argumentError, codedError } from './errors';

/**
 * The element type of a tensor: see {@link FloatArray} for the arrays that hold each. float64 tensors are
 * computed in float64 throughout, and only on the CPU.
 */
export type DType = 'float32' | 'float16' | 'bfloat16' | 'float64';

/**
 * The element type of a quantised result: int8, or one of the two float8 formats of the Open Compute
 * Project. e4m3 is the format without infinities (`torch.float8_e4m3fn`). An 8-bit code stands for a
 * number times a scale.
 */
export type QuantizedDType = 'int8' | 'float8_e4m3' | 'float8_e5m2';

/** The element type of a tensor in GPU memory. */
export type DeviceDType = 'float32' | 'float16' | 'bfloat16';

/** The element type of GPU memory, which can hold a tensor or quantised codes. */
export type BufferDType = DeviceDType | QuantizedDType;

/**
 * The runtime's own `Float16Array`, whether TypeScript's `lib` declares it or not, or that of
 * `@petamoriken/float16`.
 */
export interface Float16ArrayLike extends ArrayBufferView {
  /** The number of elements. */
  readonly length: number;
  /** Identifies the array, whatever realm it comes from. */
  readonly [Symbol.toStringTag]: 'Float16Array';
}

/**
 * The array of a tensor's elements. float32: a `Float32Array`. float64: a `Float64Array`. float16: a
 * `Float16Array` or, with a `dtype`, the bits in a `Uint16Array`. bfloat16: with a `dtype`, the bits in
 * a `Uint16Array`.
 */
export type FloatArray = Float32Array | Float64Array | Uint16Array | Float16ArrayLike;

/** The array of codes: an `Int8Array` for int8, a `Uint8Array` of the bits for float8. */
export type CodeArray = Int8Array | Uint8Array;

/** rstd, one value per row: float64 if x is float64, else float32. */
export type RstdArray = Float32Array | Float64Array;

/** The kinds of array the native addon takes. */
export type NativeArray = Float32Array | Float64Array | Uint16Array | CodeArray;

/** The kinds of array that hold tensors. */
export type FloatKind = 'Float32Array' | 'Float64Array' | 'Uint16Array' | 'Float16Array';
export type ArrayKind = FloatKind | 'Int8Array' | 'Uint8Array';

/** The properties of each dtype. */
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
  int8: { code: 4, bytes: 1, isOnGpu: true, bits: 'Int8Array', kinds: ['Int8Array'] },
  float8_e4m3: { code: 5, bytes: 1, isOnGpu: true, bits: 'Uint8Array', kinds: ['Uint8Array'] },
  float8_e5m2: { code: 6, bytes: 1, isOnGpu: true, bits: 'Uint8Array', kinds: ['Uint8Array'] },
} as const satisfies { readonly [D in DType | QuantizedDType]: DTypeTraits<D> };

interface DTypeTraits<D extends DType | QuantizedDType> {
  /** The number of the dtype in native calls: `DType` of csrc/op/rms_norm.h. */
  readonly code: number;
  /** Bytes per element. */
  readonly bytes: number;
  /** Whether GPU memory may hold elements of the dtype. */
  readonly isOnGpu: D extends BufferDType ? true : false;
  /** The kind of array in which native calls take elements: for 16-bit dtypes and float8, their bits. */
  readonly bits: NativeArray[typeof Symbol.toStringTag];
  /** The kinds of array in which callers pass elements. */
  readonly kinds: readonly ArrayKind[];
}

const all = Object.keys(dtypes) as (DType | QuantizedDType)[];
const namesOnGpu = all.filter((name) => dtypes[name].isOnGpu);

/** The dtypes of quantised results. */
export const quantizedNames = all.filter(
  (name): name is QuantizedDType => dtypes[name].bytes === 1,
);
const names = all.filter((name) => dtypes[name].bytes > 1);

/** The dtype that each kind of array implies; undefined if the caller must state it. */
const dtypesOfKinds = {
  Float32Array: 'float32',
  Float64Array: 'float64',
  Float16Array: 'float16',
  Uint16Array: undefined,
} as const satisfies Record<FloatKind, DType | undefined>;

type Float16ArrayConstructor = new (
  buffer: ArrayBufferLike | number,
  byteOffset?: number,
  length?: number,
) => Float16ArrayLike;

/** What tensors must be, for error messages. */
export const anArray =
  'a Float32Array, Float64Array, Uint16Array, Float16Array or DeviceBuffer, ' +
  'or a tensor { data, dims } whose data is one';

/** Whether a value is an array that can hold a tensor. */
export function isFloatArray(value: unknown): value is FloatArray {
  if (!ArrayBuffer.isView(value)) return false;
  const kind: string = (value as FloatArray)[Symbol.toStringTag];
  const isBits = kind === 'Uint16Array' || kind === 'Float16Array';
  return kind === 'Float32Array' || isBits || kind === 'Float64Array';
}

/** A type guard for the arrays that an argument accepts. */
export type ArrayGuard<A extends FloatArray | CodeArray = FloatArray | CodeArray> = (
  value: unknown,
) => value is A;

/**
 * The kind of an array argument. Refuses other values; `expected` is what error messages ask for. Reads the
 * tag of the array, since `instanceof` fails for arrays of another realm.
 */
export function arrayKind(name: string, value: unknown, expected?: string): FloatKind;
export function arrayKind(
  name: string,
  value: unknown,
  expected: string | undefined,
  isAccepted: ArrayGuard,
): ArrayKind;
export function arrayKind(
  name: string,
  value: unknown,
  expected: string = anArray,
  isAccepted: ArrayGuard = isFloatArray,
): ArrayKind {
  if (isAccepted(value)) return value[Symbol.toStringTag];
  throw argumentError('ERR_INVALID_ARG_TYPE', name, expected, value);
}

/** Whether a value is an array that can hold codes. */
export function isCodeArray(value: unknown): value is CodeArray {
  if (!ArrayBuffer.isView(value)) return false;
  const kind: string = (value as CodeArray)[Symbol.toStringTag];
  return kind === 'Int8Array' || kind === 'Uint8Array';
}

/** Whether a value is an array that can hold elements of any of the dtypes. */
export function isElementArray(value: unknown): value is FloatArray | CodeArray {
  return isFloatArray(value) || isCodeArray(value);
}

/** A view of the same memory in a kind of array that the addon takes. Copies nothing. */
export function nativeView(array: FloatArray | CodeArray): NativeArray {
  return array[Symbol.toStringTag] === 'Float16Array'
    ? new Uint16Array(array.buffer, array.byteOffset, array.length)
    : (array as NativeArray);
}

/** A new array of `length` zeros. */
export function zeros<K extends ArrayKind>(kind: K, length: number): ArrayOfKind<K> {
  try {
    return makeArray(kind, length);
  } catch (cause) {
    throw outOfMemory(length, cause);
  }
}

/** The error for an array of `length` elements that could not be allocated. */
export function outOfMemory(length: number, cause: unknown): Error {
  const message = `Out of memory: cannot allocate ${length} elements`;
  return codedError('ERR_MEMORY_ALLOCATION_FAILED', message, { cause });
}

/** The type of an array of a kind. */
export type ArrayOfKind<K extends ArrayKind> = K extends FloatKind ? FloatArray : CodeArray;

/** A new array of a kind: of `content` zeros, or a view of the whole buffer `content`. */
export function makeArray<K extends ArrayKind>(
  kind: K,
  content: number | ArrayBufferLike,
): ArrayOfKind<K> {
  return makeAny(kind, content as ArrayBuffer) as ArrayOfKind<K>;
}

function makeAny(kind: ArrayKind, content: ArrayBuffer): FloatArray | CodeArray {
  if (kind === 'Float32Array') return new Float32Array(content);
  if (kind === 'Float64Array') return new Float64Array(content);
  if (kind === 'Uint16Array') return new Uint16Array(content);
  if (kind === 'Int8Array') return new Int8Array(content);
  if (kind === 'Uint8Array') return new Uint8Array(content);
  const { Float16Array } = globalThis as unknown as { Float16Array: Float16ArrayConstructor };
  return new Float16Array(content);
}

/** The kind of array that holds rstd, if x is of this dtype. */
export function rstdKind(dtype: DType): 'Float32Array' | 'Float64Array' {
  return dtype === 'float64' ? 'Float64Array' : 'Float32Array';
}

/**
 * Refuses a value that is not the name of a dtype. The type is checked, too: an array of one name converts
 * to that name when it is used as a key.
 */
export function checkDTypeName(value: unknown): asserts value is DType {
  if (typeof value === 'string' && (names as string[]).includes(value)) return;
  throw wrongName(names, value);
}

/** Refuses a value that is not the name of a dtype of GPU memory. */
export function checkBufferDType(value: unknown): asserts value is BufferDType {
  if (typeof value === 'string' && (namesOnGpu as string[]).includes(value)) return;
  throw wrongName(namesOnGpu, value);
}

function wrongName(known: readonly string[], value: unknown): Error {
  const quoted = known.map((name) => `'${name}'`);
  const expected = `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1) ?? ''}`;
  return argumentError('ERR_INVALID_ARG_VALUE', 'dtype', expected, value);
}

/**
 * The dtype of an array of this kind. `stated`: the dtype that the caller states, or undefined. Refuses a
 * stated dtype that does not fit the kind, and a `Uint16Array` without a stated dtype.
 */
export function dtypeOf(name: string, kind: FloatKind, stated: unknown): DType {
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
