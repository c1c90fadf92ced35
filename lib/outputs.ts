import { binding } from './binding';
import { makeArray, outOfMemory, zeros, type ArrayKind, type FloatArray } from './dtype';

const elementBytes = {
  Float32Array: 4,
  Float64Array: 8,
  Uint16Array: 2,
  Float16Array: 2,
} as const satisfies Record<ArrayKind, number>;

const { leastRecycledBytes } = binding;

/**
 * A new array for a result. A large one holds anything, of an earlier result for one: nobody may see
 * it unless all of it has been written.
 */
export function freshArray(kind: ArrayKind, length: number): FloatArray {
  const bytes = length * elementBytes[kind];
  if (bytes < leastRecycledBytes) return zeros(kind, length);
  try {
    return makeArray(kind, binding.createOutput(bytes));
  } catch (cause) {
    throw outOfMemory(length, cause);
  }
}
