/* @jest-environment ./test/support/shared-realm.ts */
// Tensors of onnxruntime and transformers.js as arguments and results.

import { InferenceSession, Tensor, type TypedTensor } from 'onnxruntime-node';

import { RMSNorm, rmsNorm, type TensorLike } from '../../lib';
import { makeCase, type Case } from '../support/cases';
import { modelOf } from '../../bench/subjects/rivals/models/onnx';
import { someData, expectRefusal } from '../support/refusals';
import { errorOf, expectSameBits } from '../support/support';

const dims = [2, 3, 100];
const [f32, f16, bf16] = (['float32', 'float16', 'bfloat16'] as const).map((dtype) =>
  makeCase({ dtype, rows: 6, hiddenSize: 100 }),
) as [Case, Case, Case];
const x = new Tensor('float32', f32.x as Float32Array, dims);
const dy = new Tensor('float32', f32.dy as Float32Array, dims);
const weight = new Tensor('float32', f32.weight as Float32Array, [100]);
const fromArrays = rmsNorm.forward(f32.x, f32.weight);
const gradientsFromArrays = rmsNorm.backward(f32.dy, f32.x, f32.weight, fromArrays.rstd);

test('rmsNorm takes the output of a session, and a session takes the output of rmsNorm', async () => {
  const session = await InferenceSession.create(
    modelOf({
      ...{ opType: 'Abs', domain: '', input: ['x'], output: ['y'], type: 'float32' },
    }),
  );
  const absolute = async (tensor: Tensor) =>
    (await session.run({ x: tensor }))['y'] as TypedTensor<'float32'>;
  const first = await absolute(x);
  const y = rmsNorm(first, weight);
  expect(y.dims).toEqual(dims);
  expectSameBits(y.data, rmsNorm(Float32Array.from(first.data), f32.weight));
  const second = await absolute(new Tensor(y.data, y.dims));
  expectSameBits(second.data, y.data.map(Math.abs));
  await session.release();
});

test.each([
  ['rmsNorm', () => rmsNorm(x, weight)],
  ['rmsNorm.forward', () => rmsNorm.forward(x, weight).y],
  ['rmsNorm.async', () => rmsNorm.async(x, weight)],
  ['RMSNorm', () => new RMSNorm(100).forward(x)],
])('%s takes tensors', async (name, call) => {
  const y = await call();
  expect(y.dims).toEqual(dims);
  const expected =
    name === 'RMSNorm' ? rmsNorm(f32.x, null, { normalizedShape: 100 }) : fromArrays.y;
  expectSameBits(y.data, expected);
});

test.each([
  ['rmsNorm.backward', () => rmsNorm.backward(dy, x, weight, fromArrays.rstd)],
  ['rmsNorm.backwardAsync', () => rmsNorm.backwardAsync(dy, x, weight, fromArrays.rstd)],
])('%s gives gradients as tensors', async (_, call) => {
  const { dx, dweight } = await call();
  expect(dx.dims).toEqual(dims);
  expect(dweight.dims).toEqual([100]);
  expectSameBits(dx.data, gradientsFromArrays.dx);
  expectSameBits(dweight.data, gradientsFromArrays.dweight);
});

test('writes results into the tensors passed as outputs', () => {
  const out = new Tensor('float32', new Float32Array(600), dims);
  expect(Object.is(rmsNorm(x, weight, { out }), out)).toBe(true);
  expectSameBits(out.data, fromArrays.y);
  const dxOut = new Tensor('float32', new Float32Array(600), dims);
  const dweightOut = new Tensor('float32', new Float32Array(100), [100]);
  const { dx, dweight } = rmsNorm.backward(dy, x, weight, null, { dxOut, dweightOut });
  expect(Object.is(dx, dxOut) && Object.is(dweight, dweightOut)).toBe(true);
  expectSameBits(dxOut.data, gradientsFromArrays.dx);
  expectSameBits(dweightOut.data, gradientsFromArrays.dweight);
});

test("takes float16 from a tensor's type, and bfloat16 as a uint16 tensor with a dtype", () => {
  const half = new Tensor('float16', f16.x as Uint16Array, dims);
  const halfWeight = new Tensor('float16', f16.weight as Uint16Array, [100]);
  const expected = rmsNorm(f16.x, f16.weight, { dtype: 'float16' });
  expectSameBits(rmsNorm(half, halfWeight).data, expected);
  expect(errorOf(() => rmsNorm(half, halfWeight, { dtype: 'bfloat16' })).code).toBe(
    'ERR_INVALID_ARG_VALUE',
  );

  const brain = new Tensor('uint16', bf16.x as Uint16Array, dims);
  const brainWeight = new Tensor('uint16', bf16.weight as Uint16Array, [100]);
  expectSameBits(
    rmsNorm(brain, brainWeight, { dtype: 'bfloat16' }).data,
    rmsNorm(bf16.x, bf16.weight, { dtype: 'bfloat16' }),
  );
});

test('refuses a tensor of another type or shape', () => {
  const integers = new Tensor('int32', new Int32Array(600), dims);
  const ofType = errorOf(() => rmsNorm(integers as unknown as TensorLike, weight));
  expectRefusal(ofType, ['ERR_INVALID_ARG_TYPE', 'x.data', someData, 'Int32Array(600)']);
  const flat = new Tensor('float32', new Float32Array(600), [3, 200]);
  const ofShape = errorOf(() => rmsNorm(flat, weight));
  expectRefusal(ofShape, ['ERR_OUT_OF_RANGE', 'x.dims', 'end in [100]', '[ 3, 200 ]']);
});

/**
 * A tensor like those of transformers.js: an object that delegates to onnxruntime's tensor, in a
 * proxy that adds access by index.
 */
class WrappedTensor {
  readonly #tensor: TypedTensor<'float32'>;
  constructor(tensor: TypedTensor<'float32'>) {
    this.#tensor = tensor;
    const access: ProxyHandler<WrappedTensor> = {
      get: (_, key) => (key === '0' ? tensor.data[0] : (this[key as 'data'] as unknown)),
    };
    return new Proxy<WrappedTensor>(this, access);
  }
  get data(): Float32Array {
    return this.#tensor.data;
  }
  get dims(): readonly number[] {
    return this.#tensor.dims;
  }
  get type(): string {
    return this.#tensor.type;
  }
}

test('takes and fills tensors behind a proxy, like those of transformers.js', () => {
  const wrapped = new WrappedTensor(x);
  expect((wrapped as unknown as number[])[0]).toBe(x.data[0]);
  const { y, rstd } = rmsNorm.forward(wrapped, new WrappedTensor(weight));
  expect(y.dims).toEqual(dims);
  expectSameBits(y.data, fromArrays.y);
  expectSameBits(
    rmsNorm.backward(new WrappedTensor(dy), wrapped, weight, rstd).dx.data,
    gradientsFromArrays.dx,
  );

  const out = new WrappedTensor(new Tensor('float32', new Float32Array(600), dims));
  expect(Object.is(rmsNorm(wrapped, weight, { out }), out)).toBe(true);
  expectSameBits(out.data, fromArrays.y);
});
