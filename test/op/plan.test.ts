// Plans on host arrays: the bits of rmsNorm.forward and rmsNorm.backward.

import { createPlan, rmsNorm, type DType, type Plan } from '../../lib';
import { makeCase, type Case, type CaseOptions } from '../support/cases';
import { printedBy } from '../support/processes';
import { detached } from '../support/refusals';
import { dtypes, errorOf, expectSameBits, zeros, type HostArray } from '../support/support';

type ResizableBufferConstructor = new (
  length: number,
  options: { maxByteLength: number },
) => ArrayBuffer & { resize(length: number): void };

const allDtypes: readonly DType[] = [...dtypes, 'float64'];

function planOf(c: Case, accumulate = false): Plan {
  const { dtype, rows, hiddenSize, weight } = c;
  const { eps, castOrder, weightOffset } = c.options;
  return createPlan({
    ...{ rows, hiddenSize, weight, dtype, eps, castOrder, weightOffset, accumulate },
  });
}

const rstdDtype = (dtype: DType): DType => (dtype === 'float64' ? 'float64' : 'float32');

const sizes: Omit<CaseOptions, 'dtype'>[] = [
  { rows: 1, hiddenSize: 64 },
  { rows: 37, hiddenSize: 771, weightOffset: 1 },
  { rows: 20, hiddenSize: 300, weightKind: 'none' },
  { rows: 0, hiddenSize: 8 },
  { rows: 3, hiddenSize: 1, castOrder: 'float' },
];

describe.each(allDtypes)('%s', (dtype) => {
  test.each(sizes)('$rows x $hiddenSize: results have the bits of rmsNorm', (size) => {
    const c = makeCase({ dtype, ...size });
    const plan = planOf(c);
    const y = zeros(dtype, c.x.length);
    const rstd = zeros(rstdDtype(dtype), c.rows) as Float32Array;
    const expected = rmsNorm.forward(c.x, c.weight, c.options);
    plan.forward(c.x, y, rstd);
    expectSameBits(y, expected.y);
    expectSameBits(rstd, expected.rstd);
    plan.forward(c.x, y);
    expectSameBits(y, expected.y);

    const gradients = rmsNorm.backward(c.dy, c.x, c.weight, null, c.options);
    const dx = zeros(dtype, c.x.length);
    const dweight = c.weight && zeros(c.weightDtype, c.hiddenSize);
    for (const rstdOrNull of [rstd, null]) {
      plan.backward(c.dy, c.x, rstdOrNull, dx, dweight);
      expectSameBits(dx, gradients.dx);
      expectSameBits(dweight, gradients.dweight);
    }
  });

  test('a residual and its gradient have the bits of rmsNorm', () => {
    const c = makeCase({ dtype, rows: 5, hiddenSize: 100 });
    const { residual, dsum } = c;
    const plan = planOf(c);
    const expected = rmsNorm.forward(c.x, c.weight, { ...c.options, residual });
    const y = zeros(dtype, c.x.length);
    const sumOut = zeros(dtype, c.x.length);
    plan.forward(c.x, y, null, residual, sumOut);
    expectSameBits(y, expected.y);
    expectSameBits(sumOut, expected.sum);

    const gradients = rmsNorm.backward(c.dy, sumOut, c.weight, expected.rstd, {
      ...c.options,
      dsum,
    });
    const dx = zeros(dtype, c.x.length);
    plan.backward(c.dy, sumOut, expected.rstd, dx, null, dsum);
    expectSameBits(dx, gradients.dx);
  });
});

const c = makeCase({ dtype: 'float32', rows: 2, hiddenSize: 4 });
const weight8 = new Float32Array(8).fill(1);

test('a plan reads the weight at each call, and adds to dweight if asked', () => {
  const weight = new Float32Array(4).fill(1);
  const plan = createPlan({ rows: 2, weight, accumulate: true });
  const y = new Float32Array(8);
  plan.forward(c.x, y);
  const before = y.slice();
  weight.fill(2);
  plan.forward(c.x, y);
  expect(y).toEqual(before.map((value) => 2 * value));

  const dweight = new Float32Array(4);
  plan.backward(c.dy, c.x, null, null, dweight);
  const once = dweight.slice();
  plan.backward(c.dy, c.x, null, null, dweight);
  expect(dweight).toEqual(once.map((value) => 2 * value));
});

test.each(dtypes)(
  'a plan of %s adds to dweight only with accumulate, with or without rstd and dsum',
  (dtype) => {
    const c = makeCase({ dtype, rows: 3, hiddenSize: 40 });
    const { rstd } = rmsNorm.forward(c.x, c.weight, c.options);
    const start = rmsNorm(c.weight as HostArray, c.weight, c.options);
    for (const [rstdOrNull, residual] of [
      [rstd, c.residual],
      [rstd, undefined],
      [null, undefined],
    ] as const) {
      for (const accumulate of [true, false]) {
        const expected = rmsNorm.backward(c.dy, c.x, c.weight, rstdOrNull, {
          ...c.options,
          ...(residual === undefined ? {} : { dsum: residual }),
          dweightOut: start.slice(),
          accumulate,
        });
        const [dx, dweight] = [zeros(dtype, c.x.length), start.slice()];
        planOf(c, accumulate).backward(c.dy, c.x, rstdOrNull, dx, dweight, residual);
        expectSameBits(dx, expected.dx);
        expectSameBits(dweight, expected.dweight);
      }
    }
  },
);

test.each([
  ['an x of another length', () => [new Float32Array(4), new Float32Array(4)], "'x' must have 8"],
  ['an out of another length', () => [c.x, new Float32Array(4)], "'out' must have 8"],
  ['an out of another dtype', () => [c.x, new Float64Array(4)], "'out' must be a Float32Array"],
  ['an out of bytes', () => [c.x, new Uint8Array(32)], "'out' must be a Float32Array"],
  ['the weight as out', () => [c.x.subarray(0, 8), weight8.subarray(0, 8)], 'must not overlap'],
])('forward of float32 refuses %s', (_, args, message) => {
  const plan = createPlan({ rows: 2, weight: weight8.subarray(0, 4) });
  const forward = plan.forward as (...args: unknown[]) => void;
  expect(
    errorOf(() => {
      forward(...args());
    }).message,
  ).toContain(message);
});

test('functions of a plan outlive the plan', () => {
  const { forward } = createPlan({ rows: 2, weight: new Float32Array(4).fill(1) });
  globalThis.gc?.();
  const y = new Float32Array(8);
  forward(c.x, y);
  expectSameBits(y, rmsNorm(c.x as Float32Array, null, { normalizedShape: 4 }));
});

test('a plan refuses calls after its weight was detached', () => {
  const weight = new Float32Array(4).fill(1);
  const plan = createPlan({ rows: 2, weight });
  detached(weight);
  const error = errorOf(() => {
    plan.forward(new Float32Array(8), new Float32Array(8));
  });
  expect(error.code).toBe('ERR_OUT_OF_RANGE');
  expect(error.message).toContain("'weight' must have 4 elements. Received 0");
});

const weight = new Float32Array(4);
test.each([
  [{ weight }, 'ERR_INVALID_ARG_TYPE', "'rows' must be a number. Received undefined"],
  [{ rows: -1, weight }, 'ERR_OUT_OF_RANGE', "'rows' must be an integer >= 0"],
  [{ rows: 1 }, 'ERR_INVALID_ARG_TYPE', "'hiddenSize' must be a number"],
  [{ rows: 1, hiddenSize: 0 }, 'ERR_OUT_OF_RANGE', "'hiddenSize' must be an integer >= 1"],
  [{ rows: 1, hiddenSize: 5, weight }, 'ERR_OUT_OF_RANGE', "'weight' must have 5 elements"],
  [{ rows: 2 ** 52, hiddenSize: 4 }, 'ERR_OUT_OF_RANGE', "'rows' must be small enough that"],
  [{ rows: 1, weight, dtype: 'int8' }, 'ERR_INVALID_ARG_VALUE', "'dtype' must be"],
  [{ rows: 1, weight, dtype: 'float64' }, 'ERR_INVALID_ARG_TYPE', "'weight' must be"],
  [{ rows: 1, weight, eps: -1 }, 'ERR_OUT_OF_RANGE', "'eps' must be"],
  [
    { rows: 1, weight, out: weight },
    'ERR_INVALID_ARG_VALUE',
    "Unknown option 'out'; did you mean 'outputs'?",
  ],
  [{ rows: 1, weight: [1] }, 'ERR_INVALID_ARG_TYPE', "'weight"],
  [
    { rows: 1, weight: { data: weight, dims: [2], strides: [2] } },
    'ERR_INVALID_ARG_VALUE',
    "'weight' must be an array or a tensor without strides and offset",
  ],
])('createPlan refuses %p', (options, code, message) => {
  const error = errorOf(() => createPlan(options as never));
  expect(error.code).toBe(code);
  expect(error.message).toContain(message);
});

const plan = createPlan({ rows: 2, weight });
const x = new Float32Array(8);
test.each<[string, () => void, string]>([
  [
    'a missing output',
    () => {
      (plan.forward as (x: unknown) => void)(x);
    },
    'ERR_INVALID_ARG_TYPE',
  ],
  [
    'an output of another length',
    () => {
      plan.forward(x, new Float32Array(4));
    },
    'ERR_OUT_OF_RANGE',
  ],
  [
    'an output of another dtype',
    () => {
      plan.forward(x, new Uint16Array(8));
    },
    'ERR_INVALID_ARG_TYPE',
  ],
  [
    'outputs that overlap',
    () => {
      plan.backward(x, x, null, x, x.subarray(0, 4));
    },
    'ERR_INVALID_ARG_VALUE',
  ],
  [
    'a residual without sumOut',
    () => {
      plan.forward(x, x, null, x);
    },
    'ERR_INVALID_ARG_VALUE',
  ],
])('calls refuse %s', (_, call, code) => {
  expect(errorOf(call).code).toBe(code);
});

/** A plan for two rows of four whose weight tracks the length of its buffer. */
function planOnResizable(castOrder: 'llama' | 'float') {
  const buffer = new (ArrayBuffer as unknown as ResizableBufferConstructor)(16, {
    maxByteLength: 64,
  });
  const weight = new Float32Array(buffer).fill(2);
  return { buffer, weight, plan: createPlan({ rows: 2, weight, castOrder }) };
}

describe.each(['llama', 'float'] as const)(
  "a plan in order '%s' refuses calls after its weight was resized",
  (castOrder) => {
    test.each([0, 8, 32, 64])('to %i bytes', (byteLength) => {
      const { buffer, weight, plan } = planOnResizable(castOrder);
      const [x, y] = [new Float32Array(8).fill(1), new Float32Array(8)];
      const calls = [
        () => {
          plan.forward(x, y);
        },
        () => {
          plan.backward(x, x, null, y, new Float32Array(4));
        },
        () => {
          plan.backward(x, x, new Float32Array(2), y, new Float32Array(4));
        },
      ];
      buffer.resize(byteLength);
      for (const call of calls) {
        const { code, message } = errorOf(call);
        expect(code).toBe('ERR_OUT_OF_RANGE');
        expect(message).toContain(
          `The argument 'weight' must have 4 elements. Received ${byteLength / 4}`,
        );
      }
      expect(y).toEqual(new Float32Array(8));
      buffer.resize(16);
      weight.fill(3);
      plan.forward(x, y);
      expectSameBits(y, rmsNorm(x, new Float32Array(4).fill(3)));
    });
  },
);

test('a plan is collected although its weight refers to it', async () => {
  const values = await printedBy(
    `require('node:v8').setFlagsFromString('--expose-gc');
     const gc = require('node:vm').runInNewContext('gc');
     const make = (options) => {
       const weight = new Float32Array(2 ** 18).fill(1);
       weight.plan = lib.createPlan({ rows: 1, weight, ...options });
       weight.plan.forward(weight.slice(), weight.slice());
       return new WeakRef(weight);
     };
     (async () => {
       const weights = [{}, { castOrder: 'float' }].map(make);
       for (let i = 0; i < 5; ++i) {
         await new Promise((resolve) => setTimeout(resolve, 10));
         gc();
       }
       print(weights.map((weight) => weight.deref() === undefined));
     })();`,
    {},
  );
  expect(values).toEqual([[true, true]]);
});
