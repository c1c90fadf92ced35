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

/** Elements that lists start with: to add one runs a setter that Object.prototype may have. */
const blank: readonly unknown[] = Array.from({ length: maxDims }, () => undefined);

/**
 * The elements of an array, each of them read once; -0 becomes 0, a hole undefined. null for what is
 * no array, or has more elements than {@link maxDims}.
 */
export function copyList(value: unknown): unknown[] | null {
  if (!isList(value)) return null;
  // Of a proxy it can be anything.
  const length: unknown = value.length;
  if (typeof length !== 'number' || !(length >= 0 && length <= maxDims)) return null;
  const copy = blank.slice(0, length);
  for (let i = 0; i < copy.length; ++i) {
    const element = value[i];
    copy[i] = typeof element === 'number' ? element + 0 : element;
  }
  return copy;
}

/** An object that has nothing but what all objects of this realm inherit. */
const bare = {};

/**
 * Whether other code has given all objects a property with the name of one of ours. Each name is
 * spelled out: compiled code then knows the answer, and what it is changes that code.
 */
export function areNamesInherited(): boolean {
  return (
    'eps' in bare ||
    'weightOffset' in bare ||
    'castOrder' in bare ||
    'normalizedShape' in bare ||
    'dtype' in bare ||
    'device' in bare ||
    'stream' in bare ||
    'out' in bare ||
    'rstdOut' in bare ||
    'residual' in bare ||
    'sumOut' in bare ||
    'needsDx' in bare ||
    'needsDweight' in bare ||
    'dxOut' in bare ||
    'dweightOut' in bare ||
    'dsum' in bare ||
    'gate' in bare ||
    'gateOrder' in bare ||
    'dgateOut' in bare ||
    'quantize' in bare ||
    'scale' in bare ||
    'scaleMax' in bare ||
    'scaleOut' in bare ||
    'accumulate' in bare ||
    'rows' in bare ||
    'hiddenSize' in bare ||
    'weight' in bare ||
    'elementwiseAffine' in bare ||
    'timing' in bare ||
    'data' in bare ||
    'dims' in bare ||
    'type' in bare ||
    'strides' in bare ||
    'offset' in bare
  );
}

/** Whether other code has given all objects a property that for-in finds. */
export function isAnythingInherited(): boolean {
  for (const name in bare) if (name in bare) return true;
  return false;
}

/** The last prototype of a value; the value itself if it has none. */
function lastPrototype(value: object): object {
  let last = value;
  for (;;) {
    const next = Object.getPrototypeOf(last) as object | null;
    if (next === null) return last;
    last = next;
  }
}

/** Whether a value has a property that does not come from the Object.prototype of any realm. */
export function hasOfItsOwn(value: object, name: string): boolean {
  let holder: object | null = value;
  while (holder !== null && !Object.hasOwn(holder, name)) {
    holder = Object.getPrototypeOf(holder) as object | null;
  }
  if (holder === null) return false;
  const isObjectPrototype =
    holder === Object.prototype ||
    (Object.getPrototypeOf(holder) === null && Object.hasOwn(holder, 'hasOwnProperty'));
  return holder === value || !isObjectPrototype;
}

/**
 * What to read these properties of, so that none is one that other code has given to all objects: the
 * value itself, or a copy. Properties of a class count as those of its objects.
 */
export function withoutInherited<T extends object>(value: T, names: Iterable<string>): T {
  // As most are; to ask for prototypes takes longer.
  if (value.constructor === Object && !areNamesInherited()) return value;
  const last = lastPrototype(value);
  if (last === value || (last === Object.prototype && !areNamesInherited())) return value;
  const copy = Object.create(null) as Record<string, unknown>;
  for (const name of names) {
    if (hasOfItsOwn(value, name)) copy[name] = (value as Record<string, unknown>)[name];
  }
  return copy as T;
}

/** Gives an object a property, past setters and read-only properties that it inherits. */
export function defineOwn<T extends object, K extends string, V>(
  object: T,
  name: K,
  value: V,
): T & Readonly<Record<K, V>> {
  // A descriptor inherits, too.
  const flags = { writable: true, enumerable: true, configurable: true };
  const descriptor = { __proto__: null, value, ...flags };
  return Object.defineProperty(object, name, descriptor) as T & Readonly<Record<K, V>>;
}
