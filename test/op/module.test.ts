import { rmsNorm, RMSNorm, toBFloat16, type DType, type WeightData } from '../../lib';
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
import { arrayOf, dtypes, errorOf, expectSameBits, normals, valuesOf } from '../support/support';

const floats = (seed: number, length: number) => Float32Array.from(normals(seed, length));
const ones = (length: number) => new Float32Array(length).fill(1);

const strided = '{ data: [Float32Array], dims: [Array], offset: 2 }';
const weightRefusals: [string, () => unknown, ...Refusal][] = [
  [
    'an Array as weight',
    () => new RMSNorm(2, { weight: [1, 2] as never }),
    type,
    'weight',
    'a tensor',
    '[ 1, 2 ]',
  ],
  [
    'null as weight',
    () => new RMSNorm(2, { weight: null as never }),
    type,
    'weight',
    'elementwise',
    'null',
  ],
  [
    'a weight that is too short',
    () => new RMSNorm(4, { weight: ones(3) }),
    range,
    'weight',
    'have 4',
    'Float32Array(3)',
  ],
  [
    'a weight of other dims',
    () => new RMSNorm([2, 2], { weight: { data: ones(4), dims: [4] } }),
    ...([range, 'weight.dims', '[2, 2], the normalizedShape', '[ 4 ]'] as const),
  ],
  [
    'a weight with an offset',
    () => new RMSNorm(4, { weight: { data: ones(8), dims: [4], offset: 2 } }),
    ...([value, 'weight', 'without strides and offset', strided] as const),
  ],
  [
    'a weight of another dtype',
    () => new RMSNorm(4, { dtype: 'float64', weight: ones(4) as never }),
    ...([type, 'weight', 'a Float64Array, since the dtype is float64', 'Float32Array(4)'] as const),
  ],
  [
    'a weight where elementwiseAffine is false',
    () => new RMSNorm(4, { weight: ones(4), elementwiseAffine: false }),
    ...([value, 'weight', 'omitted if elementwiseAffine is false', 'Float32Array(4)'] as const),
  ],
  [
    'a stream without a DeviceBuffer',
    () => new RMSNorm(4, { stream: {} as never }),
    ...([value, 'stream', 'omitted unless weight is a DeviceBuffer', '{}'] as const),
  ],
];

describe('a new module', () => {
  test('has the default options', () => {
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

  test('has the options that it was made with', () => {
    const options = { eps: 0.5, weightOffset: 0.25, castOrder: 'float', dtype: 'float16' } as const;
    const norm = new RMSNorm([2, 3], options);
    expect(norm).toMatchObject({ normalizedShape: [2, 3], ...options });
    expect(norm.weight).toEqual(arrayOf('float16', new Float64Array(6).fill(0.75)));
  });

  test('can be made again from its JSON', () => {
    const options = { eps: 0.5, weightOffset: 0.25, castOrder: 'float', dtype: 'float64' } as const;
    const norm = new RMSNorm([2, 3], { ...options, elementwiseAffine: false });
    type Options = ReturnType<typeof norm.toJSON>;
    const { normalizedShape, ...own } = JSON.parse(JSON.stringify(norm)) as Options;
    expect(own).toEqual({ ...options, elementwiseAffine: false });
    const again = new RMSNorm<DType, WeightData, boolean>(normalizedShape, own);
    expect(again).toEqual(norm);
  });

  test('copies the array of its shape', () => {
    const shape = [2, 3];
    const norm = new RMSNorm(shape);
    shape[0] = 5;
    expect(norm.normalizedShape).toEqual([2, 3]);
  });

  test.each(dtypes)('of %s initially scales by 1, with or without an offset', (dtype) => {
    for (const weightOffset of [0, 1]) {
      const { x, options } = makeCase({ dtype, rows: 2, hiddenSize: 9, weightKind: 'none' });
      const norm = new RMSNorm(9, { dtype, weightOffset });
      expect(valuesOf(norm.weight, dtype)).toEqual(new Float64Array(9).fill(1 - weightOffset));
      expectSameBits(norm.forward(x), rmsNorm(x, null, options));
    }
  });

  test.each<[string, () => unknown, ...Refusal]>([
    [
      'a missing normalizedShape',
      () => new RMSNorm(undefined as never),
      type,
      'normalizedShape',
      aShape,
      'undefined',
    ],
    ['a normalizedShape of 0', () => new RMSNorm(0), range, 'normalizedShape', aShape, '0'],
    ['a normalizedShape of []', () => new RMSNorm([]), range, 'normalizedShape', aShape, '[]'],
    [
      "a normalizedShape of '4'",
      () => new RMSNorm('4' as never),
      type,
      'normalizedShape',
      aShape,
      "'4'",
    ],
    ['a negative eps', () => new RMSNorm(4, { eps: -1 }), range, 'eps', nonNegative, '-1'],
    [
      'a string as eps',
      () => new RMSNorm(4, { eps: '1' as never }),
      type,
      'eps',
      nonNegative,
      "'1'",
    ],
    [
      'an unknown dtype',
      () => new RMSNorm(4, { dtype: 'i8' as never }),
      value,
      'dtype',
      "'float32'",
      "'i8'",
    ],
    [
      'an unknown option',
      () => new RMSNorm(4, { bias: true } as never),
      value,
      'options',
      'eps',
      "'bias'",
    ],
    [
      'a number as options',
      () => new RMSNorm(4, 1e-6 as never),
      type,
      'options',
      'an object',
      '0.000001',
    ],
    [
      'a number as elementwiseAffine',
      () => new RMSNorm(4, { elementwiseAffine: 1 as never }),
      ...([type, 'elementwiseAffine', 'a boolean', '1'] as const),
    ],
    ...weightRefusals,
  ])('refuses %s', (_, call, ...refusal) => {
    expectRefusal(errorOf(call), refusal);
  });

  test('takes the default for an eps of undefined', () => {
    expect(new RMSNorm(4, { eps: undefined }).eps).toBe(1e-6);
  });
});

test.each<[DType, object]>([
  ['float32', new Float64Array(4)],
  ['float64', new Float32Array(4)],
  ['bfloat16', new Float32Array(4)],
])('a module of %s refuses an x of another dtype', (dtype, x) => {
  const norm = new RMSNorm(4, { dtype });
  const expected = "have the device and dtype of the module's weight";
  const received = `${x.constructor.name}(4)`;
  for (const call of [() => norm.forward(x as never), () => norm.vjp(x as never)]) {
    expectRefusal(errorOf(call), [type, 'x', expected, received]);
  }
});

test.each<[unknown, string, string]>([
  [7, 'a Float32Array', '7'],
  [{}, 'a Float32Array', '{}'],
  [new Float64Array(3), 'a Float32Array, since x is float32', 'Float64Array(3)'],
])('backward refuses a weightGrad of %p', (grad, expected, received) => {
  const norm = new RMSNorm(4);
  const { backward } = norm.vjp(ones(8));
  norm.weightGrad = grad as Float32Array;
  expectRefusal(
    errorOf(() => backward(ones(8))),
    [type, 'weightGrad', expected, received],
  );
});

test('zeroGrad refuses a weightGrad that is no array', () => {
  const norm = new RMSNorm(4);
  norm.weightGrad = 7 as never;
  expectRefusal(
    errorOf(() => {
      norm.zeroGrad();
    }),
    [type, 'weightGrad', 'a Float32Array', '7'],
  );
});

describe.each(dtypes)('%s', (dtype) => {
  const settings = { weightOffset: 0.5, eps: 0.01, castOrder: 'float' } as const;
  const c = makeCase({ dtype, rows: 12, hiddenSize: 100, ...settings });
  const expected = rmsNorm.forward(c.x, c.weight, c.options);
  const dweightOut = new Float32Array(100);
  const { dx } = rmsNorm.backward(c.dy, c.x, c.weight, expected.rstd, { ...c.options, dweightOut });

  test('forward, vjp and backward give the bits of the functions', () => {
    const norm = new RMSNorm(100, { dtype, ...settings });
    norm.weight.set(c.weight ?? []);
    expectSameBits(norm.forward(c.x), expected.y);
    const { y, sum, backward } = norm.vjp(c.x);
    expectSameBits(y, expected.y);
    expect(sum).toBeNull();
    expectSameBits(backward(c.dy), dx);
    expectSameBits(norm.weightGrad, dweightOut);
  });

  test('async gives the bits of forward', async () => {
    const norm = new RMSNorm(100, { dtype, ...settings });
    norm.weight.set(c.weight ?? []);
    expectSameBits(await norm.async(c.x), expected.y);
    const residual = c.dy;
    const { y, sum } = await norm.async(c.x, { residual });
    const now = norm.forward(c.x, { residual });
    expectSameBits(y, now.y);
    expectSameBits(sum, now.sum);
  });

  test('a module uses the weight that it is made with, not a copy', () => {
    const weight = c.weight as NonNullable<typeof c.weight>;
    for (const argument of [weight, { data: weight, dims: [100] }]) {
      const norm = new RMSNorm(100, { dtype, ...settings, weight: argument });
      expect(norm.weight).toBe(weight);
      expectSameBits(norm.forward(c.x), expected.y);
    }
  });

  test('a module takes a float32 weight', () => {
    const weight = floats(7, 100);
    const norm = new RMSNorm(100, { dtype, ...settings, weight });
    expect(norm.dtype).toBe(dtype);
    const back = rmsNorm.backward(c.dy, c.x, weight, null, c.options);
    expectSameBits(norm.forward(c.x), rmsNorm(c.x, weight, c.options));
    expectSameBits(norm.vjp(c.x).backward(c.dy), back.dx);
    expectSameBits(norm.weightGrad, back.dweight);
  });

  test('weightGrad accumulates until zeroGrad', () => {
    const norm = new RMSNorm(100, { dtype });
    norm.zeroGrad(); // no gradient yet: does nothing
    const { backward } = norm.vjp(c.x);
    backward(c.dy);
    const grad = norm.weightGrad;
    const once = grad?.slice() ?? null;
    norm.vjp(c.x).backward(c.dy);
    expect(norm.weightGrad).toBe(grad);
    expectSameBits(grad, once?.map((sum) => sum + sum) ?? null);
    norm.zeroGrad();
    expect(norm.weightGrad).toBe(grad);
    expectSameBits(grad, new Float32Array(100));
    backward(c.dy);
    expectSameBits(grad, once);
    norm.weightGrad = null;
    backward(c.dy);
    expect(norm.weightGrad).not.toBe(grad);
    expectSameBits(norm.weightGrad, once);
  });
});

test('the dtype of a module is that of its weight, unless the weight is 16-bit', () => {
  expect(new RMSNorm(4, { weight: new Float64Array(4) }).dtype).toBe('float64');
  expect(new RMSNorm(4, { weight: ones(4) }).dtype).toBe('float32');
  const bits = new Uint16Array(4);
  expect(new RMSNorm(4, { weight: bits, dtype: 'bfloat16' }).weight).toBe(bits);
});

test('weight can be written to, but not replaced', () => {
  const norm = new RMSNorm(8);
  const { weight } = norm;
  // @ts-expect-error It must not compile.
  const error = errorOf(() => (norm.weight = new Float32Array(8)));
  expectRefusal(error, [value, 'weight', 'changed in place (weight.set', 'Float32Array(8)']);
  expect(norm.weight).toBe(weight);
  norm.weight.set(floats(1, 8));
  expectSameBits(norm.forward(ones(8)), rmsNorm(ones(8), floats(1, 8)));
});

test('a module with elementwiseAffine false has no weight and no weightGrad', () => {
  const norm = new RMSNorm(8, { elementwiseAffine: false });
  const { weight }: { weight: null } = norm;
  expect(weight).toBeNull();
  const x = floats(1, 24);
  const dy = floats(2, 24);
  expectSameBits(norm.forward(x), rmsNorm(x, null, { normalizedShape: 8 }));
  const { dx } = rmsNorm.backward(dy, x, null, null, { normalizedShape: 8 });
  expectSameBits(norm.vjp(x).backward(dy), dx);
  expect(norm.weightGrad).toBeNull();
});

test('a bfloat16 module takes 16-bit arrays as bfloat16 unless a tensor or call says otherwise', () => {
  const norm = new RMSNorm(8, { dtype: 'bfloat16', elementwiseAffine: false });
  const bits = toBFloat16(floats(1, 16));
  const options = { normalizedShape: 8 };
  const asBFloat16 = rmsNorm(bits, null, { ...options, dtype: 'bfloat16' });
  const asFloat16 = rmsNorm(bits, null, { ...options, dtype: 'float16' });
  expectSameBits(norm.forward(bits), asBFloat16);
  expectSameBits(norm.forward({ data: bits, dims: [2, 8] }).data, asBFloat16);
  expectSameBits(norm.forward(bits, { dtype: 'float16' }), asFloat16);
  expectSameBits(norm.forward({ data: bits, dims: [2, 8], type: 'float16' }).data, asFloat16);
  // A type that is no dtype, such as 'uint16', leaves the dtype of the module.
  expectSameBits(norm.forward({ data: bits, dims: [2, 8], type: 'uint16' }).data, asBFloat16);
});

test('backward takes 16-bit arrays with the dtype of its vjp call', () => {
  const norm = new RMSNorm(8, { dtype: 'bfloat16', elementwiseAffine: false });
  const bits = toBFloat16(floats(1, 16));
  const { backward } = norm.vjp(bits, { dtype: 'float16' });
  const options = { normalizedShape: 8, dtype: 'float16' } as const;
  expectSameBits(backward(bits), rmsNorm.backward(bits, bits, null, null, options).dx);
});

test('dx is a tensor if x is, and an array otherwise', () => {
  const norm = new RMSNorm(8);
  const [data, dy] = [floats(1, 24), floats(2, 24)];
  const { dx } = rmsNorm.backward(dy, data, norm.weight);
  const tensor: { data: Float32Array } = norm.vjp({ data, dims: [3, 8] }).backward(dy);
  expectSameBits(tensor.data, dx);
  const array: Float32Array = norm.vjp(data).backward({ data: dy, dims: [3, 8] });
  expectSameBits(array, dx);
});

test('a module can normalise over several dims', () => {
  const norm = new RMSNorm([2, 4]);
  const data = floats(1, 24);
  const { y, backward } = norm.vjp({ data, dims: [3, 2, 4] });
  expect(y.dims).toEqual([3, 2, 4]);
  expectSameBits(y.data, rmsNorm(data, norm.weight));
  expect(backward({ data: floats(2, 24), dims: [3, 2, 4] }).dims).toEqual([3, 2, 4]);
});

test('gradient descent finds the weight that made y', () => {
  const hiddenSize = 16;
  const x = floats(1, 32 * hiddenSize);
  const target = rmsNorm(x, floats(2, hiddenSize));
  const norm = new RMSNorm(hiddenSize);
  const { weight } = norm;
  const losses: number[] = [];
  for (let step = 0; step < 20; ++step) {
    const { y, backward } = norm.vjp(x);
    const difference = y.map((value, i) => value - (target[i] as number));
    losses.push(difference.reduce((sum, value) => sum + value * value, 0) / 2);
    norm.zeroGrad();
    backward(difference, { needsDx: false });
    // The loss is quadratic in the weight, with the sums of xhat² (about 32 each) as its curvature.
    const gradient = norm.weightGrad as Float32Array;
    for (let j = 0; j < hiddenSize; ++j)
      weight[j] = (weight[j] as number) - (gradient[j] as number) / 64;
  }
  for (let step = 1; step < 20; ++step) expect(losses[step]).toBeLessThan(losses[step - 1] ?? 0);
  expect(losses[19]).toBeLessThan((losses[0] ?? 0) / 100);
});
