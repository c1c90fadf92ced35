// Passes every hostile value to every argument, option and tensor property of every public function.
// The call must throw an error with a code, or the error that the value itself throws. The few
// values that are valid for an argument must be accepted.

import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';

import {
  createPlan,
  CudaEvent,
  DeviceBuffer,
  devices,
  fromBFloat16,
  fromFloat16,
  Graph,
  HostBuffer,
  rmsNorm,
  RMSNorm,
  setCpuVariant,
  setNumThreads,
  Stream,
  toBFloat16,
  toFloat16,
} from '../../lib';
import { rmsNorm as rmsNormOfTensors } from '../../lib/tfjs';
import { hostileValues, ownError } from '../support/hostile-values';
import { floats, type AnyFunction } from '../support/refusals';
import { normals } from '../support/support';

tf.env().set('IS_TEST', true); // suppresses TensorFlow.js's advertisement

const x = Float32Array.from(normals(1, 12));
const dy = Float32Array.from(normals(2, 12));
const weight = Float32Array.from(normals(3, 4));
const rstd = rmsNorm.forward(x, weight).rstd;
const tensor = { data: x, dims: [3, 4] };
const view = { ...tensor, strides: [4, 1], offset: 0, type: 'float32' };

/** An argument, option or property, and the names of the hostile values that are valid for it. */
interface Slot {
  readonly title: string;
  readonly call: (value: unknown) => unknown;
  readonly takes: readonly string[];
  /** Names of hostile values that it may accept or refuse. */
  readonly mayTake: readonly string[];
}

const slots: Slot[] = [];
const slot = (
  title: string,
  takes: readonly string[],
  call: (value: unknown) => unknown,
  mayTake: readonly string[] = [],
) => {
  slots.push({ title, takes, call, mayTake });
};

const zeros = ['zero', 'minus zero'];
const numbers = [...zeros, 'minus one', 'a fraction', '2^53'];
const notNegative = [...zeros, 'a fraction', '2^53'];
// Valid wherever an array is valid, because its elements can be read.
const fours = ['a list that throws in all methods'];
// Arrays with overridden properties. A plan may ignore the overrides and accept the array.
const liars = Object.keys(hostileValues).filter((name) => name.startsWith('an array of '));
// Valid as options: objects without a property that has the name of an option.
const emptyOptions = [
  ...['an object', 'an object without a prototype', 'a proxy', 'a date', 'a Number'],
  ...['an error that cannot be inspected', 'what cannot be converted to primitives'],
  ...['what converts to a device'],
];

/** Adds the slots of a tensor: the whole, its properties, and their elements. */
function tensorSlots(title: string, takes: readonly string[], call: (value: unknown) => unknown) {
  slot(title, takes, call);
  const property = (
    name: string,
    taken: readonly string[],
    of: object,
    wrap = (v: unknown) => v,
  ) => {
    slot(`${title}.${name}`, taken, (value) =>
      call({ ...of, [name.replace(/\[.*/, '')]: wrap(value) }),
    );
  };
  property('data', [], tensor);
  property('dims', [], tensor);
  property('dims[0]', [], tensor, (value) => [value, 4]);
  property('dims[1]', [], view, (value) => [3, value]);
  property('type', ['an empty string', 'a string', 'a long string'], tensor);
  property('strides', [], view);
  property('strides[0]', zeros, view, (value) => [value, 1]);
  property('offset', zeros, view);
}

/** Adds the slots of the options that all functions share; `call` makes a call with options. */
function commonSlots(title: string, call: (options: unknown) => unknown) {
  slot(`${title} options`, emptyOptions, call);
  const option = (name: string, takes: readonly string[]) => {
    slot(`${title} ${name}`, takes, (value) => call({ [name]: value }));
  };
  option('eps', notNegative);
  option('weightOffset', numbers);
  option('normalizedShape', fours);
  for (const name of ['castOrder', 'dtype', 'device', 'stream']) option(name, []);
}

const forwards: Record<string, AnyFunction> = {
  rmsNorm: rmsNorm as AnyFunction,
  'rmsNorm.async': rmsNorm.async as AnyFunction,
  'rmsNorm.forward': rmsNorm.forward as AnyFunction,
  'rmsNorm.forwardAsync': rmsNorm.forwardAsync as AnyFunction,
};
for (const [title, forward] of Object.entries(forwards)) {
  tensorSlots(`${title} x`, [], (value) => forward(value, weight));
  slot(`${title} weight`, [], (value) => forward(x, value));
  slot(`${title} weight.dims`, fours, (value) => forward(x, { data: weight, dims: value }));
  commonSlots(title, (options) => forward(x, weight, options));
  const residual = floats(12);
  for (const name of ['out', 'residual', 'sumOut']) {
    slot(`${title} ${name}`, [], (value) =>
      forward(x, weight, { residual, sumOut: floats(12), [name]: value }),
    );
  }
}
slot('rmsNorm.forward rstdOut', [], (value) =>
  forwards['rmsNorm.forward']?.(x, weight, { rstdOut: value }),
);

const backwards: Record<string, AnyFunction> = {
  'rmsNorm.backward': rmsNorm.backward as AnyFunction,
  'rmsNorm.backwardAsync': rmsNorm.backwardAsync as AnyFunction,
};
for (const [title, backward] of Object.entries(backwards)) {
  tensorSlots(`${title} dy`, [], (value) => backward(value, x, weight, rstd));
  tensorSlots(`${title} x`, [], (value) => backward(dy, value, weight, rstd));
  slot(`${title} weight`, [], (value) => backward(dy, x, value, rstd));
  slot(`${title} rstd`, ['null'], (value) => backward(dy, x, weight, value));
  commonSlots(title, (options) => backward(dy, x, weight, rstd, options));
  for (const name of ['dxOut', 'dweightOut', 'dsum']) {
    slot(`${title} ${name}`, [], (value) => backward(dy, x, weight, rstd, { [name]: value }));
  }
  for (const name of ['needsDx', 'needsDweight', 'accumulate']) {
    slot(`${title} ${name}`, ['true'], (value) =>
      backward(dy, x, weight, rstd, { dweightOut: floats(4), [name]: value }),
    );
  }
}

const Module = RMSNorm as unknown as new (...args: unknown[]) => {
  forward: AnyFunction;
  async: AnyFunction;
  vjp: (...args: unknown[]) => { backward: AnyFunction };
  weightGrad: unknown;
};
const moduleSettings = { dtype: 'float32', elementwiseAffine: true } as const;
slot('new RMSNorm normalizedShape', fours, (value) => new Module(value));
slot('new RMSNorm options', emptyOptions, (value) => new Module(4, value));
const moduleNames = ['castOrder', 'dtype', 'device', 'elementwiseAffine', 'eps', 'weightOffset'];
slot('new RMSNorm weight', ['undefined'], (value) => new Module(4, { weight: value }).forward(x));
slot('new RMSNorm weight.data', [], (data) => new Module(4, { weight: { data, dims: [4] } }));
for (const name of [...moduleNames, 'stream']) {
  const takes: Record<string, readonly string[]> = {
    elementwiseAffine: ['true'],
    eps: notNegative,
    weightOffset: numbers,
  };
  slot(`new RMSNorm ${name}`, takes[name] ?? [], (value) =>
    new Module(4, { ...moduleSettings, [name]: value }).forward(x),
  );
}
for (const method of ['forward', 'async', 'vjp'] as const) {
  tensorSlots(`RMSNorm.${method} x`, [], (value) => new Module(4)[method](value));
  slot(`RMSNorm.${method} options`, emptyOptions, (value) => new Module(4)[method](x, value));
  for (const name of ['out', 'residual', 'sumOut', 'dtype']) {
    slot(`RMSNorm.${method} ${name}`, [], (value) =>
      new Module(4)[method](x, { ...(name === 'sumOut' && { residual: x }), [name]: value }),
    );
  }
}
const backwardOf = (...args: unknown[]) => new Module(4).vjp(x).backward(...args);
tensorSlots('backward of RMSNorm.vjp dy', [], (value) => backwardOf(value));
slot('backward of RMSNorm.vjp options', emptyOptions, (value) => backwardOf(dy, value));
for (const name of ['dxOut', 'dsum', 'needsDx']) {
  const takes = name === 'needsDx' ? ['true', 'false'] : [];
  slot(`backward of RMSNorm.vjp ${name}`, takes, (value) => backwardOf(dy, { [name]: value }));
}
slot('RMSNorm.weightGrad', ['null', 'undefined'], (value) => {
  const norm = new Module(4);
  norm.weightGrad = value;
  return norm.vjp(x).backward(dy);
});

const planOf = (options: object) => {
  const plan = createPlan({ rows: 3, weight, ...options });
  plan.forward(x, floats(12));
  return plan;
};
slot('createPlan options', [], (value) => createPlan(value as never));
const planTakes: Record<string, readonly string[]> = {
  hiddenSize: [],
  dtype: [],
  rows: zeros,
  weight: ['null'],
  eps: notNegative,
  weightOffset: numbers,
  accumulate: ['true'],
};
for (const name of ['device', 'stream', 'castOrder', ...Object.keys(planTakes)]) {
  const takes = planTakes[name] ?? [];
  slot(
    `createPlan ${name}`,
    takes,
    (value) => createPlan({ rows: 3, hiddenSize: 4, weight, [name]: value }),
    ['null'],
  );
}
for (const name of ['x', 'out', 'rstdOut', 'residual', 'sumOut']) {
  const takes = name === 'rstdOut' ? ['null'] : [];
  slot(
    `plan.forward ${name}`,
    takes,
    (value) => {
      const values = { x, out: floats(12), rstdOut: null, residual: x, sumOut: floats(12) };
      const args = Object.values({ ...values, [name]: value });
      (planOf({}).forward as AnyFunction)(...args);
    },
    liars,
  );
}
for (const name of ['dy', 'x', 'rstd', 'dxOut', 'dweightOut', 'dsum']) {
  const takes = ['dy', 'x'].includes(name) ? [] : ['null'];
  slot(
    `plan.backward ${name}`,
    takes,
    (value) => {
      const outputs = { dxOut: floats(12), dweightOut: floats(4), dsum: null };
      const args = Object.values({ dy, x, rstd, ...outputs, [name]: value });
      (planOf({}).backward as AnyFunction)(...args);
    },
    liars,
  );
}

for (const convert of [toBFloat16, fromBFloat16, toFloat16, fromFloat16] as AnyFunction[]) {
  const source = convert.name.startsWith('to') ? floats(4) : new Uint16Array(4);
  slot(`${convert.name} source`, [], (value) => convert(value));
  slot(`${convert.name} out`, [], (value) => convert(source, value));
}
slot('setNumThreads count', [], setNumThreads as AnyFunction);
slot('setCpuVariant name', [], setCpuVariant as AnyFunction);

const ofTensors = rmsNormOfTensors as unknown as AnyFunction;
const [tensorX, tensorWeight] = [tf.tensor(x, [3, 4]), tf.tensor(weight)];
slot('tfjs x', [], (value) => ofTensors(value, tensorWeight));
slot('tfjs weight', [], (value) => ofTensors(tensorX, value));
slot('tfjs options', emptyOptions, (value) => ofTensors(tensorX, tensorWeight, value));
for (const name of ['eps', 'weightOffset', 'device', 'normalizedShape']) {
  const takes: Record<string, readonly string[]> = {
    eps: notNegative,
    weightOffset: numbers,
    normalizedShape: fours,
  };
  slot(`tfjs ${name}`, takes[name] ?? [], (value) =>
    ofTensors(tensorX, tensorWeight, { [name]: value }),
  );
}

// Objects of a GPU. Without a GPU, the errors of these calls have a code, too.
const gpu = devices()[0];
const Buffers = DeviceBuffer as unknown as (new (...args: unknown[]) => unknown) &
  Record<'from' | 'fromPointer', AnyFunction>;
const HostBuffers = HostBuffer as unknown as new (...args: unknown[]) => unknown;
const counts = [...zeros];
slot('new DeviceBuffer length', counts, (value) => new Buffers(value, 'float32'));
slot('new DeviceBuffer dtype', [], (value) => new Buffers(4, value));
slot('new DeviceBuffer options', emptyOptions, (value) => new Buffers(4, 'float32', value));
slot('new DeviceBuffer device', [], (value) => new Buffers(4, 'float32', { device: value }));
slot('DeviceBuffer.from source', [], (value) => Buffers.from(value));
slot('DeviceBuffer.from options', emptyOptions, (value) => Buffers.from(x, value));
for (const name of ['dtype', 'device', 'stream']) {
  slot(`DeviceBuffer.from ${name}`, [], (value) => Buffers.from(x, { [name]: value }));
}
slot('DeviceBuffer.fromPointer pointer', [], (value) => Buffers.fromPointer(value, 4, 'float32'));
slot('DeviceBuffer.fromPointer dtype', [], (value) => Buffers.fromPointer(0n, 4, value));
slot('new HostBuffer length', counts, (value) => new HostBuffers(value, 'float32'));
slot('new HostBuffer dtype', [], (value) => new HostBuffers(4, value));
slot('new HostBuffer options', emptyOptions, (value) => new HostBuffers(4, 'float32', value));
slot('new CudaEvent options', emptyOptions, (value) => new CudaEvent(value as never));
slot('new CudaEvent timing', ['true'], (value) => new CudaEvent({ timing: value as never }));
slot('Stream.default device', [], (value) => Stream.default(value as never));
slot('Graph.capture stream', [], (value) => Graph.capture(value as never, () => undefined));
if (gpu !== undefined) {
  const buffer = new DeviceBuffer(12, 'float32');
  const methods = buffer as unknown as Record<string, AnyFunction>;
  const method = (
    name: string,
    takes: readonly string[],
    argsOf: (value: unknown) => unknown[],
  ) => {
    slot(`DeviceBuffer.${name}`, takes, (value) => methods[name]?.apply(buffer, argsOf(value)));
  };
  for (const name of ['copyFrom', 'copyFromAsync', 'copyTo', 'copyToAsync']) {
    method(name, [], (value) => [value]);
    method(name, emptyOptions, (value) => [floats(12), value]);
    method(name, [], (value) => [floats(12), { stream: value }]);
    method(name, [], (value) => [new DeviceBuffer(12, 'float32'), { stream: value }]);
  }
  method('fill', [...numbers, 'NaN', 'infinity'], (value) => [value]);
  method('subarray', [...numbers, 'infinity'], (value) => [value]);
  slot('rmsNorm x beside a DeviceBuffer', [], (value) =>
    forwards['rmsNorm']?.(value, DeviceBuffer.from(weight)),
  );
  slot('rmsNorm stream', [], (value) =>
    forwards['rmsNorm']?.(buffer, DeviceBuffer.from(weight), { stream: value }),
  );
}

const codes = /^ERR_(INVALID_ARG_TYPE|INVALID_ARG_VALUE|OUT_OF_RANGE|CUDA_UNAVAILABLE)$/;

/** What is wrong with the outcome of a call, or null. */
async function faultOf({ call, takes, mayTake }: Slot, name: string): Promise<string | null> {
  try {
    await call(hostileValues[name]?.());
    return takes.includes(name) || mayTake.includes(name) ? null : 'was taken';
  } catch (error) {
    if (error === ownError) return null;
    const { code, message, stack } = error as { code?: string; message: string; stack?: string };
    if (code === undefined || !codes.test(code)) return `threw ${String(stack)}`;
    if (message.length > 700) return `threw a message of ${message.length} characters`;
    return takes.includes(name) && code !== 'ERR_CUDA_UNAVAILABLE' ? `threw ${message}` : null;
  }
}

test.each(slots.map((slot) => [slot.title, slot] as const))(
  '%s accepts valid values and refuses hostile ones',
  async (_, slot) => {
    const faults: Record<string, string> = {};
    for (const name of Object.keys(hostileValues)) {
      const fault = await faultOf(slot, name);
      if (fault !== null) faults[name] = fault;
    }
    expect(faults).toEqual({});
  },
);
