import { binding } from '../binding';
import { nativeView, zeros, type ArrayKind, type FloatArray } from './dtype';

/** Bytes that hold a whole huge page of 2 MiB wherever they begin. */
const hugePageBytes = 4 * 2 ** 20;

/** A new array of zeros for a result, on huge pages where it is large. */
export function freshArray(kind: ArrayKind, length: number): FloatArray {
  const array = zeros(kind, length);
  if (array.byteLength >= hugePageBytes) binding.adviseHugePages(nativeView(array));
  return array;
}
