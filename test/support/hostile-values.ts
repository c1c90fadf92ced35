// Values that no argument accepts, or that lie about themselves: everything that JavaScript lets
// callers pass.

/** The error that getters and traps of the hostile values throw. */
export const ownError = new Error('thrown by the value');

const throwing = (): never => {
  throw ownError;
};

function revoked(target: object): object {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

const throwingTraps = new Proxy({}, { get: () => throwing });

/** An array whose own property hides the one that all arrays inherit. */
const lying = (length: number, name: PropertyKey, reported: unknown) =>
  Object.defineProperty(
    new Float32Array(length),
    name,
    reported === throwing ? { get: throwing } : { value: reported },
  );

const detachedView = () => {
  const view = new DataView(new ArrayBuffer(8));
  structuredClone(view.buffer, { transfer: [view.buffer] });
  return view;
};

/**
 * Makes each value, by a name that says what it is. Each call makes a new one, because some
 * remember that they were read.
 */
export const hostileValues: Readonly<Record<string, () => unknown>> = {
  null: () => null,
  true: () => true,
  zero: () => 0,
  'minus zero': () => -0,
  'minus one': () => -1,
  'a fraction': () => 1.5,
  NaN: () => NaN,
  infinity: () => Infinity,
  '2^53': () => 2 ** 53,
  'a bigint': () => 4n,
  'a symbol': () => Symbol('float64'),
  'an empty string': () => '',
  'a string': () => 'toString',
  'a long string': () => 'float64'.repeat(1e5),
  'a String': () => new String('float64'),
  'a Number': () => new Number(4),
  'a function': () => throwing,
  'a class': () => Map,
  'an object': () => ({}),
  'an object without a prototype': () => Object.create(null) as unknown,
  'an empty list': () => [],
  'a list of a dtype': () => ['float64'],
  'a list of a device': () => ['cpu'],
  'a list of a cast order': () => ['float'],
  'a list of a variant': () => ['scalar'],
  'a list of a number': () => ['1'],
  'a list of objects without a prototype': () => [Object.create(null) as unknown],
  'a list of symbols': () => [Symbol('4')],
  'a list of bigints': () => [4n],
  'a list with a hole': () => Object.assign(new Array<unknown>(1), { 1: 4 }),
  'a list of holes': () => new Array<unknown>(4),
  'a long list': () => new Array<unknown>(1e4).fill(1),
  'the longest list': () => new Array<unknown>(2 ** 32 - 1),
  'a list with a throwing getter': () =>
    Object.defineProperty([4], 0, { get: throwing, enumerable: true }),
  'a list that throws in all methods': () =>
    Object.setPrototypeOf([4], new Proxy(Array.prototype, throwingTraps)) as unknown,
  'a list like': () => ({ 0: 4, length: 1 }),
  'an Int32Array': () => new Int32Array([3, 4]),
  'a Map': () => new Map([['eps', 1]]),
  'a Set': () => new Set([4]),
  'a promise': () => Promise.resolve({ eps: 1 }),
  'a date': () => new Date(NaN),
  'a detached DataView': detachedView,
  'what converts to a dtype': () => ({ toString: () => 'float64', valueOf: () => 4 }),
  'what converts to a device': () => ({ [Symbol.toPrimitive]: () => 'cpu' }),
  'what cannot be converted': () => ({ toString: throwing, valueOf: throwing }),
  'what cannot be converted to primitives': () => ({ [Symbol.toPrimitive]: throwing }),
  'what cannot be inspected': () => ({
    [Symbol.for('nodejs.util.inspect.custom')]: throwing,
    get [Symbol.toStringTag]() {
      return throwing();
    },
    get constructor() {
      return throwing();
    },
  }),
  'an error that cannot be inspected': () =>
    Object.defineProperties(new Error('e'), {
      stack: { get: throwing },
      message: { get: throwing },
      name: { get: throwing },
    }),
  'an object of many names': () =>
    Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`name${i}`, i])),
  'a circle': () => {
    const circle: unknown[] = [];
    circle.push(circle);
    return circle;
  },
  'a proxy': () => new Proxy({}, {}),
  'a proxy of a list': () => new Proxy([4n], {}),
  'a proxy with an endless list': () =>
    new Proxy([4], {
      get: (list, name) => (name === 'length' ? Infinity : (Reflect.get(list, name) as unknown)),
    }),
  'a proxy of which all throws': () => new Proxy({}, throwingTraps),
  'a proxy of a list of which all throws': () => new Proxy([4], throwingTraps),
  'a revoked proxy': () => revoked({}),
  'a revoked proxy of a list': () => revoked([4]),
  'a revoked proxy of a function': () => revoked(throwing),
  'a proxy of a revoked proxy': () => new Proxy(revoked([]), {}),
  'an array of another kind by its own word': () => lying(12, Symbol.toStringTag, 'Float64Array'),
  'an array of no kind by its own word': () => lying(12, Symbol.toStringTag, Object.create(null)),
  'an array of another length by its own word': () => lying(7, 'length', 12),
  'an array of a broken length by its own word': () => lying(7, 'length', '12'),
  'an array of a throwing kind': () => lying(12, Symbol.toStringTag, throwing),
  'an array of a throwing length': () => lying(12, 'length', throwing),
  'a proxy of an array': () => new Proxy(new Float32Array(12), {}),
};
