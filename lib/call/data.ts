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
import { freshArray } from '../core/outputs';
import { readStream } from '../gpu/stream';

/** What holds the elements of a tensor: an array, or memory of a GPU. */
export type TensorData = FloatArray | CodeArray | DeviceBuffer<BufferDType>;

export type DataKind = ArrayKind | 'DeviceBuffer';

export function isDeviceBuffer(value: unknown): value is DeviceBuffer<BufferDType> {
  return nativeDeviceBuffer(value) !== null;
}

/** The dtype of a buffer that a tensor is to be in. Refuses codes. */
export function tensorDType(name: string, buffer: DeviceBuffer<BufferDType>): DeviceDType {
  const { dtype } = buffer;
  if (dtypes[dtype].bytes > 1) return dtype as DeviceDType;
  const expected = 'a DeviceBuffer of float32, float16 or bfloat16';
  throw argumentError('ERR_INVALID_ARG_TYPE', name, expected, buffer);
}

export function nativeData(data: TensorData): NativeData {
  return ArrayBuffer.isView(data)
    ? nativeView(data)
    : (nativeDeviceBuffer(data) as NativeDeviceBuffer);
}

/**
 * Memory for a result of the kind that `like` is, and in the same place: see {@link freshArray}. On a
 * GPU, for the next work of the stream.
 */
export function freshLike(
  like: TensorData,
  length: number,
  stream: NativeStream | null,
): TensorData {
  if (ArrayBuffer.isView(like)) return freshArray(like[Symbol.toStringTag], length);
  return bufferForStream(length, like.dtype, ordinalOfBuffer(like), stream);
}

/** The same for codes. */
export function freshCodes(
  codes: QuantizedDType,
  like: TensorData,
  length: number,
  stream: NativeStream | null,
): TensorData {
  if (ArrayBuffer.isView(like)) return freshArray(dtypes[codes].bits, length);
  return bufferForStream(length, codes, ordinalOfBuffer(like), stream);
}

/** Memory for rstd beside that of a GPU. */
export function freshRstd(
  like: TensorData,
  rows: number,
  stream: NativeStream | null,
): DeviceBuffer {
  return bufferForStream(rows, 'float32', ordinalOfBuffer(like as DeviceBuffer), stream);
}

/** Whether two operands are arrays, or buffers on one device. */
export function isSamePlace(a: TensorData, b: TensorData): boolean {
  if (ArrayBuffer.isView(a)) return ArrayBuffer.isView(b);
  return !ArrayBuffer.isView(b) && a.device === b.device;
}

/** Refuses data that is elsewhere than x: all of a call is in arrays, or on one GPU. */
export function checkSameDevice(name: string, data: TensorData, x: TensorData): void {
  if (isSamePlace(data, x)) return;
  if (ArrayBuffer.isView(x)) {
    throw argumentError('ERR_INVALID_ARG_TYPE', name, 'an array, since x is one', data);
  }
  if (ArrayBuffer.isView(data)) {
    throw argumentError('ERR_INVALID_ARG_TYPE', name, 'a DeviceBuffer, since x is one', data);
  }
  throw argumentError('ERR_INVALID_ARG_VALUE', name, `on '${x.device}', the device of x`, data);
}

/** The stream of a call on memory of a GPU; null for arrays, beside which there must be none. */
export function readStreamFor(x: TensorData, stream: unknown): NativeStream | null {
  if (!ArrayBuffer.isView(x)) return readStream(stream, ordinalOfBuffer(x));
  if (stream === undefined) return null;
  const expected = 'left out where x is not a DeviceBuffer';
  throw argumentError('ERR_INVALID_ARG_VALUE', 'stream', expected, stream);
}
