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

/** An array of this many bytes contains a whole huge page of 2 MiB, wherever it begins. */
const hugePageBytes = 4 * 2 ** 20;

/** A new array of `length` zeros, on huge pages if it has 4 MiB or more and the system offers them. */
export function allocateArray<K extends ArrayKind>(kind: K, length: number): ArrayOfKind<K> {
  return onHugePages(zeros(kind, length));
}

/**
 * As {@link allocateArray}, for a dtype and over a SharedArrayBuffer. For 16-bit dtypes the array is a
 * `Uint16Array`.
 */
export function allocateShared(dtype: DType, length: number): FloatArray {
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
