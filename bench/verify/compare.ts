// Results bit for bit. A NaN is as good as any other: its bits are no part of the contract.

import { fromBFloat16, fromFloat16, type DeviceDType } from 'fused-rmsnorm';

import type { Elements } from '../cases/arrays';
import { placeOf, type Operand } from './operands';

export interface Difference {
  readonly result: string;
  /** Of the first element that differs, such as `'row 2, column 17'`. */
  readonly place: string;
  /** Such as `'0x3f80 (1)'`. */
  readonly actual: string;
  readonly expected: string;
  /** Of all that differ. */
  readonly elements: number;
}

/** The bits of an exponent of ones, and of the rest but the sign: both are set in a NaN. */
const masks: Readonly<Record<DeviceDType, readonly [exponent: number, fraction: number]>> = {
  float32: [0x7f80_0000, 0x7f_ffff],
  float16: [0x7c00, 0x3ff],
  bfloat16: [0x7f80, 0x7f],
};

/** Where the memory of a result differs; null if it nowhere does. */
export function findDifference(
  result: string,
  { dtype, layout, memory: { length } }: Pick<Operand, 'dtype' | 'layout' | 'memory'>,
  actual: Elements,
  expected: Elements,
): Difference | null {
  if (actual.length !== length) throw new RangeError(`${result} has ${actual.length} elements`);
  if (bytesOf(actual).equals(bytesOf(expected))) return null;
  const [a, b] = [bitsOf(actual), bitsOf(expected)];
  const isNaN = (bits: number) => {
    const [exponent, fraction] = masks[dtype];
    return (bits & exponent) === exponent && (bits & fraction) !== 0;
  };
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
  return { result, place: placeOf(layout, index), actual: shown, expected: wanted, elements };
}

function bytesOf({ buffer, byteOffset, byteLength }: Elements): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function bitsOf(elements: Elements): Uint16Array | Uint32Array {
  if (elements instanceof Uint16Array) return elements;
  return new Uint32Array(elements.buffer, elements.byteOffset, elements.length);
}

/** The bits of an element, and the number that they stand for. */
function show(dtype: DeviceDType, elements: Elements, index: number): string {
  const one = elements.slice(index, index + 1);
  const bits = bitsOf(one)[0] as number;
  const digits = one instanceof Uint16Array ? 4 : 8;
  const value = one instanceof Uint16Array ? valueOf(dtype, one) : one[0];
  return `0x${bits.toString(16).padStart(digits, '0')} (${String(value)})`;
}

function valueOf(dtype: DeviceDType, bits: Uint16Array): number | undefined {
  return (dtype === 'bfloat16' ? fromBFloat16(bits) : fromFloat16(bits))[0];
}
