import { copyList, isList, isRevoked, maxDims, withoutInherited } from '../core/caller-values';
import {
  arrayKind,
  isFloatArray,
  type CodeArray,
  type Float16ArrayLike,
  type FloatArray,
  type IsOfArrays,
  type QuantizedDType,
} from '../core/dtype';
import { argumentError } from '../core/errors';
import {
  readHostArray,
  readPackagedArray,
  refuseDetached,
  type HostArray,
} from '../core/host-array';
import type { DeviceBuffer } from '../gpu/device-buffer';
import { isDeviceBuffer, type DataKind, type TensorData } from './data';
import { contiguousStrides, extentOf } from './strides';

/**
 * An array with a shape, as onnxruntime's and transformers.js's tensors are, or a part of one. `dims`
 * multiply to `data.length`, unless `strides` or `offset` say which elements are meant:
 *
 * ```ts
 * // The queries of a fused projection (tokens, 3, heads, headDim), for norms of each head.
 * const stride = 3 * heads * headDim;
 * const q = { data: qkv, dims: [tokens, heads, headDim], strides: [stride, headDim, 1] };
 * const k = { ...q, offset: heads * headDim };
 * ```
 *
 * The normalised dims must be contiguous, and all others together have one stride or two.
 *
 * Rows of an input may share elements, as those of a stride of 0 do: each is computed. Rows of an
 * output may not. A backward that computes no dx needs a dy or an x whose rows do not share elements.
 */
export interface TensorLike<A extends TensorData = FloatArray> {
  /** The elements, row-major unless `strides` say otherwise. */
  readonly data: A;
  /** The shape: up to 64 whole numbers whose product is `data.length`, unless it is a part. */
  readonly dims: readonly number[];
  /** Where there is one, it is taken as the dtype of 16-bit `data`. */
  readonly type?: string | undefined;
  /**
   * Elements from one index of a dim to the next, as PyTorch's `stride()` says them: whole numbers
   * from 0 up. Default: those of a tensor without gaps.
   */
  readonly strides?: readonly number[] | undefined;
  /** The element of `data` that the tensor begins at. Default 0. */
  readonly offset?: number | undefined;
}

/**
 * A tensor of another library that may have elements of any kind, and says of which in `type`: what a
 * session of onnxruntime returns, or a tensor of transformers.js. Its `data` must be an array that
 * {@link TensorLike} has, or the call throws `ERR_INVALID_ARG_TYPE`.
 */
export interface ForeignTensor {
  /** The elements, row-major. */
  readonly data: ArrayBufferView | readonly unknown[];
  /** The shape. */
  readonly dims: readonly number[];
  /** As there; `'float16'` and `'bfloat16'` are taken as the dtype of 16-bit `data`. */
  readonly type: string;
}

/** A tensor in memory of the host. */
export type Input = FloatArray | TensorLike | ForeignTensor;

/** A tensor in memory of a GPU. */
export type DeviceInput = DeviceBuffer | TensorLike<DeviceBuffer>;

/** What functions take for a tensor: all of a call's in arrays, or all on one GPU. */
export type AnyInput = Input | DeviceInput;

/** What is made for an array or a buffer of type A. */
export type Fresh<A> =
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

/** What functions return for an input of type T: an array for an array, a tensor for a tensor. */
export type Output<T> = T extends { readonly data: infer A; readonly dims: readonly number[] }
  ? { data: Fresh<A>; dims: number[] }
  : Fresh<T>;

/** What functions return for codes of an input of type T. */
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

/** What functions return for the scales of codes of an input of type T. */
export type Scale<T> = T extends { readonly data: infer A; readonly dims: readonly number[] }
  ? Scale<A>
  : T extends DeviceBuffer
    ? DeviceBuffer<'float32'>
    : Float32Array;

/** What functions return for rstd of an input of type T. */
export type Rstd<T> = T extends { readonly data: infer A; readonly dims: readonly number[] }
  ? Rstd<A>
  : T extends DeviceBuffer
    ? DeviceBuffer<'float32'>
    : T extends Float64Array
      ? Float64Array
      : Float32Array;

/** Which elements of its data a tensor has. */
export interface StridedView {
  readonly strides: readonly number[];
  readonly offset: number;
}

/** An argument that is no plain array, taken apart; or a result in the form of one. */
export interface TensorArgument {
  readonly data: TensorData;
  readonly kind: DataKind;
  /** null for a plain array or buffer. */
  readonly dims: readonly number[] | null;
  /** The dtype a tensor states, or undefined. */
  readonly type: string | undefined;
  /** In elements. */
  readonly length: number;
  /** null if the elements are those of `data`. */
  readonly view: StridedView | null;
  /** Of an array of a class that the addon does not know: see {@link HostArray}. */
  readonly wrap: HostArray['wrap'];
  /** What the caller has passed, or is to get. */
  readonly source: unknown;
}

const tensorNames = ['data', 'dims', 'type', 'strides', 'offset'];

/** An argument that has been read. A plain array stands for itself, which takes no time. */
export type Argument = FloatArray | CodeArray | TensorArgument;

/** Checks that `value` is a non-detached array or a tensor of one whose dims fit. */
export function readArgument(
  name: string,
  value: unknown,
  expected?: string,
  isOurs: IsOfArrays = isFloatArray,
): Argument {
  if (!ArrayBuffer.isView(value)) return readTensorArgument(name, value, expected, isOurs);
  arrayKind(name, value, expected, isOurs);
  const array = value as FloatArray;
  if (array.length === 0) refuseDetached(name, 0, array);
  return array;
}

/** As {@link readArgument}, of an x whose kind of array is checked later, with its dtype. */
export function readX(value: unknown): Argument {
  const isArray = ArrayBuffer.isView(value) && (value as FloatArray).length > 0;
  return isArray ? (value as FloatArray) : readArgument('x', value);
}

/** Checks that the memory of an argument that was read before is still there. */
export function recheck(name: string, argument: Argument): Argument {
  const data = dataOf(argument);
  if (ArrayBuffer.isView(data)) refuseDetached(name, data.length, data);
  return argument;
}

/** An argument, taken apart. */
export function tensorOf(argument: Argument): TensorArgument {
  if (!ArrayBuffer.isView(argument)) return argument;
  return wholeTensor({ data: argument, kind: kindOf(argument), wrap: null }, argument);
}

/** What holds the elements of an argument. */
export function dataOf(argument: Argument): TensorData {
  return ArrayBuffer.isView(argument) ? argument : argument.data;
}

export function kindOf(argument: Argument): DataKind {
  return ArrayBuffer.isView(argument) ? argument[Symbol.toStringTag] : argument.kind;
}

/** What the caller gets for an output. */
export function sourceOf(argument: Argument): unknown {
  return ArrayBuffer.isView(argument) ? argument : argument.source;
}

/** The same; null for an output that there is not. */
export function resultOf(output: Argument | undefined): unknown {
  return output === undefined ? null : sourceOf(output);
}

function readTensorArgument(
  name: string,
  value: unknown,
  expected: string | undefined,
  isOurs: IsOfArrays,
): TensorArgument {
  const isObject = typeof value === 'object' && value !== null && !isRevoked(value);
  if (!isObject || isDeviceBuffer(value))
    return wholeTensor(readData(name, value, expected, isOurs), value);
  return readTensor(name, value, expected, isOurs);
}

/** A tensor, or an array that is behind a proxy. */
function readTensor(
  name: string,
  value: object,
  expected: string | undefined,
  isOurs: IsOfArrays,
): TensorArgument {
  const tensor = withoutInherited(value as Partial<TensorLike<TensorData>>, tensorNames);
  const { data, dims, type, strides, offset } = tensor;
  const packaged = data === undefined ? readPackagedArray(name, value) : null;
  if (packaged !== null) return wholeTensor(packaged, value);
  const elements = readElements(name, dims !== undefined, data ?? value, expected, isOurs);
  const array = elements.data;
  if (type !== undefined && typeof type !== 'string') {
    throw argumentError('ERR_INVALID_ARG_TYPE', `${name}.type`, 'a string', type);
  }
  const isView = strides !== undefined || offset !== undefined;
  const own = readDims(name, dims, isView ? null : array.length);
  const view = isView ? readView(name, array, own, strides, offset) : null;
  const length = isView ? sizeOf(own) : array.length;
  const { kind, wrap } = elements;
  // All is spelled out, here and below: a spread takes longer than a whole call on a short row.
  return { data: array, kind, dims: own, type, length, view, wrap, source: value };
}

type Data = Pick<TensorArgument, 'data' | 'kind' | 'wrap'>;

/** The data of a tensor; of what is none, so that it is called by its own name, the value itself. */
function readElements(
  name: string,
  isTensor: boolean,
  value: unknown,
  expected: string | undefined,
  isOurs: IsOfArrays,
): Data {
  if (isOurs(value) && value.length > 0) {
    return { data: value, kind: value[Symbol.toStringTag], wrap: null };
  }
  if (!isTensor) return readData(name, value, expected, isOurs);
  const ofTensor =
    isOurs === isFloatArray ? dataOfTensor : 'an Int8Array, Uint8Array or DeviceBuffer';
  return readData(`${name}.data`, value, ofTensor, isOurs);
}

/** What a tensor's data must be, in messages. */
const dataOfTensor = 'a Float32Array, Float64Array, Uint16Array, Float16Array or DeviceBuffer';

function readData(
  name: string,
  value: unknown,
  expected: string | undefined,
  isOurs: IsOfArrays,
): Data {
  if (isDeviceBuffer(value)) return { data: value, kind: 'DeviceBuffer', wrap: null };
  return readHostArray(name, value, expected, isOurs);
}

/** All of an array or a buffer. */
function wholeTensor({ data, kind, wrap }: Data, source: unknown): TensorArgument {
  const { length } = data;
  return { data, kind, dims: null, type: undefined, length, view: null, wrap, source };
}

/** A copy of dims. `length`: what they must multiply to; null for any length. */
function readDims(name: string, dims: unknown, length: number | null): readonly number[] {
  const own = copyList(dims);
  const size = own === null ? NaN : sizeOf(own);
  if (length === null ? Number.isSafeInteger(size) : size === length) return own as number[];
  const code = isList(dims) ? 'ERR_OUT_OF_RANGE' : 'ERR_INVALID_ARG_TYPE';
  const product = length === null ? 'below 2^53' : `${String(length)}, the length of data`;
  const count = isList(dims) && own === null ? ` up to ${String(maxDims)}` : '';
  const expected = `an array of${count} whole numbers whose product is ${product}`;
  throw argumentError(code, `${name}.dims`, expected, dims);
}

/** Checks strides and offset of a tensor, whose elements must all lie in its data. */
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
      `an array of ${String(dims.length)} whole numbers from 0 up, one for each of dims`,
      strides,
    );
  }
  if (!Number.isSafeInteger(offset) || (offset as number) < 0) {
    throw argumentError(
      typeof offset === 'number' ? 'ERR_OUT_OF_RANGE' : 'ERR_INVALID_ARG_TYPE',
      `${name}.offset`,
      'a whole number from 0 up',
      offset,
    );
  }
  const view = { strides: own as readonly number[], offset: (offset as number) + 0 };
  // Sums beyond 2^53 are rounded, and still larger than any array.
  const end = view.offset + extentOf(dims, view.strides);
  if (end > data.length) {
    const expected = `of at least ${String(end)} elements, which dims, strides and offset reach`;
    throw argumentError('ERR_OUT_OF_RANGE', `${name}.data`, expected, data);
  }
  return view;
}

/** The product of `dims`, or NaN if one is not a whole number from 0 up. */
export function sizeOf(dims: readonly unknown[]): number {
  let size = 1;
  for (const dim of dims) {
    size *= Number.isSafeInteger(dim) && (dim as number) >= 0 ? (dim as number) : NaN;
  }
  return size;
}

/** The dtype that `type` of a tensor states, where it is one of ours. */
export function statedType({ type, kind }: TensorArgument): string | undefined {
  return kind === 'Uint16Array' && (type === 'float16' || type === 'bfloat16') ? type : undefined;
}

/** Memory for codes, as an output of the form that `argument` has. */
export function codesLike(argument: Argument, data: TensorData): Argument {
  const isArray = ArrayBuffer.isView(data);
  if (isArray && ArrayBuffer.isView(argument)) return data;
  const { dims, length } = argument as TensorArgument;
  const kind = isArray ? data[Symbol.toStringTag] : 'DeviceBuffer';
  const source = dims === null ? data : { data, dims: dims.slice() };
  return { data, kind, dims, type: undefined, length, view: null, wrap: null, source };
}

/** Memory for a result, as an output in the form of `argument`. */
export function outputLike(argument: Argument, data: TensorData): Argument {
  if (ArrayBuffer.isView(argument)) return data as FloatArray;
  const { kind, dims, type, length, wrap } = argument;
  const array = wrap === null ? data : wrap(data as FloatArray);
  const source = dims === null ? array : { data: array, dims: dims.slice() };
  return { data, kind, dims, type, length, view: null, wrap, source };
}
