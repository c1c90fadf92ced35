import { binding } from '../binding';
import {
  dtypes,
  makeArray,
  nativeView,
  outOfMemory,
  zeros,
  type ArrayKind,
  type ArrayOfKind,
  type CodeArray,
  type DType,
  type FloatArray,
} from './dtype';

/** Bytes that hold a whole huge page of 2 MiB wherever they begin. */
const hugePageBytes = 4 * 2 ** 20;

/** A new array of zeros for a result, on huge pages where it is large. */
export function freshArray<K extends ArrayKind>(kind: K, length: number): ArrayOfKind<K> {
  return onHugePages(zeros(kind, length));
}

/**
 * A new array of zeros over a SharedArrayBuffer, on huge pages where it is large. For 16 bits it is a
 * `Uint16Array`.
 */
export function sharedArray(dtype: DType, length: number): FloatArray {
  const { bits, bytes } = dtypes[dtype];
  let buffer: SharedArrayBuffer;
  try {
    buffer = new SharedArrayBuffer(length * bytes);
  } catch (cause) {
    throw outOfMemory(length, cause);
  }
  return onHugePages(makeArray(bits, buffer));
}

function onHugePages<A extends FloatArray | CodeArray>(array: A): A {
  if (array.byteLength >= hugePageBytes) binding.adviseHugePages(nativeView(array));
  return array;
}
