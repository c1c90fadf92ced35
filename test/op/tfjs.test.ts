// The operator on tensors of TensorFlow.js, on its CPU backend. Results are checked against the
// oracle, and gradients also against those that TensorFlow.js derives from the formula.

import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-core/dist/register_all_gradients';

import { rmsNorm as rmsNormOfArrays, type CommonOptions } from '../../lib';
import { rmsNorm } from '../../lib/tfjs';
import { backwardErrors, float32Error, forwardErrors } from '../support/bounds';
import { foreignErrors } from '../support/foreign-bounds';
import { backward, forward, type Problem } from '../support/reference';
import { expectRefusal } from '../support/refusals';
import { errorOf, expectSameBits, expectWithin, normals } from '../support/support';

const { fround } = Math;

tf.env().set('IS_TEST', true); // suppresses TensorFlow.js's advertisement

const eps = 1e-5;

const sizeOf = (dims: readonly number[]) => dims.reduce((size, dim) => size * dim, 1);
const random = (seed: number, shape: number[], scale = 1, mean = 0) =>
  tf.tensor(Float32Array.from(normals(seed, sizeOf(shape), scale, mean)), shape);
const values = (tensor: tf.Tensor) => tensor.dataSync<'float32'>();
const add = (a: Float64Array, b: Float64Array) => a.map((value, i) => value + (b[i] as number));

/** The formula in tf's own operations, over the last `rank` dims. */
function composite(x: tf.Tensor, weight: tf.Tensor, rank: number, offset: number): tf.Tensor {
  const axes = Array.from({ length: rank }, (_, i) => x.rank - rank + i);
  const rstd = tf.rsqrt(tf.add(tf.mean(tf.square(x), axes, true), eps));
  return tf.mul(tf.mul(x, rstd), offset === 0 ? weight : tf.add(weight, offset));
}

afterEach(() => {
  tf.disposeVariables();
});

const shapes: [dims: number[], normalizedShape: number[]][] = [
  [[7], [7]],
  [[1, 1], [1]],
  [[3, 500], [500]],
  [[2, 3, 64], [64]],
  [[2, 3, 4, 5], [5]],
  [
    [2, 3, 4, 5],
    [4, 5],
  ],
  [[2, 1, 3, 2, 33], [33]],
  [[2, 1, 3, 1, 2, 9], [9]],
  [
    [2, 1, 3, 1, 2, 9],
    [1, 2, 9],
  ],
  [[40, 257], [257]],
];

describe.each([0, 1])('with weight offset %d', (weightOffset) => {
  test.each(shapes)(
    'x %j, weight %j: results and gradients are within the bounds',
    (dims, normalizedShape) => {
      const x = random(1, dims, 2, 0.25);
      const weight = random(2, normalizedShape, 0.5, 1);
      const dy = random(3, dims);
      const problem: Problem = {
        x: values(x),
        weight: values(weight),
        hiddenSize: sizeOf(normalizedShape),
        ...{ eps, weightOffset, round: null },
      };
      const op = (a: tf.Tensor, b: tf.Tensor) => rmsNorm(a, b, { eps, weightOffset });
      const y = op(x, weight);
      expect(y.shape).toEqual(dims);
      expectWithin(values(y), forward(problem).y, forwardErrors(problem).y, fround);

      const gradientsOf = (f: typeof op) =>
        tf.grads((a, b) => tf.sum(tf.mul(f(a, b), dy)))([x, weight]);
      const [dx, dweight] = gradientsOf(op) as [tf.Tensor, tf.Tensor];
      expect(dx.shape).toEqual(dims);
      expect(dweight.shape).toEqual(normalizedShape);
      const exact = backward(problem, values(dy));
      const ours = backwardErrors(problem, values(dy));
      expectWithin(values(dx), exact.dx, ours.dx, fround);
      expectWithin(values(dweight), exact.dweight, ours.dweight, fround);

      const [theirDx, theirDweight] = gradientsOf((a, b) =>
        composite(a, b, normalizedShape.length, weightOffset),
      ) as [tf.Tensor, tf.Tensor];
      const theirs = foreignErrors(problem, values(dy));
      const apart = (gradient: tf.Tensor, error: Float64Array, theirError: Float64Array) =>
        add(add(error, theirError), Float64Array.from(values(gradient), float32Error));
      expectWithin(values(dx), values(theirDx), apart(theirDx, ours.dx, theirs.dx), fround);
      expectWithin(
        values(dweight),
        values(theirDweight),
        apart(theirDweight, ours.dweight, theirs.dweight),
        fround,
      );
    },
  );
});

test('rmsNorm runs without a weight, and takes the options of arrays', () => {
  const x = random(4, [3, 4, 5]);
  const options: CommonOptions = { eps: 0.5, normalizedShape: [4, 5] };
  const expected = rmsNormOfArrays.forward(values(x), null, options);
  expectSameBits(values(rmsNorm(x, null, options)), expected.y);
  const dx = tf.grad((a) => tf.sum(rmsNorm(a, null, options)))(x);
  const ones = new Float32Array(60).fill(1);
  const back = rmsNormOfArrays.backward(ones, values(x), null, expected.rstd, options);
  expectSameBits(values(dx), back.dx);
});

test('rmsNorm passes gradients on between other operations', () => {
  const x = random(5, [4, 8]);
  const weight = random(6, [8], 0.5, 1);
  const dx = tf.grad((a) => tf.sum(tf.mul(rmsNorm(tf.mul(a, 2), weight, { eps }), 3)))(x);
  const threes = new Float32Array(32).fill(3);
  const twice = values(x).map((value) => 2 * value);
  const { dx: inner } = rmsNormOfArrays.backward(threes, twice, values(weight), null, { eps });
  expectSameBits(
    values(dx),
    inner.map((value) => 2 * value),
  );
});

test('rmsNorm takes an empty tensor', () => {
  const y = rmsNorm(tf.zeros([0, 8]), tf.ones([8]));
  expect(y.shape).toEqual([0, 8]);
});

describe('in training', () => {
  const x = random(7, [16, 32], 3);
  const target = random(8, [16, 32]);
  const lossOf = (weight: tf.Tensor) =>
    tf.mean<tf.Scalar>(tf.squaredDifference(rmsNorm(x, weight), target));

  test('one step of an optimizer moves a variable along dweight', () => {
    const weight = tf.variable(tf.ones([32]));
    const { value, grads } = tf.variableGrads(() => lossOf(weight));
    const gradient = values(grads[weight.name] as tf.Tensor);
    const y = rmsNormOfArrays(values(x), values(weight));
    const t = values(target);
    const dy = y.map((actual, i) => (2 * fround(actual - (t[i] as number))) / 512);
    const expected = rmsNormOfArrays.backward(dy, values(x), values(weight));
    expectSameBits(gradient, expected.dweight);
    tf.train.sgd(0.25).applyGradients(grads);
    expectSameBits(
      values(weight),
      gradient.map((g) => 1 + fround(-0.25 * g)),
    );
    expect(values(lossOf(weight))[0]).toBeLessThan(values(value)[0] as number);
  });

  test('fifty steps of Adam bring the loss close to its minimum', () => {
    const weight = tf.variable(tf.ones([32]));
    // The minimum: least squares of target[:, j] by xhat[:, j] * weight[j], separately for each j.
    const xhat = rmsNormOfArrays(values(x), null, { normalizedShape: 32 });
    const t = values(target);
    let least = 0;
    for (let j = 0; j < 32; ++j) {
      let [xx, xt, tt] = [0, 0, 0];
      for (let i = j; i < 512; i += 32) {
        const [a, b] = [xhat[i] as number, t[i] as number];
        [xx, xt, tt] = [xx + a * a, xt + a * b, tt + b * b];
      }
      least += (tt - (xt * xt) / xx) / 512;
    }
    const optimizer = tf.train.adam(0.1);
    const first = values(lossOf(weight))[0] as number;
    for (let i = 0; i < 50; ++i) optimizer.minimize(() => lossOf(weight));
    const last = values(lossOf(weight))[0] as number;
    expect(first - least).toBeGreaterThan(0.5);
    expect(last - least).toBeLessThan((first - least) / 100);
  });
});

describe('in memory', () => {
  test('a call allocates one tensor, and a gradient one for each input', () => {
    const x = random(9, [8, 16]);
    const weight = random(10, [16]);
    const before = tf.memory();
    const y = rmsNorm(x, weight);
    expect(tf.memory().numTensors).toBe(before.numTensors + 1);
    expect(tf.memory().numBytes).toBe(before.numBytes + 4 * 128);
    y.dispose();
    expect(tf.memory().numTensors).toBe(before.numTensors);

    const gradients = tf.grads((a, b) => tf.sum(rmsNorm(a, b)));
    const [dx, dweight] = gradients([x, weight]) as [tf.Tensor, tf.Tensor];
    expect(tf.memory().numTensors).toBe(before.numTensors + 2);
    dx.dispose();
    dweight.dispose();
    expect(tf.memory().numTensors).toBe(before.numTensors);
    expect(tf.memory().numBytes).toBe(before.numBytes);
  });

  test('a hundred steps of training leave no tensor behind', () => {
    const x = random(11, [8, 16]);
    const weight = tf.variable(tf.ones([16]));
    const optimizer = tf.train.sgd(0.01);
    const step = () => {
      optimizer.minimize(() => tf.sum<tf.Scalar>(tf.square(rmsNorm(x, weight))));
    };
    step();
    const { numTensors, numDataBuffers, numBytes } = tf.memory();
    for (let i = 0; i < 100; ++i) step();
    expect(tf.memory()).toMatchObject({ numTensors, numDataBuffers, numBytes });
  });

  test('y does not share memory with x and weight', () => {
    const x = random(12, [2, 4]);
    const weight = tf.ones([4]);
    const before = Float32Array.from(values(x));
    const y = rmsNorm(x, weight);
    values(y).fill(7);
    expectSameBits(values(x), before);
    expectSameBits(values(weight), new Float32Array(4).fill(1));
  });
});

describe('rmsNorm of TensorFlow.js', () => {
  const x = random(13, [2, 4]);
  const weight = tf.ones([4]);
  const disposed = tf.ones([4]);
  disposed.dispose();
  const call = rmsNorm as (...args: unknown[]) => unknown;

  test.each([
    [[new Float32Array(8), weight], 'x', 'ERR_INVALID_ARG_TYPE', 'a tf.Tensor', 'Float32Array(8)'],
    [[x, undefined], 'weight', 'ERR_INVALID_ARG_TYPE', 'a tf.Tensor', 'undefined'],
    [[tf.cast(x, 'int32'), weight], 'x', 'ERR_INVALID_ARG_TYPE', 'a float32 tensor', "'int32'"],
    [[x, disposed], 'weight', 'ERR_INVALID_ARG_VALUE', 'that has not been disposed', "'disposed'"],
    [[x, tf.ones([3])], 'x.dims', 'ERR_OUT_OF_RANGE', 'end in [3]', '[ 2, 4 ]'],
    [[x, tf.ones([2, 2])], 'x.dims', 'ERR_OUT_OF_RANGE', 'end in [2, 2]', '[ 2, 4 ]'],
    [[x, weight, { out: x }], 'options', 'ERR_INVALID_ARG_VALUE', 'The options are eps', "'out'"],
    [[x, weight, { eps: -1 }], 'eps', 'ERR_OUT_OF_RANGE', '>= 0', '-1'],
  ] as const)('refuses argument list %#', (args, name, code, expected, received) => {
    const { numTensors } = tf.memory();
    expectRefusal(
      errorOf(() => call(...args)),
      [code, name, expected, received],
    );
    expect(tf.memory().numTensors).toBe(numTensors);
  });

  test('refuses a gradient of a gradient, which would lack terms', () => {
    const ofGradient = tf.grad((a) => tf.sum(tf.grad((b) => tf.sum(rmsNorm(b, weight)))(a)));
    const error = errorOf(() => ofGradient(x));
    expect(error.code).toBe('ERR_INVALID_STATE');
    expect(error.message).toBe('A gradient of rmsNorm cannot be differentiated');
  });
});
