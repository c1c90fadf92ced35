import { types } from 'node:util';

import { isRevoked } from './caller-values';
import {
  arrayKind,
  isFloatArray,
  type ArrayKind,
  type CodeArray,
  type Float16ArrayLike,
  type FloatArray,
  type ArrayGuard,
} from './dtype';
import { argumentError } from './errors';

/** An array argument that has been read. */
export interface HostArray {
  /** The array; for an array of the polyfill `@petamoriken/float16`, a `Uint16Array` of its bits. */
  readonly data: FloatArray | CodeArray;
  /** The kind of the caller's array: `'Float16Array'` for the polyfill. */
  readonly kind: ArrayKind;
  /** For an array of the polyfill, makes an array of its class over the memory of `bits`; else null. */
  readonly wrap: ((bits: FloatArray) => Float16ArrayLike) | null;
}

/**
 * The property by which `@petamoriken/float16` marks its class `Float16Array`, a polyfill for runtimes
 * without their own. Its arrays are proxies of a `Uint16Array` of their bits, which ArrayBuffer.isView
 * does not recognise. So the mark identifies them.
 */
const mark = Symbol.for('__Float16Array__');
interface PolyfillArray {
  readonly constructor: unknown;
  readonly buffer: unknown;
  readonly byteOffset: unknown;
  readonly length: unknown;
  readonly [Symbol.toStringTag]: unknown;
}
type PolyfillClass = new (
  buffer: ArrayBufferLike,
  byteOffset: number,
  length: number,
) => Float16ArrayLike;

function isPolyfillClass(value: unknown): value is PolyfillClass {
  return typeof value === 'function' && !isRevoked(value) && mark in value;
}

/**
 * Reads an array of the polyfill; null for any other value. Each property is read only once, since the
 * value may be another proxy that imitates such an array.
 */
export function readPolyfillArray(name: string, value: unknown): HostArray | null {
  if (ArrayBuffer.isView(value) || !types.isProxy(value) || isRevoked(value)) return null;
  const polyfill = value as PolyfillArray;
  if (polyfill[Symbol.toStringTag] !== 'Float16Array') return null;
  const { constructor, buffer, byteOffset, length } = polyfill;
  const hasBounds = typeof byteOffset === 'number' && typeof length === 'number';
  if (!isPolyfillClass(constructor) || !types.isAnyArrayBuffer(buffer) || !hasBounds) return null;
  return {
    data: bitsOf(name, value, () => new Uint16Array(buffer, byteOffset, length)),
    kind: 'Float16Array',
    wrap: (bits) => new constructor(bits.buffer, bits.byteOffset, bits.length),
  };
}

function bitsOf(name: string, value: unknown, make: () => Uint16Array): Uint16Array {
  let bits: Uint16Array;
  try {
    bits = make();
  } catch {
    throw detachedError(name, value);
  }
  refuseDetached(name, bits.length, value);
  return bits;
}

/** Reads an array argument. Refuses values that are not arrays, and detached arrays. */
export function readHostArray(
  name: string,
  value: unknown,
  expected?: string,
  isAccepted: ArrayGuard = isFloatArray,
): HostArray {
  const polyfill = readPolyfillArray(name, value);
  if (polyfill !== null) return polyfill;
  const kind = arrayKind(name, value, expected, isAccepted);
  const data = value as FloatArray;
  refuseDetached(name, data.length, data);
  return { data, kind, wrap: null };
}

/**
 * Refuses an array that is empty because its buffer was transferred or shrank: it would pass for a tensor
 * of zero rows. The method `keys` throws for such an array, but not for other empty arrays.
 */
export function refuseDetached(name: string, length: number, array: unknown): void {
  if (length > 0) return;
  try {
    (array as Uint16Array).keys();
  } catch {
    throw detachedError(name, array);
  }
}

function detachedError(name: string, array: unknown): Error {
  const expected = 'an array whose buffer is neither detached nor shorter than the array';
  return argumentError('ERR_INVALID_ARG_VALUE', name, expected, array);
}
