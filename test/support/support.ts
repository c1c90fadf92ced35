// Shared by the tests: data, memory around outputs, comparisons, errors.

import { getFloat16 } from '@petamoriken/float16';

import type { DType } from '../../lib';
import type { Round } from './reference';

// Looking up a global is slow in jest, so it is done once.
const { cos, imul, log, sqrt, PI } = Math;

export type HostArray = Float32Array | Float64Array | Uint16Array;

/** Dtypes that every backend computes in float32. */
export type Float32DType = Exclude<DType, 'float64'>;

export const dtypes: readonly Float32DType[] = ['float32', 'float16', 'bfloat16'];

/**
 * Sizes around every step of the kernels (pairs, accumulators, tiles), and sizes that are multiples
 * of none.
 */
export const raggedSizes = [
  ...[1, 7, 8, 9, 31, 33, 64, 100, 111, 256, 257, 500, 769, 1000, 4096, 5125],
];

/** mulberry32: uniform in [0, 1), the same numbers for the same seed. */
export function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Normally distributed numbers (Box and Muller). */
export function normals(seed: number, length: number, scale = 1, mean = 0): Float64Array {
  const random = uniform(seed);
  return new Float64Array(length).map(() => {
    const radius = sqrt(-2 * log(1 - random()));
    return mean + scale * radius * cos(2 * PI * random());
  });
}

const cell = new DataView(new ArrayBuffer(4));
const float16Values = new Float64Array(1 << 16).map((_, bits) => {
  cell.setUint16(0, bits);
  return getFloat16(cell, 0);
});
const float16Patterns = new Map(Array.from(float16Values, (value, bits) => [value, bits]));

/** The bits of a value that float16 represents exactly. */
function float16Bits(value: number): number {
  if (value === 0) return Object.is(value, -0) ? 0x8000 : 0;
  return float16Patterns.get(value) ?? raise(`${value} is no float16`);
}

function raise(message: string): never {
  throw new Error(message);
}

/** The bits of a value that bfloat16 represents exactly. */
function bfloat16Bits(value: number): number {
  cell.setFloat32(0, value);
  return cell.getUint16(0);
}

function bfloat16Value(bits: number): number {
  cell.setUint32(0, bits * 2 ** 16);
  return cell.getFloat32(0);
}

/** The bits of a value that the 16-bit dtype represents exactly. */
export function bitsOf(value: number, dtype: 'float16' | 'bfloat16'): number {
  return dtype === 'float16' ? float16Bits(value) : bfloat16Bits(value);
}

/** The numbers that the elements of an array stand for. */
export function valuesOf(array: HostArray, dtype: DType): Float64Array {
  const values = Float64Array.from(array);
  if (dtype === 'float32' || dtype === 'float64') return values;
  return values.map((bits) =>
    dtype === 'float16' ? (float16Values[bits] as number) : bfloat16Value(bits),
  );
}

const arrayTypes = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
} as const satisfies Record<DType, unknown>;

/** An array of zeros, `lead` elements into its buffer. */
export function zeros(dtype: DType, length: number, lead = 0): HostArray {
  const type = arrayTypes[dtype];
  const size = type.BYTES_PER_ELEMENT;
  return new type(new ArrayBuffer((lead + length) * size), lead * size, length);
}

/** An array of values that the dtype represents exactly, `lead` elements into its buffer. */
export function arrayOf(dtype: DType, values: ArrayLike<number>, lead = 0): HostArray {
  const array = zeros(dtype, values.length, lead);
  for (let i = 0; i < array.length; ++i) {
    const value = values[i] as number;
    array[i] = dtype === 'float32' || dtype === 'float64' ? value : bitsOf(value, dtype);
  }
  return array;
}

/** The bytes an array covers. */
export function bytesOf(array: ArrayBufferView): Buffer {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
}

export interface Guarded<A extends HostArray> {
  /** Full of NaN. */
  readonly array: A;
  /** Fails if anything was written before or after the array. */
  expectIntact(): void;
}

const guardBytes = 64;
const guardByte = 0xa5;

/** An output between guard bytes, `lead` elements after an aligned address. */
export function guarded(dtype: 'float32', length: number, lead?: number): Guarded<Float32Array>;
export function guarded(dtype: DType, length: number, lead?: number): Guarded<HostArray>;
export function guarded(dtype: DType, length: number, lead = 0): Guarded<HostArray> {
  const type = arrayTypes[dtype];
  const before = guardBytes + lead * type.BYTES_PER_ELEMENT;
  const size = before + length * type.BYTES_PER_ELEMENT + guardBytes;
  const bytes = Buffer.from(new ArrayBuffer(size)).fill(guardByte);
  const array = new type(bytes.buffer, before, length);
  bytesOf(array).fill(0xff);
  return {
    array,
    expectIntact: () => {
      const guards = Buffer.concat([bytes.subarray(0, before), bytes.subarray(-guardBytes)]);
      expect(guards.equals(Buffer.alloc(guards.length, guardByte))).toBe(true);
    },
  };
}

/** Fails unless both arrays hold the same bits. */
export function expectSameBits(actual: HostArray | null, expected: HostArray | null): void {
  expect(actual?.length).toBe(expected?.length);
  if (actual === null || expected === null || bytesOf(actual).equals(bytesOf(expected))) return;
  const index = actual.findIndex((value, i) => !Object.is(value, expected[i]));
  expect({ index, value: actual[index] }).toEqual({ index, value: expected[index] });
  throw new Error('NaNs of different bits');
}

/** Returns a value that must not be null. */
export function present<T>(value: T | null): T {
  if (value === null) throw new Error('It is null');
  return value;
}

/** Fails unless every actual value lies between T(exact - error) and T(exact + error). */
export function expectWithin(
  actual: ArrayLike<number>,
  exact: ArrayLike<number>,
  error: ArrayLike<number>,
  round: Round,
): void {
  expect(actual.length).toBe(exact.length);
  for (let index = 0; index < actual.length; ++index) {
    const value = actual[index] as number;
    const least = round((exact[index] as number) - (error[index] as number));
    const most = round((exact[index] as number) + (error[index] as number));
    // Written so that a NaN fails.
    if (!(least <= value && value <= most)) {
      expect({ index, value }).toEqual({ index, value: `${least} … ${most}` });
    }
  }
}

export interface CodedError extends Error {
  readonly code: string;
}

/** Returns the error that a call throws. */
export function errorOf(call: () => unknown): CodedError {
  try {
    call();
  } catch (error) {
    return error as CodedError;
  }
  throw new Error('Nothing was thrown');
}

/** Returns the error that a promise rejects with. */
export async function rejectionOf(promise: Promise<unknown>): Promise<CodedError> {
  const settled = await promise.then(
    () => null,
    (error: unknown) => error as CodedError,
  );
  if (settled === null) throw new Error('The promise was fulfilled');
  return settled;
}

/** Detaches an array's buffer, as postMessage with a transfer list does. */
export function detach(array: ArrayBufferView): void {
  structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] });
}
