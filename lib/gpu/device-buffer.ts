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
import { argumentError } from '../core/errors';
import { readHostArray, readPackagedArray } from '../core/host-array';
import type { HostArrayOf, HostBuffer } from './host-buffer';
import { knownOptions, readCount } from '../core/validate';
import { freshArray } from '../core/outputs';
import { DeviceObject, Existing, findNative, nativeOf, ordinalOf } from './object';
import { nativeStream, readStream, type StreamOptions } from './stream';

/** Options of {@link DeviceBuffer.from}. */
export interface DeviceBufferFromOptions<D extends BufferDType> extends StreamOptions {
  /** Default: float32 for a `Float32Array`, float16 for a `Float16Array`. */
  readonly dtype?: D | undefined;
  /** Default: that of `stream`, or the first of {@link devices}. */
  readonly device?: CudaDeviceOptions['device'] | undefined;
}

/** What can be copied to a buffer, or to what a buffer can be. */
export type CopyPartner =
  FloatArray | CodeArray | HostBuffer<BufferDType> | DeviceBuffer<BufferDType>;

const deviceNames: ReadonlySet<string> = new Set(['device']);
const streamNames: ReadonlySet<string> = new Set(['stream']);
const fromNames: ReadonlySet<string> = new Set(['dtype', 'device', 'stream']);

/** The ordinal of a buffer's device. */
export const ordinalOfBuffer: (buffer: DeviceBuffer<BufferDType>) => number = ordinalOf;

/** The native buffer of one of ours, or null if the value is none. */
export function nativeDeviceBuffer(value: unknown): NativeDeviceBuffer | null {
  return findNative('DeviceBuffer', value);
}

/** Memory of the stream's device for what its next work writes, which must be enqueued at once. */
export function bufferForStream<D extends BufferDType>(
  length: number,
  dtype: D,
  ordinal: number,
  stream: NativeStream | null,
): DeviceBuffer<D> {
  const native = cuda.createDeviceBuffer(ordinal, length, dtypes[dtype].code, stream);
  return new DeviceBuffer(length, dtype, new Existing(native, ordinal));
}

/** The native side of a copy that is done in place. */
function nativeInPlace(partner: unknown): NativeDeviceBuffer | NativeHostBuffer | null {
  return nativeDeviceBuffer(partner) ?? findNative('HostBuffer', partner);
}

/**
 * Elements in the memory of a GPU.
 *
 * ```ts
 * using x = DeviceBuffer.from(values, { dtype: 'bfloat16' });
 * using y = new DeviceBuffer(x.length, 'bfloat16');
 * rmsNorm(x, weight, { out: y });
 * const result = await y.toHostAsync();
 * ```
 *
 * What is done with it is enqueued on a {@link Stream}. Two streams do not wait for each other of
 * themselves: a buffer that is written on one and used on another needs {@link Stream.wait}, or to
 * be waited for in between.
 *
 * To release it, by `dispose()`, by `using` or because nothing refers to it any more, is safe at
 * any time: its memory is used again when the work that uses it is done ({@link emptyCache}).
 */
export class DeviceBuffer<
  D extends BufferDType = DeviceDType,
> extends DeviceObject<'DeviceBuffer'> {
  /** Of its elements. */
  readonly dtype: D;
  /** Elements. */
  readonly length: number;
  /** Its size in bytes. */
  readonly byteLength: number;

  /**
   * Memory whose content is not set.
   *
   * @param length - elements
   * @throws TypeError and RangeError for arguments that are not as described; CudaError
   * `ERR_CUDA_UNAVAILABLE` without a GPU, `ERR_CUDA_OUT_OF_MEMORY`
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
   * A copy of an array. It is enqueued, of the array as it is now.
   *
   * @param source - float32 values, converted if `dtype` is another but int8, or the bits in a
   * `Uint16Array`, or a `Float16Array`; codes in an `Int8Array`, or their bits in a `Uint8Array`
   * @throws as the constructor and {@link DeviceBuffer.copyFrom} do
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
   * Memory that another library owns. It is never freed here, and must stay until the work that uses
   * it is done.
   *
   * @param pointer - its address on the device: a `CUdeviceptr`, or what `cudaMalloc` gave
   * @param length - elements
   * @throws TypeError `ERR_INVALID_ARG_VALUE` if the driver does not know it for memory of this
   * device, and as long, or it is not aligned to its elements; and as the constructor does
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
   * The address on the device, for other libraries: good as long as this buffer, or another view of
   * its memory, has not been disposed of.
   *
   * @throws Error `ERR_DISPOSED`
   */
  get pointer(): bigint {
    return cuda.deviceBufferPointer(nativeOf(this));
  }

  /**
   * The elements from `begin` up to, and without, `end`, as a buffer over the same memory, which
   * stays until all of its views have been disposed of. As `subarray` of typed arrays: negative
   * numbers count from the end.
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
   * Enqueues a copy of `source` to this buffer. Of an array it is a copy of what it is now, and it
   * may be changed at once; a HostBuffer is read when the copy runs. Of a buffer on another device,
   * the stream may be of either.
   *
   * @param source - of this length. An array or a buffer of this dtype; a `Float32Array` is
   * converted to it
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`, RangeError
   * `ERR_OUT_OF_RANGE`; Error `ERR_DISPOSED`; CudaError. Errors of work that is enqueued come when
   * the stream is waited for
   */
  copyFrom(source: CopyPartner, options: StreamOptions = {}): void {
    this.#copyFrom(source, options, true);
  }

  /**
   * {@link DeviceBuffer.copyFrom}, fulfilled when the copy has been made. Takes page-locked memory
   * for all of an array at once, where `copyFrom` waits for earlier parts of one beyond 64 MiB.
   */
  async copyFromAsync(source: CopyPartner, options: StreamOptions = {}): Promise<void> {
    return cuda.streamPassed(this.#copyFrom(source, options, false));
  }

  /**
   * Copies this buffer to `target`. An array has it on return, which takes until all that the stream
   * holds is done. For a HostBuffer or a DeviceBuffer the copy is enqueued.
   *
   * @param target - of this length. An array or a buffer of this dtype; to a `Float32Array` is
   * converted
   * @throws as {@link DeviceBuffer.copyFrom} does; for an array also `ERR_INVALID_STATE` during a
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
   * {@link DeviceBuffer.copyTo}, fulfilled when the target has the elements. An array is written
   * when the promise settles: if it is gone by then, it rejects with `ERR_INVALID_ARG_VALUE`.
   */
  async copyToAsync(target: CopyPartner, options: StreamOptions = {}): Promise<void> {
    const inPlace = this.#copyInPlace('target', target, options);
    if (inPlace !== null) return cuda.streamPassed(inPlace);
    const stream = this.#stream(options);
    const [array, code] = this.#readArray('target', target);
    return cuda.deviceBufferReadAsync(nativeOf(this), array, code, stream);
  }

  /**
   * A new array of the elements: a `Float32Array`, the bits in a `Uint16Array`, an `Int8Array`, or the
   * bits of float8 in a `Uint8Array`. Waits, and blocks the thread, for all that the stream holds.
   *
   * @throws as {@link DeviceBuffer.copyTo} does; Error `ERR_MEMORY_ALLOCATION_FAILED`
   */
  toHost(options: StreamOptions = {}): HostArrayOf<D> {
    const array = this.#newArray();
    this.copyTo(array, options);
    return array;
  }

  /** {@link DeviceBuffer.toHost} without blocking. */
  async toHostAsync(options: StreamOptions = {}): Promise<HostArrayOf<D>> {
    const array = this.#newArray();
    await this.copyToAsync(array, options);
    return array;
  }

  /**
   * Enqueues setting every element to `value`, rounded to the dtype.
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
   * Releases the memory. It is used again when its other views have been disposed of, graphs that
   * use it, too, and work in flight is done; nothing waits for that. Idempotent.
   */
  override dispose(): void {
    super.dispose();
  }

  #stream(options: StreamOptions) {
    return readStream(knownOptions(options, streamNames).stream, ordinalOf(this));
  }

  #newArray(): HostArrayOf<D> {
    return freshArray(dtypes[this.dtype].bits, this.length) as HostArrayOf<D>;
  }

  #copyFrom(source: CopyPartner, options: StreamOptions, mayWait: boolean) {
    const inPlace = this.#copyInPlace('source', source, options);
    if (inPlace !== null) return inPlace;
    const stream = this.#stream(options);
    const [array, code] = this.#readArray('source', source);
    cuda.deviceBufferWrite(nativeOf(this), array, code, stream, mayWait);
    return stream;
  }

  /** Copies from or to a partner that is no array, and returns the stream; null for an array. */
  #copyInPlace(name: 'source' | 'target', partner: CopyPartner, options: StreamOptions) {
    const native = nativeInPlace(partner);
    if (native === null) return null;
    const { dtype, length } = partner as HostBuffer<BufferDType> | DeviceBuffer<BufferDType>;
    if (dtype !== this.dtype) {
      const expected = `of ${this.dtype}, as the buffer is`;
      throw argumentError('ERR_INVALID_ARG_VALUE', name, expected, partner);
    }
    this.#checkLength(name, length, partner);
    const { stream: stated } = knownOptions(options, streamNames);
    if (stated !== undefined) nativeStream(stated);
    const isOfPartner =
      nativeDeviceBuffer(partner) !== null &&
      stated?.device === (partner as DeviceBuffer<BufferDType>).device;
    const ordinal = isOfPartner ? ordinalOf(partner as DeviceBuffer<BufferDType>) : ordinalOf(this);
    const stream = readStream(stated, ordinal);
    if (name === 'source') cuda.copyBuffer(nativeOf(this), native, stream);
    else cuda.copyBuffer(native, nativeOf(this), stream);
    return stream;
  }

  /** An array and its dtype, as native calls take them. */
  #readArray(name: 'source' | 'target', array: unknown): [NativeArray, number] {
    const packaged = readPackagedArray(name, array);
    if (packaged === null && !ArrayBuffer.isView(array)) {
      const expected = 'a typed array, a HostBuffer or a DeviceBuffer';
      throw argumentError('ERR_INVALID_ARG_TYPE', name, expected, array);
    }
    const { data, kind } = packaged ?? readHostArray(name, array, undefined, isElementArray);
    // Without a scale float32 says nothing in int8.
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
    throw argumentError('ERR_OUT_OF_RANGE', name, `of ${this.length} elements`, partner);
  }
}

/** What a buffer can be made of, in messages. */
const sources = 'a Float32Array, Uint16Array, Float16Array, Int8Array or Uint8Array';

/** The dtype of an array that the caller does not state. */
function dtypeOfSource(kind: ArrayKind): BufferDType {
  if (kind === 'Int8Array') return 'int8';
  if (kind !== 'Uint8Array') return dtypeOf('source', kind, undefined) as DeviceDType;
  const expected = "'float8_e4m3' or 'float8_e5m2', since 'source' is a Uint8Array";
  throw argumentError('ERR_INVALID_ARG_VALUE', 'dtype', expected, undefined);
}

/** The dtype that an array of a kind has unless it is said. */
type DTypeOf<A> = A extends Float32Array
  ? 'float32'
  : A extends Int8Array
    ? 'int8'
    : A extends Uint8Array
      ? 'float8_e4m3' | 'float8_e5m2'
      : A extends NativeArray
        ? DeviceDType
        : 'float16';

/** A bound of a view, from 0 to `length`. */
function readIndex(name: string, value: unknown, length: number): number {
  if (typeof value !== 'number' || Number.isNaN(value)) {
    throw argumentError('ERR_INVALID_ARG_TYPE', name, 'a number', value);
  }
  const index = Math.trunc(value);
  return index < 0 ? Math.max(0, length + index) : Math.min(index, length);
}
