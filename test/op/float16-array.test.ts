// Float16Array: the runtime's class, or a stand-in for it, and the class of a
// package, whose arrays are proxies. Both mean float16 without a dtype, as inputs and as outputs.

import { Float16Array as PackagedFloat16Array } from '@petamoriken/float16';

import {
  createPlan,
  DeviceBuffer,
  fromFloat16,
  rmsNorm,
  RMSNorm,
  toFloat16,
  type Float16ArrayLike,
  type Input,
} from '../../lib';
import { makeCase } from '../support/cases';
import { gpus } from '../support/gpu';
import { ownError } from '../support/hostile-values';
import { anArray, detached, expectRefusal, floats, range, type, value } from '../support/refusals';
import {
  errorOf,
  expectSameBits,
  present,
  rejectionOf,
  type CodedError,
  type HostArray,
} from '../support/support';

type Float16ArrayConstructor = new (
  buffer: ArrayBufferLike | number,
  byteOffset?: number,
  length?: number,
) => Float16ArrayLike;
const realm = globalThis as { Float16Array?: Float16ArrayConstructor };

// Has only what this package reads of a Float16Array: its memory, length and tag.
class StandIn extends Uint16Array {
  override get [Symbol.toStringTag](): never {
    return 'Float16Array' as never;
  }
}

const missing = realm.Float16Array === undefined;
beforeAll(() => {
  if (missing) realm.Float16Array = StandIn;
});
afterAll(() => {
  if (missing) delete realm.Float16Array;
});

type ResizableBuffer = new (
  length: number,
  options: { maxByteLength: number },
) => ArrayBuffer & { resize(length: number): void };

const c = makeCase({ dtype: 'float16', rows: 3, hiddenSize: 9 });
const bitsIn = (array: Float16ArrayLike) =>
  new Uint16Array(array.buffer, array.byteOffset, array.length);
const options = { castOrder: 'llama' } as const;
const expected = rmsNorm.forward(c.x, c.weight, c.options);
const expectedBack = rmsNorm.backward(c.dy, c.x, c.weight, null, c.options);
const expectedSum = rmsNorm.forward(c.x, c.weight, { ...c.options, residual: c.residual });

const classes: [string, Float16ArrayConstructor][] = [
  [missing ? 'a stand-in' : 'the runtime', realm.Float16Array ?? StandIn],
  ['a package', PackagedFloat16Array],
];

describe.each(classes)('a Float16Array of %s', (_, Float16Array) => {
  const as16 = (array: HostArray | null, lead = 0) => {
    const copy = new Uint16Array(64);
    copy.set(array ?? [], lead);
    return new Float16Array(copy.buffer, 2 * lead, array?.length ?? 0);
  };
  const expect16 = (actual: Float16ArrayLike | null, bits: HostArray | null) => {
    expect(actual?.[Symbol.toStringTag]).toBe('Float16Array');
    expect(actual).toBeInstanceOf(Float16Array);
    expectSameBits(bitsIn(present(actual)), bits);
  };
  const [x, w, dy] = [as16(c.x, 3), as16(c.weight), as16(c.dy, 1)];

  test('gives results of its own class', async () => {
    for (const y of [rmsNorm(x, w, options), await rmsNorm.async(x, w, options)]) {
      expect16(y, expected.y);
    }
    for (const forward of [rmsNorm.forward, rmsNorm.forwardAsync]) {
      const { y, rstd, sum } = await forward(x, w, { residual: as16(c.residual) });
      expect16(y, expectedSum.y);
      expectSameBits(rstd, expectedSum.rstd);
      expect16(sum, expectedSum.sum);
    }
    for (const back of [rmsNorm.backward, rmsNorm.backwardAsync]) {
      const { dx, dweight } = await back(dy, x, w, null, options);
      expect16(dx, expectedBack.dx);
      expect16(dweight, expectedBack.dweight);
    }
  });

  test('may be an output', async () => {
    for (const forward of [rmsNorm, rmsNorm.async]) {
      const out = as16(new Uint16Array(27), 5);
      expect(await forward(x, w, { out })).toBe(out);
      expectSameBits(bitsIn(out), expected.y);
    }
    const [dxOut, dweightOut] = [as16(c.x), as16(c.weight)];
    const back = rmsNorm.backward(dy, x, w, null, { dxOut, dweightOut });
    expect(back).toEqual({ dx: dxOut, dweight: dweightOut, dgate: null });
    expect(back.dx).toBe(dxOut);
    expectSameBits(bitsIn(dxOut), expectedBack.dx);
    expectSameBits(bitsIn(dweightOut), expectedBack.dweight);
  });

  test('may be the data of a tensor or a view', () => {
    const tensor = { data: x, dims: [3, 9], type: 'float16' };
    const y = rmsNorm(tensor, { data: w, dims: [9] });
    expect(y.dims).toEqual([3, 9]);
    expect16(y.data, expected.y);
    const row = rmsNorm({ data: x, dims: [9], offset: 9 }, w);
    expect16(row.data, (expected.y as Uint16Array).subarray(9, 18));
  });

  test('goes with 16-bit and float32 arrays, and with no other dtype', () => {
    expect16(rmsNorm(x, c.weight, options), expected.y);
    expectSameBits(rmsNorm(c.x, w, { dtype: 'float16' }), expected.y);
    expect(rmsNorm(x, floats(9)).length).toBe(27);
    const dtype = errorOf(() => rmsNorm(x, c.weight, { dtype: 'bfloat16' }));
    const named = "'float16', since 'x' is a Float16Array";
    expectRefusal(dtype, [value, 'dtype', named, "'bfloat16'"]);
    const mixed = errorOf(() => rmsNorm(c.x, w, { dtype: 'bfloat16' }));
    expect(mixed.code).toBe(type);
    // The stand-in is a Uint16Array.
    if (Float16Array !== StandIn) expect(mixed.message).toMatch(/Received .*Float16Array/);
  });

  test('works in a module', () => {
    const norm = new RMSNorm(9, { dtype: 'float16' });
    present(norm.weight).set(c.weight ?? []);
    expect16(norm.forward(x), expected.y);
    const { y, backward } = norm.vjp(x);
    expect16(y, expected.y);
    expect16(backward(dy), expectedBack.dx);
    const out = as16(c.x);
    expect(norm.forward(x, { out })).toBe(out);
    expect(backward(dy, { dxOut: out })).toBe(out);
    expectSameBits(bitsIn(out), expectedBack.dx);
    const sum = norm.forward(x, { residual: as16(c.residual) });
    expect16(sum.sum, expectedSum.sum);
    const inPlace = as16(c.x);
    const refusal = errorOf(() => norm.vjp(inPlace, { out: inPlace }));
    expect(refusal.message).toContain('not share memory with x');
    expectSameBits(bitsIn(inPlace), c.x);
    const ofWeight = new RMSNorm(9, { weight: w });
    expect(ofWeight.weight).toBe(w);
    expect(ofWeight.dtype).toBe('float16');
    expect16(ofWeight.forward(x), expected.y);
  });

  test('works in a plan', () => {
    const plan = createPlan({ rows: 3, weight: w });
    expect(plan.dtype).toBe('float16');
    const [out, rstd, dx, dweight] = [as16(c.x), floats(3), as16(c.x), as16(c.weight)];
    plan.forward(x, out);
    expectSameBits(bitsIn(out), expected.y);
    plan.forward(x, out, rstd, as16(c.residual), dx);
    expectSameBits(bitsIn(out), expectedSum.y);
    expectSameBits(bitsIn(dx), expectedSum.sum);
    plan.backward(dy, x, null, dx, dweight);
    expectSameBits(bitsIn(dx), expectedBack.dx);
    expectSameBits(bitsIn(dweight), expectedBack.dweight);
    const refused = errorOf(() => createPlan({ rows: 3, weight: w, dtype: 'bfloat16' }));
    const named = "'float16', since 'weight' is a Float16Array";
    expectRefusal(refused, [value, 'dtype', named, "'bfloat16'"]);
    const float32 = createPlan({ rows: 3, weight: floats(9) });
    const call = () => {
      float32.forward(x, out);
    };
    expect(errorOf(call).code).toBe(type);
  });

  test('can be converted', () => {
    const values = fromFloat16(x);
    expectSameBits(values, fromFloat16(c.x as Uint16Array));
    const out = as16(new Uint16Array(27), 2);
    expect(toFloat16(values, out)).toBe(out);
    expectSameBits(bitsIn(out), c.x);
    expectSameBits(toFloat16(values), c.x);
    const short = as16(new Uint16Array(26));
    expect(errorOf(() => toFloat16(values, short)).code).toBe(range);
  });

  test('is refused without memory', () => {
    const gone = as16(c.x);
    detached(bitsIn(gone));
    const buffer = new (ArrayBuffer as unknown as ResizableBuffer)(16, { maxByteLength: 16 });
    const cut = new Float16Array(buffer, 8, 4);
    buffer.resize(10);
    const expectGone = (name: string, error: CodedError) => {
      expect(error.code).toBe(value);
      expect(error.message).toContain(
        `'${name}' must be an array whose buffer is neither detached`,
      );
    };
    for (const array of [gone, cut]) {
      expectGone(
        'x',
        errorOf(() => rmsNorm(array, w)),
      );
      expectGone(
        'x.data',
        errorOf(() => rmsNorm({ data: array, dims: [0, 9] }, w)),
      );
      expectGone(
        'out',
        errorOf(() => rmsNorm(x, w, { out: array })),
      );
      expectGone(
        'source',
        errorOf(() => fromFloat16(array)),
      );
      expectGone(
        'out',
        errorOf(() => toFloat16(floats(0), array)),
      );
    }
    expect(rmsNorm(new Float16Array(0), w).length).toBe(0);
  });

  const onGpu = gpus.length > 0 ? test : test.skip;
  onGpu('goes to a GPU and back', async () => {
    const buffer = DeviceBuffer.from(x);
    expect(buffer.dtype).toBe('float16');
    expectSameBits(buffer.toHost(), c.x);
    const [target, later] = [as16(new Uint16Array(27)), as16(new Uint16Array(27))];
    buffer.copyTo(target);
    await buffer.copyToAsync(later);
    for (const array of [target, later]) expectSameBits(bitsIn(array), c.x);
    buffer.copyFrom(dy);
    await buffer.copyFromAsync(dy);
    expectSameBits(buffer.toHost(), c.dy);
    const other = new DeviceBuffer(27, 'bfloat16');
    expect(
      errorOf(() => {
        other.copyFrom(x);
      }).code,
    ).toBe(type);
    const gone = as16(c.x);
    detached(bitsIn(gone));
    expect(
      errorOf(() => {
        buffer.copyTo(gone);
      }).code,
    ).toBe(value);
    const { device } = present(gpus[0] ?? null);
    expect16(rmsNorm(x, w, { device }), expected.y);
  });
});

describe('a fake Float16Array of a package', () => {
  const real = PackagedFloat16Array as unknown as Float16ArrayConstructor;
  const Marked = class extends Uint16Array {};
  Object.defineProperty(Marked, Symbol.for('__Float16Array__'), { value: 1 });
  const honest = {
    [Symbol.toStringTag]: 'Float16Array',
    constructor: real as unknown,
    buffer: new ArrayBuffer(64) as unknown,
    byteOffset: 0 as unknown,
    length: 9 as unknown,
    keys: () => [],
  };
  const fake = (properties: object) =>
    new Proxy({ ...honest, ...properties }, {}) as unknown as Input;
  const revokedClass = () => {
    const { proxy, revoke } = Proxy.revocable(Marked, {});
    revoke();
    return proxy;
  };

  test.each<[string, object]>([
    ['no class', { constructor: undefined }],
    ['another class', { constructor: Map }],
    ['an object as class', { constructor: Marked.prototype }],
    ['a revoked class', { constructor: revokedClass() }],
    ['no buffer', { buffer: undefined }],
    ['an array as buffer', { buffer: new Uint8Array(64) }],
    [
      'an object with the prototype of a buffer',
      { buffer: Object.create(ArrayBuffer.prototype) as object },
    ],
    ['no offset', { byteOffset: undefined }],
    ['an object that converts to a length', { length: { valueOf: () => 9 } }],
    ['another tag', { [Symbol.toStringTag]: 'Uint16Array' }],
  ])('is refused if it has %s', (_, properties) => {
    const error = errorOf(() => rmsNorm(fake(properties), c.weight));
    expect([error.code, error.message]).toEqual([
      type,
      expect.stringContaining(`'x' must be ${anArray}`),
    ]);
    expect(error).toBeInstanceOf(TypeError);
  });

  test.each<[string, object]>([
    ['an odd offset', { byteOffset: 1 }],
    ['a negative offset', { byteOffset: -2 }],
    ['memory outside of its buffer', { byteOffset: 60 }],
    ['a negative length', { length: -1 }],
    ['an infinite length', { length: Infinity }],
    ['a length of 2^53', { length: 2 ** 53 }],
    ['a detached buffer', { buffer: detached(new Uint8Array(64)).buffer }],
  ])('is refused if it has %s', (_, properties) => {
    expect(errorOf(() => rmsNorm(fake(properties), c.weight)).code).toBe(value);
    expect(errorOf(() => fromFloat16(fake(properties) as Float16ArrayLike)).code).toBe(value);
  });

  test('is refused if it is no proxy', () => {
    expect(errorOf(() => rmsNorm({ ...honest } as unknown as Input, c.weight)).code).toBe(type);
  });

  test('has its memory and length read once', () => {
    const reads: PropertyKey[] = [];
    const array = new Proxy(honest, {
      get: (target, name) => {
        if (reads.includes(name) && name !== 'constructor')
          throw new Error(`${String(name)} is read twice`);
        reads.push(name);
        return Reflect.get(target, name) as unknown;
      },
    });
    const y = rmsNorm(array as unknown as Float16ArrayLike, c.weight);
    expect(y).toBeInstanceOf(real);
    expect(reads).toContain('buffer');
  });

  test('may throw its own errors', async () => {
    const array = new Proxy(honest, {
      get: (target, name) => {
        if (name === 'buffer') throw ownError;
        return Reflect.get(target, name) as unknown;
      },
    }) as unknown as Float16ArrayLike;
    expect(errorOf(() => rmsNorm(array, c.weight))).toBe(ownError);
    expect(await rejectionOf(rmsNorm.async(array, c.weight))).toBe(ownError);
    const broken = fake({
      constructor: class extends Marked {
        constructor() {
          super();
          throw ownError;
        }
      },
    });
    expect(errorOf(() => rmsNorm(broken, c.weight))).toBe(ownError);
  });
});
