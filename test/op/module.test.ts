import { rmsNorm, RMSNorm, toBFloat16, type RMSNormOptions } from '../../lib';
import { makeCase } from '../support/cases';
import {
  aShape,
  expectRefusal,
  nonNegative,
  range,
  type,
  value,
  type Refusal,
} from '../support/refusals';
import {
  arrayOf,
  detach,
  dtypes,
  errorOf,
  expectSameBits,
  normals,
  valuesOf,
} from '../support/support';

const floats = (seed: number, length: number) => Float32Array.from(normals(seed, length));

describe('a new module', () => {
  test('has the defaults of PyTorch, but eps', () => {
    const norm = new RMSNorm(6);
    expect(norm).toMatchObject({
      normalizedShape: [6],
      eps: 1e-6,
      weightOffset: 0,
      castOrder: 'llama',
      dtype: 'float32',
      weight: new Float32Array(6).fill(1),
      weightGrad: null,
    });
  });

  test('has the options it is given', () => {
    const options = { eps: 0.5, weightOffset: 0.25, castOrder: 'float', dtype: 'float16' } as const;
    const norm = new RMSNorm([2, 3], options);
    expect(norm).toMatchObject({ normalizedShape: [2, 3], ...options });
    expect(norm.weight).toEqual(arrayOf('float16', new Float64Array(6).fill(0.75)));
  });

  test('does not keep the list of its shape', () => {
    const shape = [2, 3];
    const norm = new RMSNorm(shape);
    shape[0] = 5;
    expect(norm.normalizedShape).toEqual([2, 3]);
  });

  test.each(dtypes)('of %s scales by 1 at first, with an offset or without', (dtype) => {
    for (const weightOffset of [0, 1]) {
      const { x, options } = makeCase({ dtype, rows: 2, hiddenSize: 9, weightKind: 'none' });
      const norm = new RMSNorm(9, { dtype, weightOffset });
      expect(valuesOf(norm.weight ?? arrayOf(dtype, []), dtype)).toEqual(
        new Float64Array(9).fill(1 - weightOffset),
      );
      expectSameBits(norm.forward(x), rmsNorm(x, null, options));
    }
  });

  test.each<[string, () => unknown, ...Refusal]>([
    [
      'no shape',
      () => new RMSNorm(undefined as never),
      type,
      'normalizedShape',
      aShape,
      'undefined',
    ],
    ['shape 0', () => new RMSNorm(0), range, 'normalizedShape', aShape, '0'],
    ['shape []', () => new RMSNorm([]), range, 'normalizedShape', aShape, '[]'],
    ["shape '4'", () => new RMSNorm('4' as never), type, 'normalizedShape', aShape, "'4'"],
    ['eps', () => new RMSNorm(4, { eps: -1 }), range, 'eps', nonNegative, '-1'],
    ['eps text', () => new RMSNorm(4, { eps: '1' as never }), type, 'eps', nonNegative, "'1'"],
    ['dtype', () => new RMSNorm(4, { dtype: 'i8' as never }), value, 'dtype', "'float32'", "'i8'"],
    ['bias', () => new RMSNorm(4, { bias: true } as never), value, 'options', 'eps', "'bias'"],
    ['options', () => new RMSNorm(4, 1e-6 as never), type, 'options', 'an object', '0.000001'],
    [
      'elementwiseAffine',
      () => new RMSNorm(4, { elementwiseAffine: 1 as never }),
      ...([type, 'elementwiseAffine', 'a boolean', '1'] as const),
    ],
  ])('refuses %s', (_, call, ...refusal) => {
    expectRefusal(errorOf(call), refusal);
  });

  test('takes an eps of undefined for the default, as the functions do', () => {
    expect(new RMSNorm(4, { eps: undefined } as unknown as RMSNormOptions).eps).toBe(1e-6);
  });
});

describe.each(dtypes)('%s', (dtype) => {
  test('forward and backward are the functions', () => {
    const settings = { weightOffset: 0.5, eps: 0.01, castOrder: 'float' } as const;
    const c = makeCase({ dtype, rows: 12, hiddenSize: 100, ...settings });
    const norm = new RMSNorm(100, { dtype, ...settings });
    norm.weight?.set(c.weight ?? []);
    const expected = rmsNorm.forward(c.x, c.weight, c.options);
    expectSameBits(norm.forward(c.x), expected.y);

    const dweightOut = new Float32Array(100);
    const { dx } = rmsNorm.backward(c.dy, c.x, c.weight, expected.rstd, {
      ...c.options,
      dweightOut,
    });
    expectSameBits(norm.backward(c.dy), dx);
    expectSameBits(norm.weightGrad, dweightOut);
  });

  test('weightGrad adds up until zeroGrad', () => {
    const c = makeCase({ dtype, rows: 12, hiddenSize: 100 });
    const norm = new RMSNorm(100, { dtype });
    norm.zeroGrad(); // harmless
    norm.forward(c.x);
    norm.backward(c.dy);
    const grad = norm.weightGrad;
    const once = grad?.slice() ?? null;
    norm.forward(c.x);
    norm.backward(c.dy);
    expect(norm.weightGrad).toBe(grad);
    expectSameBits(grad, once?.map((sum) => sum + sum) ?? null);
    norm.zeroGrad();
    expect(norm.weightGrad).toBe(grad);
    expectSameBits(grad, new Float32Array(100));
    norm.forward(c.x);
    norm.backward(c.dy);
    expectSameBits(grad, once);
  });
});

test('elementwiseAffine false: no weight and no gradient of it', () => {
  const norm = new RMSNorm(8, { elementwiseAffine: false });
  expect(norm.weight).toBeNull();
  const x = floats(1, 24);
  const dy = floats(2, 24);
  expectSameBits(norm.forward(x), rmsNorm(x, null, { normalizedShape: 8 }));
  const { dx } = rmsNorm.backward(dy, x, null, null, { normalizedShape: 8 });
  expectSameBits(norm.backward(dy), dx);
  expect(norm.weightGrad).toBeNull();
});

test('a bfloat16 module takes bits for bfloat16, unless a tensor or a call says otherwise', () => {
  const norm = new RMSNorm(8, { dtype: 'bfloat16', elementwiseAffine: false });
  const bits = toBFloat16(floats(1, 16));
  const options = { normalizedShape: 8 };
  const asBFloat16 = rmsNorm(bits, null, { ...options, dtype: 'bfloat16' });
  const asFloat16 = rmsNorm(bits, null, { ...options, dtype: 'float16' });
  expectSameBits(norm.forward(bits), asBFloat16);
  expectSameBits(norm.forward({ data: bits, dims: [2, 8] }).data, asBFloat16);
  expectSameBits(norm.forward(bits, { dtype: 'float16' }), asFloat16);
  expectSameBits(norm.forward({ data: bits, dims: [2, 8], type: 'float16' }).data, asFloat16);
  // What states no dtype of ours states no other dtype than the module's.
  expectSameBits(norm.forward({ data: bits, dims: [2, 8], type: 'uint16' }).data, asBFloat16);
});

test('backward takes bits as its forward did', () => {
  const norm = new RMSNorm(8, { dtype: 'bfloat16', elementwiseAffine: false });
  const bits = toBFloat16(floats(1, 16));
  norm.forward(bits, { dtype: 'float16' });
  const options = { normalizedShape: 8 };
  expectSameBits(
    norm.backward(bits),
    rmsNorm.backward(bits, bits, null, null, { ...options, dtype: 'float16' }).dx,
  );
});

test('dx is of the form that its type says: of dy', () => {
  const norm = new RMSNorm(8);
  const [data, dy] = [floats(1, 24), floats(2, 24)];
  const { dx } = rmsNorm.backward(dy, data, norm.weight);
  norm.forward({ data, dims: [3, 8] });
  const array: Float32Array = norm.backward(dy);
  expectSameBits(array, dx);
  norm.forward(data);
  const tensor: { data: Float32Array } = norm.backward({ data: dy, dims: [3, 8] });
  expectSameBits(tensor.data, dx);
});

describe('outputs', () => {
  const x = floats(1, 24);
  const dy = floats(2, 24);

  test('given are returned', () => {
    const norm = new RMSNorm(8);
    const out = new Float32Array(24);
    expect(norm.forward(x, { out })).toBe(out);
    expectSameBits(out, rmsNorm(x, norm.weight));
    const dx = new Float32Array(24);
    expect(norm.backward(dy, { out: dx })).toBe(dx);
    const own = dy.slice();
    norm.forward(x);
    expect(norm.backward(own, { out: own })).toBe(own);
    expectSameBits(own, dx);
  });

  const inPlace: [string, (array: Float32Array) => [Float32Array, unknown]][] = [
    ['the array itself', (array) => [array, array]],
    ['another array of its memory', (array) => [array, array.subarray()]],
    ['a tensor of it', (array) => [array, { data: array, dims: [3, 8] }]],
  ];
  test.each(inPlace)('%s: forward in place, of which there is no backward', (_, make) => {
    const norm = new RMSNorm(8);
    norm.forward(x);
    const [own, out] = make(x.slice());
    norm.forward(own, { out: out as Float32Array });
    expectSameBits(own, rmsNorm(x, norm.weight));
    const error = errorOf(() => norm.backward(dy));
    expect(error).toBeInstanceOf(Error);
    expect(error.code).toBe('ERR_INVALID_STATE');
  });
});

test('a refused call changes nothing', () => {
  const norm = new RMSNorm(8);
  const x = floats(1, 24);
  const dy = floats(2, 24);
  const expected = rmsNorm.backward(dy, x, norm.weight);
  norm.forward(x);
  expect(errorOf(() => norm.forward(floats(3, 9))).code).toBe('ERR_OUT_OF_RANGE');
  expect(errorOf(() => norm.forward({ data: x, dims: [8, 3] })).code).toBe('ERR_OUT_OF_RANGE');
  expect(errorOf(() => norm.backward(floats(3, 16))).code).toBe('ERR_OUT_OF_RANGE');
  expect(errorOf(() => norm.backward(dy, { dxOut: dy } as never)).code).toBe(
    'ERR_INVALID_ARG_VALUE',
  );
  expect(norm.weightGrad).toBeNull();
  expectSameBits(norm.backward(dy), expected.dx);
  expectSameBits(norm.weightGrad, expected.dweight);
});

test('an x that is gone by the time of backward is an error', () => {
  const norm = new RMSNorm(8);
  const x = floats(1, 8);
  norm.forward(x);
  detach(x);
  expect(errorOf(() => norm.backward(new Float32Array(8))).code).toBe('ERR_INVALID_ARG_VALUE');
});

test('a list of normalised dims', () => {
  const norm = new RMSNorm([2, 4]);
  const data = floats(1, 24);
  const y = norm.forward({ data, dims: [3, 2, 4] });
  expect(y.dims).toEqual([3, 2, 4]);
  expectSameBits(y.data, rmsNorm(data, norm.weight));
  const dy = { data: floats(2, 24), dims: [3, 2, 4] };
  expect(norm.backward(dy).dims).toEqual([3, 2, 4]);
});

test('gradient descent finds the weight that made y', () => {
  const hiddenSize = 16;
  const x = floats(1, 32 * hiddenSize);
  const target = rmsNorm(x, floats(2, hiddenSize));
  const norm = new RMSNorm(hiddenSize);
  const weight = norm.weight as Float32Array;
  const losses: number[] = [];
  for (let step = 0; step < 20; ++step) {
    const difference = norm.forward(x).map((value, i) => value - (target[i] as number));
    losses.push(difference.reduce((sum, value) => sum + value * value, 0) / 2);
    norm.zeroGrad();
    norm.backward(difference);
    // The loss is quadratic in the weight, with the sums of xhat² (about 32 each) as its curvature.
    const gradient = norm.weightGrad as Float32Array;
    for (let j = 0; j < hiddenSize; ++j)
      weight[j] = (weight[j] as number) - (gradient[j] as number) / 64;
  }
  for (let step = 1; step < 20; ++step) expect(losses[step]).toBeLessThan(losses[step - 1] ?? 0);
  expect(losses[19]).toBeLessThan((losses[0] ?? 0) / 100);
});
