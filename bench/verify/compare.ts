// Compares results bit for bit. Any two NaNs are equal: the contract does not specify their bits.

import { fromBFloat16, fromFloat16, fromFloat8, type BufferDType } from 'fused-rmsnorm';

import { positionOf, type Memory, type Operand } from './operands';

export interface Difference {
  readonly result: string;
  /** The position of the first element that differs, such as `'row 2, column 17'`. A key of the JSON. */
  readonly place: string;
  /** Such as `'0x3f80 (1)'`. */
  readonly actual: string;
  readonly expected: string;
  /** The number of elements that differ. */
  readonly elements: number;
}

/** For each dtype: a mask of all bits except the sign, and the largest masked bits that are not a NaN. */
const nanTests: Readonly<Record<BufferDType, readonly [mask: number, largest: number]>> = {
  float32: [0x7fff_ffff, 0x7f80_0000],
  float16: [0x7fff, 0x7c00],
  bfloat16: [0x7fff, 0x7f80],
  int8: [0x7f, 0x7f],
  float8_e4m3: [0x7f, 0x7e],
  float8_e5m2: [0x7f, 0x7c],
};

/** Finds where the memory of a result differs; null if it does not. */
export function findDifference(
  result: string,
  { dtype, layout, memory: { length } }: Pick<Operand, 'dtype' | 'layout' | 'memory'>,
  actual: Memory,
  expected: Memory,
): Difference | null {
  if (actual.length !== length) throw new RangeError(`${result} has ${actual.length} elements`);
  if (bytesOf(actual).equals(bytesOf(expected))) return null;
  const [a, b] = [bitsOf(actual), bitsOf(expected)];
  const [mask, largest] = nanTests[dtype];
  const isNaN = (bits: number) => (bits & mask) > largest;
  let index = -1;
  let elements = 0;
  for (let i = 0; i < length; ++i) {
    const [x, y] = [a[i] as number, b[i] as number];
    if (x === y || (isNaN(x) && isNaN(y))) continue;
    if (elements++ === 0) index = i;
  }
  if (elements === 0) return null;
  const [shown, wanted] = [actual, expected].map((all) => show(dtype, all, index)) as [
    string,
    string,
  ];
  return { result, place: positionOf(layout, index), actual: shown, expected: wanted, elements };
}

function bytesOf({ buffer, byteOffset, byteLength }: Memory): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function bitsOf(elements: Memory): Uint8Array | Uint16Array | Uint32Array {
  const { buffer, byteOffset, length } = elements;
  if (elements instanceof Int8Array) return new Uint8Array(buffer, byteOffset, length);
  if (elements instanceof Float32Array) return new Uint32Array(buffer, byteOffset, length);
  return elements;
}

/** The bits of an element, and the number that they stand for. */
function show(dtype: BufferDType, elements: Memory, index: number): string {
  const one = elements.slice(index, index + 1);
  const bits = bitsOf(one)[0] as number;
  const text = bits.toString(16).padStart(2 * one.BYTES_PER_ELEMENT, '0');
  return `0x${text} (${String(valueOf(dtype, one))})`;
}

function valueOf(dtype: BufferDType, one: Memory): number | undefined {
  if (dtype === 'float8_e4m3' || dtype === 'float8_e5m2') {
    return fromFloat8(one as Uint8Array, dtype)[0];
  }
  if (dtype === 'bfloat16') return fromBFloat16(one as Uint16Array)[0];
  return (dtype === 'float16' ? fromFloat16(one as Uint16Array) : one)[0];
}
