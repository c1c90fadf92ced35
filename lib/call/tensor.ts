import { copyList, isList, isRevoked, maxDims, withoutInherited } from '../core/caller-values';
import {
  arrayKind,
  isFloatArray,
  type CodeArray,
  type Float16ArrayLike,
  type FloatArray,
  type ArrayGuard,
  type QuantizedDType,
} from '../core/dtype';
import { argumentError, requirementError } from '../core/errors';
import {
  readHostArray,
  readPolyfillArray,
  refuseDetached,
  type HostArray,
} from '../core/host-array';
import type { DeviceBuffer } from '../gpu/device-buffer';
import { isDeviceBuffer, type DataKind, type TensorData } from './data';
import { contiguousStrides, extentOf } from './strides';

/**
 * An array with a shape, like the tensors of onnxruntime and transformers.js, or a view of a part of an
 * array. `dims` multiply to `data.length`, unless `strides` or `offset` select elements:
 *
 * ```ts
 * // The queries of a fused projection (tokens, 3, heads, headDim), for a norm of each head.
 * const stride = 3 * heads * headDim;
 * const q = { data: qkv, dims: [tokens, heads, headDim], strides: [stride, headDim, 1] };
 * const k = { ...q, offset: heads * headDim };
 * ```
 *
 * The normalised dims must be contiguous. The rows must have at most two distinct strides.
 *
 * Rows of an input may share elements, for example with a stride of 0; each row is computed. Rows of an
 * output may not share elements. A backward that computes no dx needs a dy or an x whose rows do not
 * share elements.
 */
export interface TensorLike<A extends TensorData = FloatArray> {
  /** The elements, row-major unless `strides` say otherwise. */
  readonly data: A;
  /**
   * The shape: up to 64 integers. Their product is `data.length`, unless `strides` or `offset` are
   * set.
   */
  readonly dims: readonly number[];
  /** `'float16'` and `'bfloat16'` state the dtype of 16-bit `data`. Other strings are ignored. */
  readonly type?: string | undefined;
  /**
   * For each dim, the elements from one index to the next, as PyTorch's `stride()`: non-negative
   * integers. Default: the strides of a contiguous tensor.
   */
  readonly strides?: readonly number[] | undefined;
  /** The index in `data` of the tensor's first element. Default 0. */
  readonly offset?: number | undefined;
}

/**
 * A tensor of another library, such as a result of an onnxruntime session or a tensor of transformers.js.
 * Its elements can be of any type, which `type` names. A call throws `ERR_INVALID_ARG_TYPE` if `data` is not
 * an array that {@link TensorLike} allows.
 */
export interface ForeignTensor {
  /** The elements, row-major. */
  readonly data: ArrayBufferView | readonly unknown[];
  /** The shape. */
  readonly dims: readonly number[];
  /** The element type. `'float16'` and `'bfloat16'` state the dtype of 16-bit `data`. */
  readonly type: string;
}

/** A tensor in host memory. */
export type Input = FloatArray | TensorLike | ForeignTensor;

/** A tensor in GPU memory. */
export type DeviceInput = DeviceBuffer | TensorLike<DeviceBuffer>;

/** A tensor argument. All tensors of a call are in arrays, or all are on one GPU. */
export type AnyInput = Input | DeviceInput;

/** The type of a result that a call allocates for an input array or buffer of type A. */
export type NewLike<A> =
  A extends DeviceBuffer<infer D>
    ? DeviceBuffer<D>
    : A extends Float32Array
      ? Float32Array
      : A extends Float64Array
        ? Float64Array
        : A extends Uint16Array
          ? Uint16Array
          : A extends Float16ArrayLike
            ? A
            : never;

/** The type of a result for an input of type T: an array for an array, a tensor for a tensor. */
export type Output<T> = T extends { readonly data: infer A; readonly dims: readonly number[] }
  ? { data: NewLike<A>; dims: number[] }
  : NewLike<T>;

/** The type of the codes for an input of type T. */
export type QuantizedOutput<T, Q extends QuantizedDType> = T extends {
  readonly data: infer A;
  readonly dims: readonly number[];
}
  ? { data: QuantizedOutput<A, Q>; dims: number[] }
  : T extends DeviceBuffer
    ? DeviceBuffer<Q>
    : Q extends 'int8'
      ? Int8Array
      : Uint8Array;

/** The type of the rows' scales for an input of type T. */
export type Scale<T> = T extends { readonly data: infer A; readonly dims: readonly number[] }
  ? Scale<A>
  : T extends DeviceBuffer
    ? DeviceBuffer<'float32'>
    : Float32Array;

/** The type of rstd for an input of type T. */
export type Rstd<T> = T extends { readonly data: infer A; readonly dims: readonly number[] }
  ? Rstd<A>
  : T extends DeviceBuffer
    ? DeviceBuffer<'float32'>
    : T extends Float64Array
      ? Float64Array
      : Float32Array;

/** Which elements of its data a tensor selects. */
export interface StridedView {
  readonly strides: readonly number[];
  readonly offset: number;
}

/** An argument that is not a bare array, after its properties have been read. Also a result in this form. */
export interface TensorArgument {
  readonly data: TensorData;
  readonly kind: DataKind;
  /** null for a bare array or buffer. */
  readonly dims: readonly number[] | null;
  /** The `type` that a tensor states, or undefined. */
  readonly type: string | undefined;
  /** The number of elements. */
  readonly length: number;
  /** null if the tensor has all elements of `data`. */
  readonly view: StridedView | null;
  /** For an array of the polyfill, makes arrays of its class; else null: see {@link HostArray}. */
  readonly wrap: HostArray['wrap'];
  /** The value that the caller passed; for a result, the value that the caller gets. */
  readonly source: unknown;
}

const tensorNames = ['data', 'dims', 'type', 'strides', 'offset'];

/** An argument that has been read. A bare array stands for itself: making an object would take time. */
export type Argument = FloatArray | CodeArray | TensorArgument;

/**
 * Reads an array, a buffer, or a tensor of one. Refuses detached arrays, and dims, strides and an offset
 * that do not fit the data. `name` and `expected`: the argument and its expected values in error messages.
 */
export function readArgument(
  name: string,
  value: unknown,
  expected?: string,
  isAccepted: ArrayGuard = isFloatArray,
): Argument {
  if (!ArrayBuffer.isView(value)) return readTensorArgument(name, value, expected, isAccepted);
  arrayKind(name, value, expected, isAccepted);
  const array = value as FloatArray;
  if (array.length === 0) refuseDetached(name, 0, array);
  return array;
}

/** As {@link readArgument}, for x. The kind of a bare array is checked later, with the dtype. */
export function readX(value: unknown): Argument {
  const isArray = ArrayBuffer.isView(value) && (value as FloatArray).length > 0;
  return isArray ? (value as FloatArray) : readArgument('x', value);
}

/** Refuses an argument whose array has been detached since it was read. Returns the argument. */
export function checkStillAttached(name: string, argument: Argument): Argument {
  const data = dataOf(argument);
  if (ArrayBuffer.isView(data)) refuseDetached(name, data.length, data);
  return argument;
}

/** The TensorArgument of any argument. */
export function tensorOf(argument: Argument): TensorArgument {
  if (!ArrayBuffer.isView(argument)) return argument;
  return wholeTensor({ data: argument, kind: kindOf(argument), wrap: null }, argument);
}

/** The array or buffer that holds the elements of an argument. */
export function dataOf(argument: Argument): TensorData {
  return ArrayBuffer.isView(argument) ? argument : argument.data;
}

/** The kind of memory that holds the elements of an argument. */
export function kindOf(argument: Argument): DataKind {
  return ArrayBuffer.isView(argument) ? argument[Symbol.toStringTag] : argument.kind;
}

/** The value that the caller passed for an argument, or gets for an output. */
export function sourceOf(argument: Argument): unknown {
  return ArrayBuffer.isView(argument) ? argument : argument.source;
}

/** As {@link sourceOf}, for an output; null if the call does not have this output. */
export function resultOf(output: Argument | undefined): unknown {
  return output === undefined ? null : sourceOf(output);
}

function readTensorArgument(
  name: string,
  value: unknown,
  expected: string | undefined,
  isAccepted: ArrayGuard,
): TensorArgument {
  const isObject = typeof value === 'object' && value !== null && !isRevoked(value);
  if (!isObject || isDeviceBuffer(value))
    return wholeTensor(readData(name, value, expected, isAccepted), value);
  return readTensor(name, value, expected, isAccepted);
}

/** Reads a tensor, or an array behind a proxy. */
function readTensor(
  name: string,
  value: object,
  expected: string | undefined,
  isAccepted: ArrayGuard,
): TensorArgument {
  const tensor = withoutInherited(value as Partial<TensorLike<TensorData>>, tensorNames);
  const { data, dims, type, strides, offset } = tensor;
  const polyfill = data === undefined ? readPolyfillArray(name, value) : null;
  if (polyfill !== null) return wholeTensor(polyfill, value);
  const elements = readElements(name, dims !== undefined, data ?? value, expected, isAccepted);
  const array = elements.data;
  if (type !== undefined && typeof type !== 'string') {
    throw argumentError('ERR_INVALID_ARG_TYPE', `${name}.type`, 'a string', type);
  }
  const isView = strides !== undefined || offset !== undefined;
  const own = readDims(name, dims, isView ? null : array.length);
  const view = isView ? readView(name, array, own, strides, offset) : null;
  const length = isView ? sizeOf(own) : array.length;
  const { kind, wrap } = elements;
  // Properties are spelled out, here and below: a spread takes longer than a whole call on a short row.
  return { data: array, kind, dims: own, type, length, view, wrap, source: value };
}

type Data = Pick<TensorArgument, 'data' | 'kind' | 'wrap'>;

/**
 * Reads the data of a tensor. If the value is not a tensor, reads the value itself, so that an error
 * has the name of the argument.
 */
function readElements(
  name: string,
  isTensor: boolean,
  value: unknown,
  expected: string | undefined,
  isAccepted: ArrayGuard,
): Data {
  if (isAccepted(value) && value.length > 0) {
    return { data: value, kind: value[Symbol.toStringTag], wrap: null };
  }
  if (!isTensor) return readData(name, value, expected, isAccepted);
  const ofTensor =
    isAccepted === isFloatArray ? dataOfTensor : 'an Int8Array, Uint8Array or DeviceBuffer';
  return readData(`${name}.data`, value, ofTensor, isAccepted);
}

/** What a tensor's data must be, for error messages. */
const dataOfTensor = 'a Float32Array, Float64Array, Uint16Array, Float16Array or DeviceBuffer';

function readData(
  name: string,
  value: unknown,
  expected: string | undefined,
  isAccepted: ArrayGuard,
): Data {
  if (isDeviceBuffer(value)) return { data: value, kind: 'DeviceBuffer', wrap: null };
  return readHostArray(name, value, expected, isAccepted);
}

/** The TensorArgument of a whole array or buffer, without dims. */
function wholeTensor({ data, kind, wrap }: Data, source: unknown): TensorArgument {
  const { length } = data;
  return { data, kind, dims: null, type: undefined, length, view: null, wrap, source };
}

/** Reads dims and returns a copy. `length`: their required product; null for any. */
function readDims(name: string, dims: unknown, length: number | null): readonly number[] {
  const own = copyList(dims);
  const size = own === null ? NaN : sizeOf(own);
  if (length === null ? Number.isSafeInteger(size) : size === length) return own as number[];
  const code = isList(dims) ? 'ERR_OUT_OF_RANGE' : 'ERR_INVALID_ARG_TYPE';
  const product = length === null ? 'below 2^53' : `${String(length)}, the length of data`;
  const count = isList(dims) && own === null ? ` up to ${String(maxDims)}` : '';
  const expected = `an array of${count} integers >= 0 whose product is ${product}`;
  throw argumentError(code, `${name}.dims`, expected, dims);
}

/** Reads strides and offset of a tensor. All its elements must lie in its data. */
function readView(
  name: string,
  data: TensorData,
  dims: readonly number[],
  strides: unknown = contiguousStrides(dims),
  offset: unknown = 0,
): StridedView {
  const own = copyList(strides);
  if (own?.length !== dims.length || Number.isNaN(sizeOf(own))) {
    throw argumentError(
      isList(strides) ? 'ERR_OUT_OF_RANGE' : 'ERR_INVALID_ARG_TYPE',
      `${name}.strides`,
      `an array of ${String(dims.length)} integers >= 0, one per dim`,
      strides,
    );
  }
  if (!Number.isSafeInteger(offset) || (offset as number) < 0) {
    throw argumentError(
      typeof offset === 'number' ? 'ERR_OUT_OF_RANGE' : 'ERR_INVALID_ARG_TYPE',
      `${name}.offset`,
      'an integer >= 0',
      offset,
    );
  }
  const view = { strides: own as readonly number[], offset: (offset as number) + 0 };
  // Sums beyond 2^53 are rounded, but are still larger than any array.
  const end = view.offset + extentOf(dims, view.strides);
  if (end > data.length) {
    const requirement = `have at least ${String(end)} elements for these dims, strides and offset`;
    throw requirementError('ERR_OUT_OF_RANGE', `${name}.data`, requirement, data);
  }
  return view;
}

/** The product of `dims`, or NaN if one is not a non-negative integer. */
export function sizeOf(dims: readonly unknown[]): number {
  let size = 1;
  for (const dim of dims) {
    size *= Number.isSafeInteger(dim) && (dim as number) >= 0 ? (dim as number) : NaN;
  }
  return size;
}

/** The dtype that the `type` of a tensor over a `Uint16Array` states; undefined if it states none. */
export function statedType({ type, kind }: TensorArgument): string | undefined {
  return kind === 'Uint16Array' && (type === 'float16' || type === 'bfloat16') ? type : undefined;
}

/** Wraps memory for codes as an output in the form of `argument`: a bare array or buffer, or a tensor. */
export function codesLike(argument: Argument, data: TensorData): Argument {
  const isArray = ArrayBuffer.isView(data);
  if (isArray && ArrayBuffer.isView(argument)) return data;
  const { dims, length } = argument as TensorArgument;
  const kind = isArray ? data[Symbol.toStringTag] : 'DeviceBuffer';
  const source = dims === null ? data : { data, dims: dims.slice() };
  return { data, kind, dims, type: undefined, length, view: null, wrap: null, source };
}

/** As {@link codesLike}, for a result of the dtype of `argument`. */
export function outputLike(argument: Argument, data: TensorData): Argument {
  if (ArrayBuffer.isView(argument)) return data as FloatArray;
  const { kind, dims, type, length, wrap } = argument;
  const array = wrap === null ? data : wrap(data as FloatArray);
  const source = dims === null ? array : { data: array, dims: dims.slice() };
  return { data, kind, dims, type, length, view: null, wrap, source };
}
