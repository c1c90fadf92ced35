import type { NativeData, NativeDeviceBuffer, NativeStream } from '../../binding';
import {
  bufferForStream,
  nativeDeviceBuffer,
  ordinalOfBuffer,
  type DeviceBuffer,
} from '../gpu/device-buffer';
import {
  dtypes,
  nativeView,
  type ArrayKind,
  type BufferDType,
  type CodeArray,
  type DeviceDType,
  type FloatArray,
  type QuantizedDType,
} from '../core/dtype';
import { argumentError } from '../core/errors';
import { allocateArray } from '../core/outputs';
import { readStream } from '../gpu/stream';

/** The memory of a tensor's elements: an array, or a buffer on a GPU. */
export type TensorData = FloatArray | CodeArray | DeviceBuffer<BufferDType>;

/** The kind of memory of a tensor's elements: the array's class, or `'DeviceBuffer'`. */
export type DataKind = ArrayKind | 'DeviceBuffer';

export function isDeviceBuffer(value: unknown): value is DeviceBuffer<BufferDType> {
  return nativeDeviceBuffer(value) !== null;
}

/** The dtype of a buffer that holds a tensor. Refuses quantised codes. */
export function tensorDType(name: string, buffer: DeviceBuffer<BufferDType>): DeviceDType {
  const { dtype } = buffer;
  if (dtypes[dtype].bytes > 1) return dtype as DeviceDType;
  const expected = 'a float32, float16 or bfloat16 DeviceBuffer';
  throw argumentError('ERR_INVALID_ARG_TYPE', name, expected, buffer);
}

/** The memory of a tensor as an argument of the addon. */
export function nativeData(data: TensorData): NativeData {
  return ArrayBuffer.isView(data)
    ? nativeView(data)
    : (nativeDeviceBuffer(data) as NativeDeviceBuffer);
}

/**
 * Allocates memory for a result, of the kind and dtype of `like` and on its device. An array holds zeros;
 * see {@link allocateArray}. GPU memory is uninitialised; the next work of the stream must use it first.
 */
export function allocateLike(
  like: TensorData,
  length: number,
  stream: NativeStream | null,
): TensorData {
  if (ArrayBuffer.isView(like)) return allocateArray(like[Symbol.toStringTag], length);
  return bufferForStream(length, like.dtype, ordinalOfBuffer(like), stream);
}

/** As {@link allocateLike}, for quantised codes: their dtype is `codes`, not that of `like`. */
export function allocateCodes(
  codes: QuantizedDType,
  like: TensorData,
  length: number,
  stream: NativeStream | null,
): TensorData {
  if (ArrayBuffer.isView(like)) return allocateArray(dtypes[codes].bits, length);
  return bufferForStream(length, codes, ordinalOfBuffer(like), stream);
}

/** Allocates memory for rstd or scales, one float32 element for each row, on the GPU of `like`. */
export function allocateRstd(
  like: TensorData,
  rows: number,
  stream: NativeStream | null,
): DeviceBuffer {
  return bufferForStream(rows, 'float32', ordinalOfBuffer(like as DeviceBuffer), stream);
}

/** Whether both are arrays, or both are buffers on one device. */
export function isOnSameDevice(a: TensorData, b: TensorData): boolean {
  if (ArrayBuffer.isView(a)) return ArrayBuffer.isView(b);
  return !ArrayBuffer.isView(b) && a.device === b.device;
}

/** Refuses data on another device than x: a call takes only arrays, or only buffers of one GPU. */
export function checkSameDevice(name: string, data: TensorData, x: TensorData): void {
  if (isOnSameDevice(data, x)) return;
  if (ArrayBuffer.isView(x)) {
    throw argumentError('ERR_INVALID_ARG_TYPE', name, 'an array, since x is one', data);
  }
  if (ArrayBuffer.isView(data)) {
    throw argumentError('ERR_INVALID_ARG_TYPE', name, 'a DeviceBuffer, since x is one', data);
  }
  throw argumentError('ERR_INVALID_ARG_VALUE', name, `on '${x.device}', the device of x`, data);
}

/** The stream of a call on GPU memory; null for a call on arrays, which cannot have a stream. */
export function readStreamFor(x: TensorData, stream: unknown): NativeStream | null {
  if (!ArrayBuffer.isView(x)) return readStream(stream, ordinalOfBuffer(x));
  if (stream === undefined) return null;
  const expected = 'omitted unless x is a DeviceBuffer';
  throw argumentError('ERR_INVALID_ARG_VALUE', 'stream', expected, stream);
}
