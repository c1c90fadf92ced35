// Other code may add properties to Object.prototype. The library must not take one for an option, a
// tensor's property or a field of a result, and its errors must stay the same.

import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { inspect } from 'node:util';
import { runInNewContext } from 'node:vm';

import {
  createPlan,
  CudaEvent,
  DeviceBuffer,
  devices,
  fromFloat16,
  HostBuffer,
  rmsNorm,
  RMSNorm,
  Stream,
  toFloat16,
  type CommonOptions,
} from '../../lib';
import { codedError, CudaError } from '../../lib/core/errors';
import { rmsNorm as rmsNormOfTensors } from '../../lib/tfjs';
import { normals } from '../support/support';

tf.env().set('IS_TEST', true); // suppresses TensorFlow.js's advertisement

const floats = (seed: number, length: number) => Float32Array.from(normals(seed, length));
const [x, dy, weight] = [floats(1, 12), floats(2, 12), floats(3, 4)];
const { rstd } = rmsNorm.forward(x, weight);
const tensor = { data: x, dims: [3, 1, 4] };
const view = { data: floats(4, 40), dims: [2, 3, 4], strides: [20, 5, 1], offset: 3 };
const [tensorX, tensorWeight] = [tf.tensor(x, [3, 4]), tf.tensor(weight)];

/** Options as an instance of a class: `eps` is a getter of the prototype. */
class Settings {
  readonly #eps: number;
  constructor(eps: number) {
    this.#eps = eps;
  }
  get eps() {
    return this.#eps;
  }
}

class TensorOfAClass {
  readonly dims = [3, 4];
  get data() {
    return x;
  }
}

type Call = () => unknown;

/** Calls of every function. Their results and errors depend on the arguments alone. */
const calls: Record<string, Call> = {
  rmsNorm: () => rmsNorm(x, weight),
  'rmsNorm with options': () => rmsNorm(x, weight, { eps: 0.5 }),
  'rmsNorm with empty options': () => rmsNorm(x, weight, {}),
  'rmsNorm with all options': () =>
    rmsNorm(x, weight, {
      weightOffset: 1,
      castOrder: 'float',
      normalizedShape: [4],
      device: 'cpu',
    }),
  'rmsNorm with options of a class': () => rmsNorm(x, weight, new Settings(0.5)),
  'rmsNorm with inherited options': () =>
    rmsNorm(x, weight, Object.create({ eps: 0.5 }) as CommonOptions),
  'rmsNorm with options without a prototype': () =>
    rmsNorm(x, weight, Object.assign(Object.create(null) as CommonOptions, { eps: 0.5 })),
  'rmsNorm of a tensor': () => rmsNorm(tensor, weight),
  'rmsNorm of a tensor of a class': () => rmsNorm(new TensorOfAClass(), weight),
  'rmsNorm of a view': () => rmsNorm(view, weight),
  'rmsNorm of bits': () =>
    rmsNorm(new Uint16Array([1, 2]), null, { dtype: 'bfloat16', normalizedShape: 2 }),
  'rmsNorm.forward': () => rmsNorm.forward(x, weight),
  'rmsNorm.forward with a residual': () => rmsNorm.forward(x, weight, { residual: dy }),
  'rmsNorm.backward': () => rmsNorm.backward(dy, x, weight, rstd),
  'rmsNorm.backward with options': () =>
    rmsNorm.backward(dy, view, weight, null, { needsDx: false }),
  'rmsNorm.async': () => rmsNorm.async(x, weight),
  'rmsNorm.forwardAsync': () => rmsNorm.forwardAsync(view, weight, { eps: 0.5 }),
  'rmsNorm.backwardAsync': () => rmsNorm.backwardAsync(dy, x, weight),
  RMSNorm: () => {
    const norm = new RMSNorm(4);
    const { y, sum, backward } = norm.vjp(x);
    const dx = [backward(dy), backward(dy, { dsum: x })];
    return [y, sum, dx, norm.weightGrad, norm.forward(x), norm.forward(x, { residual: dy })];
  },
  'RMSNorm with options': () => {
    const norm = new RMSNorm([4], { eps: 0.5, dtype: 'float64' });
    return [norm.weight, norm.forward(Float64Array.from(x)), norm.device];
  },
  createPlan: () => {
    const plan = createPlan({ rows: 3, weight });
    const [y, dx] = [new Float32Array(12), new Float32Array(12)];
    plan.forward(x, y);
    plan.backward(dy, x, null, dx, null);
    return [{ ...plan, forward: null, backward: null }, y, dx];
  },
  conversions: () => fromFloat16(toFloat16(x)),
  'an unknown option': () => rmsNorm(x, weight, { bar: 1 } as CommonOptions),
  'a map for options': () => rmsNorm(x, weight, new Map() as CommonOptions),
  'a list for options': () => rmsNorm(x, weight, [] as CommonOptions),
  'a wrong eps': () => rmsNorm(x, weight, { eps: -1 }),
  'a wrong x': () => rmsNorm({} as never, weight),
  'a tensor without dims': () => rmsNorm({ data: x } as never, weight),
  'a device': () => devices().length === 0 && rmsNorm(x, weight, { device: 'cuda' }),
  'the reason': () => devices().reason,
  'an error of the driver': () => new CudaError('ERR_CUDA_X', 'message', {}),
  'another error': () => codedError('ERR_DISPOSED', 'message'),
};
if (devices().length > 0) {
  calls['objects of a GPU'] = async () => {
    const stream = new Stream();
    const event = new CudaEvent();
    event.record(stream);
    const buffer = DeviceBuffer.from(x);
    const y = rmsNorm(buffer, DeviceBuffer.from(weight, { stream: Stream.default() }));
    new HostBuffer(4, 'float32').dispose();
    new DeviceBuffer(4, 'float16').fill(1).dispose();
    return [await y.toHostAsync(), buffer.toHost(), stream.device, event.device];
  };
}

const textOf = (result: unknown) =>
  inspect(result, { depth: 4, maxArrayLength: null, compact: true, breakLength: Infinity });

/** The outcome of a call as text: its result, or the name, code and message of its error. */
async function outcomeOf(call: Call): Promise<() => string> {
  try {
    const result = await call();
    return () =>
      result instanceof Error
        ? textOf(
            Object.entries(Object.getOwnPropertyDescriptors(result)).filter(
              ([name]) => name !== 'stack',
            ),
          )
        : textOf(result);
  } catch (thrown) {
    return () => {
      const { name, code, message } = thrown as Error & { code?: string };
      return `${name} ${String(code)} ${message}`;
    };
  }
}

/** The outcomes of calls made while Object.prototype has a property; described after its removal. */
async function outcomesWith(name: string, descriptor: PropertyDescriptor, of = calls) {
  const outcomes: Record<string, () => string> = {};
  for (const [title, call] of Object.entries(of)) {
    Object.defineProperty(Object.prototype, name, { ...descriptor, configurable: true });
    const outcome = await outcomeOf(call);
    Reflect.deleteProperty(Object.prototype, name);
    outcomes[title] = outcome;
  }
  return Object.fromEntries(Object.entries(outcomes).map(([title, text]) => [title, text()]));
}

const expected = outcomesWith('nothing', { value: undefined });

/** Names of options and of tensor properties. */
const ours = [
  ...['eps', 'weightOffset', 'castOrder', 'normalizedShape', 'dtype', 'device', 'stream'],
  ...['out', 'rstdOut', 'residual', 'sumOut', 'needsDx', 'needsDweight', 'dxOut'],
  ...['dweightOut', 'dsum', 'accumulate', 'rows', 'hiddenSize', 'weight'],
  ...['elementwiseAffine', 'timing', 'data', 'dims', 'type', 'strides', 'offset'],
];
/** Names that the library's own code reads, writes or defines. */
const others = [
  ...['foo', 'length', 'code', 'reason', 'driverError', 'driverMessage', 'name', 'view', 'y', 'dx'],
  ...['x', 'rstd', 'dweight', 'forward', 'backward', 'buffer', 'native', 'ordinal', 'cause'],
];
const throws = (): never => {
  throw new Error('a property of all objects was used');
};

describe.each([...ours, ...others])('calls ignore Object.prototype.%s', (name) => {
  test.each<[string, PropertyDescriptor]>([
    ['a value', { value: 3, enumerable: true, writable: true }],
    ['a read-only value', { value: [2], enumerable: true }],
    ['a non-enumerable value', { value: 'scalar' }],
    ['a getter that throws', { get: throws, set: throws, enumerable: true }],
    ['a non-enumerable getter that throws', { get: throws }],
  ])('as %s', async (_, descriptor) => {
    expect(await outcomesWith(name, descriptor)).toEqual(await expected);
  });
});

test.each(['get', 'set', 'value', 'writable', '0', '1', '2', '3'])(
  'calls ignore Object.prototype[%j], a descriptor field or an index',
  async (name) => {
    const set = jest.fn();
    const isIndex = /\d/.test(name);
    const descriptor = isIndex ? { get: () => undefined, set } : { value: throws };
    expect(await outcomesWith(name, descriptor)).toEqual(await expected);
  },
);

// With other names TensorFlow.js itself fails; its gradients fail with any enumerable property.
test.each([
  'foo',
  'eps',
  'weightOffset',
  'normalizedShape',
  'device',
  'data',
  'dims',
  'offset',
  'out',
])('rmsNorm for TensorFlow.js ignores Object.prototype.%s', async (name) => {
  const ofTensors = {
    'without options': () => rmsNormOfTensors(tensorX, tensorWeight).dataSync(),
    'with options': () => rmsNormOfTensors(tensorX, null, { normalizedShape: 4 }).dataSync(),
  };
  const clean = await outcomesWith('nothing', { value: 1 }, ofTensors);
  expect(await outcomesWith(name, { get: throws }, ofTensors)).toEqual(clean);
  expect(await outcomesWith(name, { value: 3, enumerable: true }, ofTensors)).toEqual(clean);
});

test("rmsNorm ignores properties of another realm's Object.prototype", () => {
  const there = runInNewContext(`
    Object.prototype.eps = 0.5;
    Object.prototype.foo = 1;
    Object.prototype.offset = 1;
    ({ options: { weightOffset: 1 }, empty: {}, x: { dims: [3, 4] } })
  `) as Record<'options' | 'empty' | 'x', object>;
  const here = rmsNorm(x, weight, { weightOffset: 1 });
  expect(rmsNorm(x, weight, there.options)).toEqual(here);
  expect(rmsNorm(x, weight, there.empty)).toEqual(rmsNorm(x, weight));
  const y = rmsNorm(Object.assign(there.x, { data: x }) as typeof tensor, weight);
  expect(y.data).toEqual(rmsNorm(x, weight));
});

test('rmsNorm reads a getter of options once while Object.prototype has an option', () => {
  const read = jest.fn(() => 0.5);
  class Options {
    get eps() {
      return read();
    }
  }
  Object.defineProperty(Object.prototype, 'out', { value: 3, configurable: true });
  try {
    rmsNorm(x, weight, new Options());
  } finally {
    Reflect.deleteProperty(Object.prototype, 'out');
  }
  expect(read).toHaveBeenCalledTimes(1);
});
