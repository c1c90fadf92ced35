// Reads the caller's values safely. They may be proxies or have getters: their content can change from one
// read to the next, and reading a revoked proxy throws an error without a code. So each value is read once,
// and copied. Other code may also have added properties to Object.prototype ("polluted" it). These must not
// pass for options.

/** The most dims that a tensor may have, as in NumPy. */
export const maxDims = 64;

/** Whether a value is a revoked proxy: every operation on it throws. */
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

/** The initial elements of copied lists. Adding elements instead could run a setter of Object.prototype. */
const blank: readonly unknown[] = Array.from({ length: maxDims }, () => undefined);

/**
 * A copy of an array, each element read once. -0 becomes 0, a hole becomes undefined. null if the value
 * is not an array or has more elements than {@link maxDims}.
 */
export function copyList(value: unknown): unknown[] | null {
  if (!isList(value)) return null;
  // The length of a proxy can be any value.
  const length: unknown = value.length;
  if (typeof length !== 'number' || !(length >= 0 && length <= maxDims)) return null;
  const copy = blank.slice(0, length);
  for (let i = 0; i < copy.length; ++i) {
    const element = value[i];
    copy[i] = typeof element === 'number' ? element + 0 : element;
  }
  return copy;
}

/** An empty object: `in` and for-in find only what all objects of this realm inherit. */
const bare = {};

/**
 * Whether other code has added a property with the name of an option or a tensor's field to
 * Object.prototype. Each name is spelled out: V8 then compiles the answer into the code, and discards that
 * code when the answer changes.
 */
export function areNamesPolluted(): boolean {
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

/** Whether other code has added an enumerable property to Object.prototype, which for-in finds. */
export function isPrototypePolluted(): boolean {
  for (const name in bare) if (name in bare) return true;
  return false;
}

/** The last object of a value's prototype chain; the value itself if it has no prototype. */
function lastPrototype(value: object): object {
  let last = value;
  for (;;) {
    const next = Object.getPrototypeOf(last) as object | null;
    if (next === null) return last;
    last = next;
  }
}

/**
 * Whether a value has a property, either its own or inherited from its class. Properties of Object.prototype,
 * of any realm, do not count.
 */
export function hasUninherited(value: object, name: string): boolean {
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
 * The object to read the properties `names` from: the value itself, or a copy without the properties that
 * other code has added to Object.prototype. The copy has the properties that a class gives its objects.
 */
export function withoutInherited<T extends object>(value: T, names: Iterable<string>): T {
  // The fast path: reading prototypes takes longer.
  if (value.constructor === Object && !areNamesPolluted()) return value;
  const last = lastPrototype(value);
  if (last === value || (last === Object.prototype && !areNamesPolluted())) return value;
  const copy = Object.create(null) as Record<string, unknown>;
  for (const name of names) {
    if (hasUninherited(value, name)) copy[name] = (value as Record<string, unknown>)[name];
  }
  return copy as T;
}

/** Defines an own property of an object, ignoring inherited setters and read-only properties. */
export function defineOwn<T extends object, K extends string, V>(
  object: T,
  name: K,
  value: V,
): T & Readonly<Record<K, V>> {
  // `__proto__: null`, so that the descriptor inherits no property from Object.prototype.
  const flags = { writable: true, enumerable: true, configurable: true };
  const descriptor = { __proto__: null, value, ...flags };
  return Object.defineProperty(object, name, descriptor) as T & Readonly<Record<K, V>>;
}
