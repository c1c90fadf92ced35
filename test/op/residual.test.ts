// A residual before the norm, and its gradient: refusals, the types of results, the module.
// options.test.ts checks the values.

import { rmsNorm, RMSNorm, type ForwardOptions } from '../../lib';
import {
  bits,
  describeRefusals,
  errorsOf,
  floats,
  floatsToo,
  range,
  type,
  value,
} from '../support/refusals';
import { errorOf, expectSameBits, normals } from '../support/support';

const x = floats(12);
const dy = floats(12);
const weight = floats(4);
const residual = floats(12);

describeRefusals(
  'rmsNorm refuses',
  [rmsNorm, rmsNorm.async],
  [
    [
      'a residual without sumOut',
      [x, weight, { residual }],
      ...([value, 'sumOut', 'rmsNorm.forward', 'undefined'] as const),
    ],
  ],
);

const at = (options: object) => [x, weight, { out: floats(12), ...options }];
const sum = floats(12);
describeRefusals(
  'rmsNorm.forward refuses',
  [rmsNorm.forward, rmsNorm.forwardAsync],
  [
    ['null as residual', at({ residual: null }), type, 'residual', floatsToo, 'null'],
    [
      'a residual that is too short',
      at({ residual: floats(8) }),
      range,
      'residual',
      '12 elements',
      'Float32Array(8)',
    ],
    [
      'a 16-bit residual',
      at({ residual: bits(12) }),
      type,
      'residual',
      'x is float32',
      'Uint16Array(12)',
    ],
    [
      'a sumOut that is too short',
      at({ residual, sumOut: floats(8) }),
      range,
      'sumOut',
      '12',
      'Float32Array(8)',
    ],
    [
      'a sumOut without a residual',
      at({ sumOut: sum }),
      value,
      'sumOut',
      "unless 'residual' is given",
      'Float32Array(12)',
    ],
  ],
);

describeRefusals(
  'rmsNorm.backward refuses',
  [rmsNorm.backward, rmsNorm.backwardAsync],
  [
    [
      'residual as an option',
      [dy, x, weight, null, { residual }],
      value,
      'options',
      'dsum',
      "'residual'",
    ],
    [
      'a dsum that is too short',
      [dy, x, weight, null, { dsum: floats(8) }],
      ...([range, 'dsum', '12 elements', 'Float32Array(8)'] as const),
    ],
    [
      'a dsum without dx',
      [dy, x, weight, null, { dsum: residual, needsDx: false }],
      ...([value, 'dsum', 'needsDx is false', 'Float32Array(12)'] as const),
    ],
  ],
);

/** The names of the two overlapping arrays, and the arguments, taken from one array of 60 floats. */
type Overlap = readonly [
  output: string,
  other: string,
  argsOf: (slice: (begin: number) => Float32Array) => readonly unknown[],
];

const overlaps: readonly Overlap[] = [
  ['out', 'sumOut', (slice) => [x, weight, { residual, out: slice(0), sumOut: slice(0) }]],
  ['out', 'sumOut', (slice) => [slice(0), weight, { residual, out: slice(0), sumOut: slice(0) }]],
  ['out', 'residual', (slice) => [x, weight, { residual: slice(1), out: slice(0) }]],
  ['sumOut', 'residual', (slice) => [x, weight, { residual: slice(1), sumOut: slice(0) }]],
  ['sumOut', 'x', (slice) => [slice(1), weight, { residual, sumOut: slice(0) }]],
  ['sumOut', 'weight', (slice) => [x, slice(0).subarray(0, 4), { residual, sumOut: slice(0) }]],
  [
    'rstdOut',
    'residual',
    (slice) => [x, weight, { residual: slice(0), rstdOut: slice(0).subarray(0, 3) }],
  ],
  [
    'rstdOut',
    'sumOut',
    (slice) => [x, weight, { residual, sumOut: slice(0), rstdOut: slice(0).subarray(0, 3) }],
  ],
];
test.each(overlaps)(
  'forward refuses memory shared by %s and %s, and writes nothing',
  async (output, other, argsOf) => {
    const memory = floats(60).fill(7);
    const args = argsOf((begin) => memory.subarray(begin, begin + 12));
    for (const error of await errorsOf([rmsNorm.forward, rmsNorm.forwardAsync], args)) {
      expect(error.code).toBe(value);
      expect(error.message).toContain(`'${output}' and '${other}' must not overlap`);
    }
    expect(memory.every((element) => element === 7)).toBe(true);
  },
);

test.each<[string, string, (slice: (begin: number) => Float32Array) => readonly unknown[]]>([
  ['dxOut', 'dsum', (slice) => [dy, x, weight, null, { dxOut: slice(0), dsum: slice(1) }]],
  [
    'dweightOut',
    'dsum',
    (slice) => [dy, x, weight, null, { dweightOut: slice(3).subarray(0, 4), dsum: slice(0) }],
  ],
])('backward refuses memory shared by %s and %s', async (output, other, argsOf) => {
  const memory = floats(60).fill(7);
  const args = argsOf((begin) => memory.subarray(begin, begin + 12));
  for (const error of await errorsOf([rmsNorm.backward, rmsNorm.backwardAsync], args)) {
    expect(error.code).toBe(value);
    expect(error.message).toContain(`'${output}' and '${other}' must not overlap`);
  }
});

test('results have the types that the options imply', () => {
  const none: null = rmsNorm.forward(x, weight).sum;
  expect(none).toBeNull();
  const array: Float32Array = rmsNorm.forward(x, weight, { residual }).sum;
  expect(array).toBeInstanceOf(Float32Array);
  const tensor = { data: x, dims: [3, 4] };
  const { data, dims }: { data: Float32Array; dims: readonly number[] } = rmsNorm.forward(
    tensor,
    weight,
    {
      residual,
    },
  ).sum;
  expect([data.length, dims]).toEqual([12, [3, 4]]);
  const some: ForwardOptions = { residual };
  const either: Float32Array | null = rmsNorm.forward(x, weight, some).sum;
  expect(either).toBeInstanceOf(Float32Array);
  // @ts-expect-error -- it may be null
  const always: Float32Array = rmsNorm.forward(x, weight, some).sum;
  expect(always).toBeInstanceOf(Float32Array);
});

describe('the module', () => {
  const values = (seed: number) => Float32Array.from(normals(seed, 12));
  const [own, added, gradient, gradientOfSum] = [1, 2, 3, 4].map(values) as [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
  ];

  test('returns y and the sum, and keeps the sum', () => {
    const norm = new RMSNorm(4);
    const expected = rmsNorm.forward(own, norm.weight, { residual: added });
    const { y, sum, backward } = norm.vjp(own, { residual: added });
    expectSameBits(y, expected.y);
    expectSameBits(sum, expected.sum);
    const inferred = norm.forward(own, { residual: added });
    expectSameBits(inferred.y, y);
    expectSameBits(inferred.sum, sum);
    const expectedBack = rmsNorm.backward(gradient, sum, norm.weight, expected.rstd, {
      dsum: gradientOfSum,
    });
    expectSameBits(backward(gradient, { dsum: gradientOfSum }), expectedBack.dx);
    expectSameBits(norm.weightGrad, expectedBack.dweight);
  });

  test('has a backward after an in-place vjp with a residual', () => {
    const norm = new RMSNorm(4);
    const expected = norm.vjp(own, { residual: added });
    const dx = expected.backward(gradient);
    const [inPlace, sums] = [own.slice(), added.slice()];
    const result = norm.vjp(inPlace, { residual: sums, out: inPlace, sumOut: sums });
    expect(result.y).toBe(inPlace);
    expect(result.sum).toBe(sums);
    expectSameBits(inPlace, expected.y);
    expectSameBits(result.backward(gradient), dx);
  });

  test('takes an x whose rows alternate with those of out', () => {
    const norm = new RMSNorm(4);
    const memory = new Float32Array(24);
    const view = { data: memory, dims: [3, 4], strides: [8, 1] };
    for (let r = 0; r < 3; ++r) memory.set(own.subarray(4 * r, 4 * r + 4), 8 * r);
    const { backward } = norm.vjp(view, { out: { ...view, offset: 4 } });
    const { dx } = rmsNorm.backward(gradient, own, norm.weight);
    expectSameBits(backward(gradient).data, dx);
    const inPlace = errorOf(() =>
      norm.vjp({ ...view, offset: 4 }, { out: { ...view, offset: 4 } }),
    );
    expect(inPlace.message).toContain("'out' must not share memory with x");
  });
});
