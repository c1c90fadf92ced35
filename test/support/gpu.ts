// For tests of objects on a GPU: the GPUs of this machine, or simulated ones.

import { devices, DeviceBuffer, type DeviceDType } from '../../lib';
import { bytesOf, errorOf, rejectionOf, type CodedError } from './support';

export const gpus = devices();
export const onGpu = gpus.length > 0 ? describe : describe.skip;
export const onGpus = gpus.length > 1 ? describe : describe.skip;

/**
 * One suite for each GPU. Without a GPU it is one skipped suite, since jest refuses an empty list.
 */
export const onEachGpu =
  gpus.length > 0
    ? describe.each(
        gpus.map(({ device, computeCapability }, index) => ({ device, computeCapability, index })),
      )
    : describe.skip.each([{ device: 'cuda:0', computeCapability: 'no GPU', index: 0 }] as const);

export const deviceDTypes: readonly DeviceDType[] = ['float32', 'float16', 'bfloat16'];

/** An array of a dtype whose elements are all or nearly all different. */
export function countingArray(dtype: DeviceDType, length: number): Float32Array | Uint16Array {
  const array = dtype === 'float32' ? new Float32Array(length) : new Uint16Array(length);
  for (let i = 0; i < length; ++i) array[i] = (i * 7 + 3) % 65536;
  return array;
}

/** A buffer with the elements of {@link countingArray}, and that array. */
export function countingBuffer<D extends DeviceDType>(dtype: D, length: number) {
  const array = countingArray(dtype, length);
  return { array, buffer: DeviceBuffer.from(array, { dtype }) };
}

export function expectBytes(actual: ArrayBufferView, expected: ArrayBufferView): void {
  expect(bytesOf(actual).equals(bytesOf(expected))).toBe(true);
}

/** Fails unless a call throws, or its promise rejects with, an error of this code and text. */
export function expectError(call: () => unknown, code: string, text = ''): void {
  expectCoded(errorOf(call), code, text);
}
export async function expectRejection(
  promise: Promise<unknown>,
  code: string,
  text = '',
): Promise<void> {
  expectCoded(await rejectionOf(promise), code, text);
}

function expectCoded(error: CodedError, code: string, text: string): void {
  expect([error.code, error.message]).toEqual([code, expect.stringContaining(text)]);
}
