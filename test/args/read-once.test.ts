// The library reads each property that callers pass once. It checks, uses and returns the value of
// that read, although the property may change later.

import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';

import {
  createPlan,
  DeviceBuffer,
  devices,
  rmsNorm,
  RMSNorm,
  Stream,
  type TensorLike,
} from '../../lib';
import { rmsNorm as rmsNormOfTensors } from '../../lib/tfjs';
import { errorOf, expectSameBits, normals } from '../support/support';

tf.env().set('IS_TEST', true); // suppresses TensorFlow.js's advertisement

const floats = (seed: number, length: number) => Float32Array.from(normals(seed, length));
const x = floats(1, 12);
const dy = floats(2, 12);
const weight = floats(3, 4);

/** A copy of an object with counting getters, and the number of reads of each property. */
function counted<T extends object>(values: T): { readonly object: T; readonly reads: object } {
  const reads: Record<string, number> = {};
  const object = {} as T;
  for (const [name, value] of Object.entries(values)) {
    Object.defineProperty(object, name, {
      enumerable: true,
      get: () => {
        reads[name] = (reads[name] ?? 0) + 1;
        return value as unknown;
      },
    });
  }
  return { object, reads };
}

/** The counts to expect: one read of each property. */
const once = (values: object) => Object.fromEntries(Object.keys(values).map((name) => [name, 1]));

const common = {
  eps: 0.5,
  weightOffset: 1,
  castOrder: 'float',
  normalizedShape: 4,
  dtype: 'float32',
  device: 'cpu',
} as const;
const view = { data: x, dims: [3, 4], type: 'float32', strides: [4, 1], offset: 0 };
const outputs = () => ({ out: floats(0, 12), residual: dy, sumOut: floats(0, 12) });

describe('every option and property of a tensor is read once by', () => {
  test.each([['forward'], ['forwardAsync']] as const)('rmsNorm.%s', async (name) => {
    const options = counted({ ...common, ...outputs(), rstdOut: new Float32Array(3) });
    const tensor = counted(view);
    const result = await rmsNorm[name](tensor.object, weight, options.object);
    expect(options.reads).toEqual(once({ ...common, ...outputs(), rstdOut: 1 }));
    expect(tensor.reads).toEqual(once(view));
    const expected = rmsNorm.forward(x, weight, { ...common, residual: dy });
    expectSameBits(result.y as unknown as Float32Array, expected.y);
  });

  test.each([['backward'], ['backwardAsync']] as const)('rmsNorm.%s', async (name) => {
    const own = { needsDx: true, needsDweight: true, accumulate: false };
    const outputs = { dxOut: floats(0, 12), dweightOut: floats(0, 4), dsum: x };
    const options = counted({ ...common, ...own, ...outputs });
    const [tensor, gradient] = [counted(view), counted({ ...view, data: dy })];
    await rmsNorm[name](gradient.object, tensor.object, weight, null, options.object);
    expect(options.reads).toEqual(once({ ...common, ...own, ...outputs }));
    expect(tensor.reads).toEqual(once(view));
    expect(gradient.reads).toEqual(once(view));
  });

  test('createPlan', () => {
    const { eps, weightOffset, castOrder, dtype, device } = common;
    const own = { rows: 3, hiddenSize: 4, weight, eps, weightOffset, castOrder, dtype, device };
    const options = counted({ ...own, accumulate: false });
    const plan = createPlan(options.object);
    expect(options.reads).toEqual(once({ ...own, accumulate: 1 }));
    const y = new Float32Array(12);
    plan.forward(x, y);
    expectSameBits(y, rmsNorm(x, weight, common));
  });

  test('RMSNorm', () => {
    const { eps, weightOffset, castOrder, dtype, device } = common;
    const own = { eps, weightOffset, castOrder, dtype, device, elementwiseAffine: true, weight };
    const options = counted(own);
    const norm = new RMSNorm(4, options.object);
    expect(options.reads).toEqual(once(own));

    const callOptions = counted({ ...outputs(), dtype: 'float32' as const });
    const [tensor, out] = [counted(view), counted({ ...view, data: floats(0, 12) })];
    const { backward } = norm.vjp(tensor.object, callOptions.object);
    expect(callOptions.reads).toEqual(once({ ...outputs(), dtype: 1 }));
    expect(tensor.reads).toEqual(once(view));

    const backOptions = counted({ dxOut: out.object, dsum: x, needsDx: true as const });
    const gradient = counted({ ...view, data: dy });
    expect(backward(gradient.object, backOptions.object)).toBe(out.object);
    expect(backOptions.reads).toEqual(once({ dxOut: 1, dsum: 1, needsDx: 1 }));
    expect(gradient.reads).toEqual(once(view));
    expect(out.reads).toEqual(once(view));
  });

  test("rmsNorm of TensorFlow.js, whose backward uses forward's options", () => {
    const { eps, weightOffset, device } = common;
    const shape = [4];
    const options = counted({ eps, weightOffset, device, normalizedShape: shape });
    const differentiate = tf.valueAndGrads((a: tf.Tensor, b: tf.Tensor) => {
      const y = rmsNormOfTensors(a, b, options.object);
      shape[0] = 12;
      return y;
    });
    const { grads } = differentiate(
      [tf.tensor(x, [3, 4]), tf.tensor(weight)],
      tf.tensor(dy, [3, 4]),
    );
    const expected = rmsNorm.backward(dy, x, weight, null, { eps, weightOffset });
    expectSameBits(grads[1]?.dataSync<'float32'>() ?? null, expected.dweight);
    expect(options.reads).toEqual(once({ eps, weightOffset, device, normalizedShape: 1 }));
  });
});

test('changes of options while an asynchronous call runs have no effect', async () => {
  const [out, other] = [floats(0, 12), floats(0, 12)];
  const options: { out: Float32Array; weightOffset: number } = { out, weightOffset: 1 };
  const dims = [3, 4];
  const promise = rmsNorm.async(x, weight, options);
  const fresh = rmsNorm.async({ data: x, dims }, weight);
  options.out = other;
  dims[0] = 7;
  expect(await promise).toBe(out);
  expect((await fresh).dims).toEqual([3, 4]);
});

/** An array whose elements change after their first read. */
const changing = (first: readonly number[], then: readonly number[]) => {
  const reads = new Set<unknown>();
  return new Proxy([...first], {
    get: (list, name) => {
      const values = reads.has(name) ? then : list;
      if (typeof name === 'string' && /^\d+$/.test(name)) reads.add(name);
      return Reflect.get(values, name) as unknown;
    },
  });
};

describe('rmsNorm uses the first read of a changing', () => {
  const cases: [string, Partial<TensorLike<Float32Array>>][] = [
    ['dims', { dims: changing([3, 4], [2 ** 40, 4]) }],
    ['strides', { strides: changing([4, 1], [2 ** 40, 1]) }],
  ];
  test.each(cases)('%s', (_, lying) => {
    const result = rmsNorm({ data: x, dims: [3, 4], ...lying }, weight);
    expect(result.dims).toEqual([3, 4]);
    expectSameBits(result.data, rmsNorm(x, weight));
  });

  test('normalizedShape', () => {
    const normalizedShape = changing([4], [5]);
    expectSameBits(rmsNorm(x, null, { normalizedShape }), rmsNorm(x, null, { normalizedShape: 4 }));
  });
});

test('properties of Object.prototype are not options', () => {
  Object.defineProperty(Object.prototype, 'foo', {
    value: 1,
    enumerable: true,
    configurable: true,
  });
  try {
    const { y } = rmsNorm.forward(x, weight, { eps: 0.5 });
    expectSameBits(y, rmsNorm(x, weight, { eps: 0.5 }));
    // An own property of the same name is an unknown option.
    expect(errorOf(() => rmsNorm(x, weight, { foo: 1 } as never)).message).toContain("'foo'");
  } finally {
    Reflect.deleteProperty(Object.prototype, 'foo');
  }
});

const onGpu = devices().length > 0 ? test : test.skip;
onGpu('copies to a GPU read each option once', () => {
  const stream = new Stream();
  const options = { dtype: 'float16', device: stream.device, stream } as const;
  const fromOptions = counted(options);
  const buffer = DeviceBuffer.from(x, fromOptions.object);
  expect(fromOptions.reads).toEqual(once(options));
  for (const partner of [floats(1, 12), buffer]) {
    const target = new DeviceBuffer(12, 'float16');
    const copyOptions = counted({ stream });
    target.copyFrom(partner, copyOptions.object);
    expect(copyOptions.reads).toEqual({ stream: 1 });
  }
});
