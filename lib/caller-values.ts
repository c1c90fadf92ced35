// Values of the caller may be proxies, or have getters: what they say can change from one read to the
// next, and reading a revoked proxy throws an error without a code. So each is copied, once.

/** Dims that a tensor has at most, as in NumPy. */
export const maxDims = 64;

/** Whether a value is a proxy that was revoked, which throws whatever is done with it. */
export function isRevoked(value: unknown): boolean {
  try {
    Array.isArray(value);
    return false;
  } catch {
    return true;
  }
}

/** Whether a value is an array that can be read. */
export function isList(value: unknown): value is readonly unknown[] {
  return !isRevoked(value) && Array.isArray(value);
}

/**
 * The elements of an array, each of them read once; -0 becomes 0, a hole undefined. null for what is
 * no array, or has more elements than {@link maxDims}.
 */
export function copyList(value: unknown): unknown[] | null {
  if (!isList(value)) return null;
  // Of a proxy it can be anything.
  const length: unknown = value.length;
  if (typeof length !== 'number' || !(length >= 0 && length <= maxDims)) return null;
  const copy: unknown[] = [];
  for (let i = 0; i < length; ++i) {
    const element = value[i];
    copy.push(typeof element === 'number' ? element + 0 : element);
  }
  return copy;
}
