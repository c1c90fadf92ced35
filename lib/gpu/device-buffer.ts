import type { NativeDeviceBuffer, NativeHostBuffer, NativeStream } from '../../binding';
import { cuda, readOrdinal, readPointer, type CudaDeviceOptions } from './cuda';
import {
  checkBufferDType,
  dtypeOf,
  dtypes,
  isElementArray,
  nativeView,
  type ArrayKind,
  type BufferDType,
  type DeviceDType,
  type CodeArray,
  type FloatArray,
  type NativeArray,
} from '../core/dtype';
import { argumentError, lengthError, requirementError } from '../core/errors';
import { readHostArray, readPolyfillArray } from '../core/host-array';
import type { HostArrayOf, HostBuffer } from './host-buffer';
import { knownOptions, readCount } from '../core/validate';
import { allocateArray } from '../core/outputs';
import { DeviceObject, Existing, findNative, nativeOf, ordinalOf } from './object';
import { nativeStream, readStream, type StreamOptions } from './stream';

/** Options of {@link DeviceBuffer.from}. */
export interface DeviceBufferFromOptions<D extends BufferDType> extends StreamOptions {
  /**
   * The dtype of the buffer. Default: float32 for a `Float32Array`, float16 for a `Float16Array`, int8
   * for an `Int8Array`. Required for a `Uint16Array` or a `Uint8Array`.
   */
  readonly dtype?: D | undefined;
  /** The GPU. Default: the device of `stream`, or the first of {@link devices}. */
  readonly device?: CudaDeviceOptions['device'] | undefined;
}

/** A source or a target of copies to or from a buffer. */
export type CopyPartner =
  FloatArray | CodeArray | HostBuffer<BufferDType> | DeviceBuffer<BufferDType>;

const deviceNames: ReadonlySet<string> = new Set(['device']);
const streamNames: ReadonlySet<string> = new Set(['stream']);
const fromNames: ReadonlySet<string> = new Set(['dtype', 'device', 'stream']);

/** The ordinal of a buffer's device. */
export const ordinalOfBuffer: (buffer: DeviceBuffer<BufferDType>) => number = ordinalOf;

/** The native buffer behind a DeviceBuffer, or null if the value is not a DeviceBuffer. */
export function nativeDeviceBuffer(value: unknown): NativeDeviceBuffer | null {
  return findNative('DeviceBuffer', value);
}

/**
 * Allocates memory for the stream's next work, which must be enqueued at once. Earlier work of the stream may
 * still be using the memory.
 */
export function bufferForStream<D extends BufferDType>(
  length: number,
  dtype: D,
  ordinal: number,
  stream: NativeStream | null,
): DeviceBuffer<D> {
  const native = cuda.createDeviceBuffer(ordinal, length, dtypes[dtype].code, stream);
  return new DeviceBuffer(length, dtype, new Existing(native, ordinal));
}

/** The native object of a DeviceBuffer or a HostBuffer, which copies access directly; else null. */
function nativeInPlace(partner: unknown): NativeDeviceBuffer | NativeHostBuffer | null {
  return nativeDeviceBuffer(partner) ?? findNative('HostBuffer', partner);
}

/**
 * An array of elements in the memory of a GPU.
 *
 * ```ts
 * using x = DeviceBuffer.from(values, { dtype: 'bfloat16' });
 * using y = new DeviceBuffer(x.length, 'bfloat16');
 * rmsNorm(x, weight, { out: y });
 * const result = await y.toHostAsync();
 * ```
 *
 * Operations on a buffer are enqueued on a {@link Stream}. Two streams do not wait for each other by
 * themselves. If one stream writes a buffer that another stream uses, let the other stream wait by
 * {@link Stream.wait}, or let the thread wait in between.
 *
 * It is safe to release a buffer at any time, by `dispose()`, by `using` or by garbage collection. Its
 * memory is reused only after the work that uses it is done: see {@link emptyCache}.
 */
export class DeviceBuffer<
  D extends BufferDType = DeviceDType,
> extends DeviceObject<'DeviceBuffer'> {
  /** The dtype of the elements. */
  readonly dtype: D;
  /** The number of elements. */
  readonly length: number;
  /** The size in bytes. */
  readonly byteLength: number;

  /**
   * Allocates uninitialised memory.
   *
   * @param length - the number of elements
   * @throws TypeError and RangeError for invalid arguments; CudaError `ERR_CUDA_UNAVAILABLE` without a
   * GPU, `ERR_CUDA_OUT_OF_MEMORY`
   */
  constructor(length: number, dtype: D, options?: CudaDeviceOptions);
  /** @internal */
  constructor(length: number, dtype: D, existing: Existing<NativeDeviceBuffer>);
  constructor(
    length: number,
    dtype: D,
    options: CudaDeviceOptions | Existing<NativeDeviceBuffer> = {},
  ) {
    readCount('length', length, 0);
    checkBufferDType(dtype);
    const { code, bytes } = dtypes[dtype];
    let existing = options;
    if (!Existing.is<NativeDeviceBuffer>(existing)) {
      const ordinal = readOrdinal(knownOptions(existing, deviceNames).device);
      const native = cuda.createDeviceBuffer(ordinal, length, code);
      existing = new Existing(native, ordinal);
    }
    super('DeviceBuffer', existing);
    this.dtype = dtype;
    this.length = length;
    this.byteLength = length * bytes;
  }

  /**
   * A copy of an array. The copy is enqueued; the array may be changed at once.
   *
   * @param source - float32 values, which are converted to any `dtype` but int8; 16-bit elements as bits
   * in a `Uint16Array`, or in a `Float16Array`; codes in an `Int8Array`, or as bits in a `Uint8Array`
   * @throws the errors of the constructor and of {@link DeviceBuffer.copyFrom}
   */
  static from<A extends FloatArray | CodeArray, D extends BufferDType = DTypeOf<A>>(
    source: A,
    options: DeviceBufferFromOptions<D> = {},
  ): DeviceBuffer<D> {
    const own = knownOptions(options, fromNames);
    const { data, kind } = readHostArray('source', source, sources, isElementArray);
    if (kind === 'Float64Array') {
      throw argumentError('ERR_INVALID_ARG_TYPE', 'source', sources, source);
    }
    const { stream } = own;
    if (stream !== undefined) nativeStream(stream);
    const { dtype = dtypeOfSource(kind) as D, device = stream?.device } = own;
    checkBufferDType(dtype);
    const ordinal = readOrdinal(device);
    const buffer = bufferForStream(data.length, dtype, ordinal, readStream(stream, ordinal));
    try {
      buffer.copyFrom(source, stream === undefined ? {} : { stream });
    } catch (error) {
      buffer.dispose();
      throw error;
    }
    return buffer;
  }

  /**
   * A buffer over memory that another library owns. This package never frees it. The memory must stay
   * allocated until the work that uses it is done.
   *
   * @param pointer - the address on the device: a `CUdeviceptr`, or a pointer of `cudaMalloc`
   * @param length - the number of elements
   * @throws TypeError `ERR_INVALID_ARG_VALUE` if the driver does not know the address as memory of this
   * device of at least this length, or if it is not aligned to the elements; and the errors of the
   * constructor
   */
  static fromPointer<D extends BufferDType>(
    pointer: bigint,
    length: number,
    dtype: D,
    options: CudaDeviceOptions = {},
  ): DeviceBuffer<D> {
    const { device } = knownOptions(options, deviceNames);
    readCount('length', length, 0);
    checkBufferDType(dtype);
    const { code } = dtypes[dtype];
    const ordinal = readOrdinal(device);
    const native = cuda.foreignDeviceBuffer(ordinal, readPointer(pointer), length, code);
    return new DeviceBuffer(length, dtype, new Existing(native, ordinal));
  }

  /**
   * The address on the device, for other libraries. It is valid until this buffer and all other views
   * of its memory have been disposed of.
   *
   * @throws Error `ERR_DISPOSED`
   */
  get pointer(): bigint {
    return cuda.deviceBufferPointer(nativeOf(this));
  }

  /**
   * A buffer over the same memory: the elements from `begin` up to, but not including, `end`. As with
   * `subarray` of typed arrays, negative numbers count from the end. The memory stays allocated until
   * all of its views have been disposed of.
   *
   * @throws TypeError `ERR_INVALID_ARG_TYPE`; Error `ERR_DISPOSED`
   */
  subarray(begin = 0, end = this.length): DeviceBuffer<D> {
    const first = readIndex('begin', begin, this.length);
    const last = Math.max(first, readIndex('end', end, this.length));
    const native = cuda.deviceBufferView(nativeOf(this), first, last);
    return new DeviceBuffer(last - first, this.dtype, new Existing(native, ordinalOf(this)));
  }

  /**
   * Enqueues a copy of `source` to this buffer. An array is copied with its values at the call, and may
   * be changed at once; a HostBuffer is read when the copy runs. If the source is on another device,
   * the stream may belong to either device. Two views of one memory must not overlap in part.
   *
   * @param source - an array or a buffer of this length and dtype. The values of a `Float32Array` are
   * converted to any dtype but int8
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`, RangeError
   * `ERR_OUT_OF_RANGE`; Error `ERR_DISPOSED`; CudaError. Errors of enqueued work are thrown when the
   * stream is waited for
   */
  copyFrom(source: CopyPartner, options: StreamOptions = {}): void {
    this.#copyFrom(source, options, true);
  }

  /**
   * As {@link DeviceBuffer.copyFrom}; the promise is fulfilled when the copy is done. An array is in
   * page-locked memory as a whole, while `copyFrom` waits for earlier chunks of an array beyond 64 MiB.
   */
  async copyFromAsync(source: CopyPartner, options: StreamOptions = {}): Promise<void> {
    return cuda.streamPassed(this.#copyFrom(source, options, false));
  }

  /**
   * Copies this buffer to `target`. A copy to an array is done on return: the thread waits for all work
   * on the stream. A copy to a HostBuffer or a DeviceBuffer is enqueued.
   *
   * @param target - an array or a buffer of this length and dtype. For a `Float32Array`, elements of any
   * dtype but int8 are converted
   * @throws the errors of {@link DeviceBuffer.copyFrom}; for an array also `ERR_INVALID_STATE` during a
   * capture
   */
  copyTo(target: CopyPartner, options: StreamOptions = {}): void {
    const inPlace = this.#copyInPlace('target', target, options);
    if (inPlace !== null) return;
    const stream = this.#stream(options);
    const [array, code] = this.#readArray('target', target);
    cuda.deviceBufferRead(nativeOf(this), array, code, stream);
  }

  /**
   * As {@link DeviceBuffer.copyTo}; the promise is fulfilled when the target has the elements. An array is
   * written when the promise settles. If it is detached by then, the promise rejects with
   * `ERR_INVALID_ARG_VALUE`.
   */
  async copyToAsync(target: CopyPartner, options: StreamOptions = {}): Promise<void> {
    const inPlace = this.#copyInPlace('target', target, options);
    if (inPlace !== null) return cuda.streamPassed(inPlace);
    const stream = this.#stream(options);
    const [array, code] = this.#readArray('target', target);
    return cuda.deviceBufferReadAsync(nativeOf(this), array, code, stream);
  }

  /**
   * A new array with the elements: a `Float32Array`, a `Uint16Array` of 16-bit elements, an `Int8Array`,
   * or a `Uint8Array` of float8 bits. Blocks the thread until all work on the stream is done.
   *
   * @throws the errors of {@link DeviceBuffer.copyTo}; Error `ERR_MEMORY_ALLOCATION_FAILED`
   */
  toHost(options: StreamOptions = {}): HostArrayOf<D> {
    const array = this.#newArray();
    this.copyTo(array, options);
    return array;
  }

  /** {@link DeviceBuffer.toHost} without blocking the thread: returns a promise of the array. */
  async toHostAsync(options: StreamOptions = {}): Promise<HostArrayOf<D>> {
    const array = this.#newArray();
    await this.copyToAsync(array, options);
    return array;
  }

  /**
   * Enqueues a fill of every element with `value`, rounded to the dtype.
   *
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`; Error `ERR_DISPOSED`;
   * CudaError
   */
  fill(value: number, options: StreamOptions = {}): this {
    if (typeof value !== 'number') {
      throw argumentError('ERR_INVALID_ARG_TYPE', 'value', 'a number', value);
    }
    cuda.deviceBufferFill(nativeOf(this), value, this.#stream(options));
    return this;
  }

  /**
   * Releases the memory without waiting. The memory is reused after all its other views and the graphs that
   * use it have been disposed of, and after work in flight is done. Idempotent.
   */
  override dispose(): void {
    super.dispose();
  }

  #stream(options: StreamOptions) {
    return readStream(knownOptions(options, streamNames).stream, ordinalOf(this));
  }

  #newArray(): HostArrayOf<D> {
    return allocateArray(dtypes[this.dtype].bits, this.length) as HostArrayOf<D>;
  }

  #copyFrom(source: CopyPartner, options: StreamOptions, mayWait: boolean) {
    const inPlace = this.#copyInPlace('source', source, options);
    if (inPlace !== null) return inPlace;
    const stream = this.#stream(options);
    const [array, code] = this.#readArray('source', source);
    cuda.deviceBufferWrite(nativeOf(this), array, code, stream, mayWait);
    return stream;
  }

  /**
   * Enqueues a copy from or to a HostBuffer or a DeviceBuffer, and returns the stream of the copy. For an
   * array, copies nothing and returns null.
   */
  #copyInPlace(name: 'source' | 'target', partner: CopyPartner, options: StreamOptions) {
    const native = nativeInPlace(partner);
    if (native === null) return null;
    const { dtype, length } = partner as HostBuffer<BufferDType> | DeviceBuffer<BufferDType>;
    if (dtype !== this.dtype) {
      const requirement = `have dtype '${this.dtype}', as the buffer does`;
      throw requirementError('ERR_INVALID_ARG_VALUE', name, requirement, partner);
    }
    this.#checkLength(name, length, partner);
    const { stream: streamOption } = knownOptions(options, streamNames);
    if (streamOption !== undefined) nativeStream(streamOption);
    const isPartnersStream =
      nativeDeviceBuffer(partner) !== null &&
      streamOption?.device === (partner as DeviceBuffer<BufferDType>).device;
    const ordinal = isPartnersStream
      ? ordinalOf(partner as DeviceBuffer<BufferDType>)
      : ordinalOf(this);
    const stream = readStream(streamOption, ordinal);
    if (name === 'source') cuda.copyBuffer(nativeOf(this), native, stream);
    else cuda.copyBuffer(native, nativeOf(this), stream);
    return stream;
  }

  /** An array and the code of its dtype, as native calls take them. */
  #readArray(name: 'source' | 'target', array: unknown): [NativeArray, number] {
    const polyfill = readPolyfillArray(name, array);
    if (polyfill === null && !ArrayBuffer.isView(array)) {
      const expected = 'a typed array, a HostBuffer or a DeviceBuffer';
      throw argumentError('ERR_INVALID_ARG_TYPE', name, expected, array);
    }
    const { data, kind } = polyfill ?? readHostArray(name, array, undefined, isElementArray);
    // float32 cannot be converted to int8 without a scale.
    const converted = this.dtype === 'int8' ? [] : ['Float32Array'];
    const kinds = new Set<string>([...converted, ...dtypes[this.dtype].kinds]);
    if (!kinds.has(kind)) {
      const article = this.dtype === 'int8' ? 'an' : 'a';
      const expected = `${article} ${[...kinds].join(' or ')}, since the buffer is ${this.dtype}`;
      throw argumentError('ERR_INVALID_ARG_TYPE', name, expected, array);
    }
    this.#checkLength(name, data.length, array);
    return [nativeView(data), dtypes[kind === 'Float32Array' ? 'float32' : this.dtype].code];
  }

  #checkLength(name: string, length: number, partner: unknown): void {
    if (length === this.length) return;
    throw lengthError(name, this.length, partner);
  }
}

/** The types of arrays that a buffer can be made from, for error messages. */
const sources = 'a Float32Array, Uint16Array, Float16Array, Int8Array or Uint8Array';

/** The dtype of an array of a kind, if the caller states none. Refuses a kind that fits several dtypes. */
function dtypeOfSource(kind: ArrayKind): BufferDType {
  if (kind === 'Int8Array') return 'int8';
  if (kind !== 'Uint8Array') return dtypeOf('source', kind, undefined) as DeviceDType;
  const expected = "'float8_e4m3' or 'float8_e5m2', since 'source' is a Uint8Array";
  throw argumentError('ERR_INVALID_ARG_VALUE', 'dtype', expected, undefined);
}

/** The dtype of a buffer made from an array of type A, if the caller states none. */
type DTypeOf<A> = A extends Float32Array
  ? 'float32'
  : A extends Int8Array
    ? 'int8'
    : A extends Uint8Array
      ? 'float8_e4m3' | 'float8_e5m2'
      : A extends NativeArray
        ? DeviceDType
        : 'float16';

/** A bound of a view, clamped to 0 … `length`; negative values count from the end. */
function readIndex(name: string, value: unknown, length: number): number {
  if (typeof value !== 'number' || Number.isNaN(value)) {
    throw argumentError('ERR_INVALID_ARG_TYPE', name, 'a number', value);
  }
  const index = Math.trunc(value);
  return index < 0 ? Math.max(0, length + index) : Math.min(index, length);
}
