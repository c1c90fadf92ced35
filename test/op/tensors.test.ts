// Tensors: arrays with a shape.

import { rmsNorm } from '../../lib';
import { makeCase } from '../support/cases';
import { expectRefusal } from '../support/refusals';
import { errorOf, expectSameBits, normals, rejectionOf } from '../support/support';

const data = Float32Array.from(normals(1, 24));
const dy = Float32Array.from(normals(2, 24));
const weight = Float32Array.from(normals(3, 8));
const expected = rmsNorm.forward(data, weight);
const plainBack = rmsNorm.backward(dy, data, weight);

test('the result of a tensor is a new { data, dims }', async () => {
  const dims = [3, 8];
  const x = { data, dims, type: 'float32', location: 'cpu' };
  for (const y of [
    rmsNorm(x, weight),
    rmsNorm.forward(x, weight).y,
    await rmsNorm.async(x, weight),
    (await rmsNorm.forwardAsync(x, weight)).y,
  ]) {
    expect(Object.keys(y)).toEqual(['data', 'dims']);
    expectSameBits(y.data, expected.y);
    expect(y.dims).toEqual(dims);
    expect(y.dims).not.toBe(dims);
  }
  expectSameBits(rmsNorm.forward(x, weight).rstd, expected.rstd);
});

test('gradients are tensors where x and weight are', async () => {
  const x = { data, dims: [3, 8] };
  const weightTensor = { data: weight, dims: [8] };
  for (const back of [rmsNorm.backward, rmsNorm.backwardAsync]) {
    const both = await back(dy, x, weightTensor);
    expect(both.dx.dims).toEqual([3, 8]);
    expectSameBits(both.dx.data, plainBack.dx);
    expect(both.dweight.dims).toEqual([8]);
    expectSameBits(both.dweight.data, plainBack.dweight);

    const ofArray = await back({ data: dy, dims: [24] }, data, weightTensor);
    expectSameBits(ofArray.dx, plainBack.dx);
    expectSameBits((await back(dy, x, weight)).dweight, plainBack.dweight);
  }
});

test('tensors passed as outputs are filled and returned', async () => {
  const out = { data: new Float32Array(24), dims: [3, 8], name: 'mine' };
  expect(rmsNorm(data, weight, { out })).toBe(out);
  expectSameBits(out.data, expected.y);
  out.data.fill(0);
  expect(await rmsNorm.async({ data, dims: [3, 8] }, weight, { out })).toBe(out);
  expectSameBits(out.data, expected.y);

  const dxOut = { data: new Float32Array(24), dims: [3, 8] };
  const dweightOut = { data: new Float32Array(8), dims: [8] };
  const back = rmsNorm.backward(dy, data, weight, null, { dxOut, dweightOut });
  expect(back.dx).toBe(dxOut);
  expect(back.dweight).toBe(dweightOut);
  expectSameBits(dxOut.data, plainBack.dx);
  expectSameBits(dweightOut.data, plainBack.dweight);
});

test('an instance of a class with data and dims is a tensor', () => {
  class Tensor {
    readonly type = 'float32';
    readonly #values: Float32Array;
    readonly dims: number[];
    constructor(values: Float32Array, dims: number[]) {
      this.#values = values;
      this.dims = dims;
    }
    get data(): Float32Array {
      return this.#values;
    }
  }
  const y = rmsNorm(new Tensor(data, [1, 3, 8]), new Tensor(weight, [8]));
  expect(y.dims).toEqual([1, 3, 8]);
  expectSameBits(y.data, expected.y);
});

describe('rmsNorm of a tensor', () => {
  const rank4 = Float32Array.from(normals(4, 120));
  test.each<[number[], number[] | number, number]>([
    [[2, 3, 4, 5], [5], 5],
    [[2, 3, 4, 5], 5, 5],
    [[2, 3, 4, 5], [4, 5], 20],
    [[2, 3, 4, 5], [2, 3, 4, 5], 120],
    [[24, 1, 5, 1], [5, 1], 5],
    [[120], [120], 120],
  ])('normalises x %j over normalizedShape %j', (dims, normalizedShape, hiddenSize) => {
    const y = rmsNorm({ data: rank4, dims }, null, { normalizedShape });
    expect(y.dims).toEqual(dims);
    expectSameBits(y.data, rmsNorm(rank4, null, { normalizedShape: hiddenSize }));
  });

  test('takes the dims of a weight as normalizedShape', () => {
    const ones = new Float32Array(20).fill(1);
    const x = { data: rank4, dims: [2, 3, 4, 5] };
    const y = rmsNorm(x, { data: ones, dims: [4, 5] });
    expectSameBits(y.data, rmsNorm(rank4, ones));
    const error = errorOf(() => rmsNorm(x, { data: ones, dims: [5, 4] }));
    expectRefusal(error, ['ERR_OUT_OF_RANGE', 'x.dims', 'end in [5, 4]', '[ 2, 3, 4, 5 ]']);
  });

  test('takes a weight without dims for the last dims of x', () => {
    const ones = new Float32Array(20).fill(1);
    expectSameBits(rmsNorm({ data: rank4, dims: [2, 3, 4, 5] }, ones).data, rmsNorm(rank4, ones));
  });

  test('takes an empty tensor', () => {
    const empty = { data: new Float32Array(0), dims: [0, 8] };
    expect(rmsNorm(empty, weight)).toEqual(empty);
  });
});

describe('the type of a tensor', () => {
  const c = makeCase({ dtype: 'bfloat16', rows: 3, hiddenSize: 8 });
  const bits = c.x as Uint16Array;
  const weightBits = c.weight as Uint16Array;

  test.each(['float16', 'bfloat16'] as const)('is its dtype if it is %s', (type) => {
    const expected = rmsNorm(bits, weightBits, { dtype: type });
    expectSameBits(rmsNorm({ data: bits, dims: [3, 8], type }, weightBits).data, expected);
  });

  test('is no dtype of 16-bit data if it is another', () => {
    for (const type of ['uint16', 'float32']) {
      const error = errorOf(() => rmsNorm({ data: bits, dims: [3, 8], type }, weightBits));
      expect(error.code).toBe('ERR_INVALID_ARG_VALUE');
      expect(error.message).toContain("The argument 'dtype' must be 'float16' or 'bfloat16'");
    }
  });

  test('is refused for weight or dy if it contradicts x', async () => {
    const x = { data: bits, dims: [3, 8], type: 'bfloat16' };
    const wrongWeight = { data: weightBits, dims: [8], type: 'float16' };
    const expected = 'a Uint16Array or Float32Array, since x is bfloat16';
    const received = 'Uint16Array(8)';
    const error = await rejectionOf(rmsNorm.async(x, wrongWeight));
    expectRefusal(error, ['ERR_INVALID_ARG_TYPE', 'weight', expected, received]);
    const wrongDy = { data: bits, dims: [3, 8], type: 'float16' };
    expect(errorOf(() => rmsNorm.backward(wrongDy, x, weightBits)).code).toBe(
      'ERR_INVALID_ARG_TYPE',
    );
  });

  test('is refused for x if it contradicts the option dtype', () => {
    const x = { data: bits, dims: [3, 8], type: 'bfloat16' };
    const error = errorOf(() => rmsNorm(x, weightBits, { dtype: 'float16' }));
    expect(error.code).toBe('ERR_INVALID_ARG_VALUE');
  });
});
