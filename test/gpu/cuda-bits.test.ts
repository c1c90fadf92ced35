// The numerics contract across backends: a GPU gives the bits of the CPU. Runs on every GPU of this
// machine, or on simulated GPUs of three compute capabilities.

import path from 'node:path';

import { rmsNorm, type CastOrder, type DeviceName, type DType } from '../../lib';
import { makeCase, type CaseOptions, type WeightKind } from '../support/cases';
import { onEachGpu } from '../support/gpu';
import { readSafetensors } from '../support/safetensors';
import { dtypes, expectSameBits, valuesOf, zeros, type HostArray } from '../support/support';

/** Runs all cases instead of a selection, which takes long on simulated devices. */
const isFull = process.env['RMSNORM_FULL_GRID'] !== undefined;

const rowCounts = [1, 2, 3, 17, 64, 300];
const hiddenSizes = [
  ...[1, 2, 7, 8, 31, 33, 64, 100, 111, 128, 255, 256, 257, 500, 512, 769, 1000, 1024, 2048],
  ...[4096, 5120, 5125, 8192, 16384],
];
/** Only the full grid runs larger cases, because simulating them takes long. */
const elementLimit = 300_000;

interface Types {
  readonly dtype: DType;
  readonly weightKind: WeightKind;
  readonly castOrder: CastOrder;
}

const allTypes: Types[] = dtypes.flatMap((dtype) =>
  (['none', 'same', 'float32'] as const)
    .filter((weightKind) => dtype !== 'float32' || weightKind !== 'float32')
    .flatMap((weightKind) =>
      (['llama', 'float'] as const)
        .filter((castOrder) => dtype !== 'float32' || castOrder === 'llama')
        .map((castOrder) => ({ dtype, weightKind, castOrder })),
    ),
);

/** The results of forward and backward. If `givesRstd`, backward reads forward's rstd. */
function resultsOf(made: ReturnType<typeof makeCase>, device: DeviceName, givesRstd: boolean) {
  const options = { ...made.options, device };
  const { y, rstd } = rmsNorm.forward(made.x, made.weight, options);
  const { dx, dweight } = rmsNorm.backward(
    made.dy,
    made.x,
    made.weight,
    givesRstd ? rstd : null,
    options,
  );
  return { y, rstd, dx, dweight };
}

function expectBitsOfCpu(options: CaseOptions, device: DeviceName, givesRstd: boolean): void {
  const made = makeCase(options);
  const expected = resultsOf(made, 'cpu', true);
  const actual = resultsOf(made, device, givesRstd);
  expectSameBits(actual.y, expected.y);
  expectSameBits(actual.rstd, expected.rstd);
  expectSameBits(actual.dx, expected.dx);
  expectSameBits(actual.dweight, expected.dweight);
}

onEachGpu('on $device ($computeCapability)', ({ device, index }) => {
  test.each(hiddenSizes)('rows of %d equal the CPU', (hiddenSize) => {
    const s = hiddenSizes.indexOf(hiddenSize);
    for (const [k, types] of allTypes.entries()) {
      const offset = s + k + index;
      const selected = [rowCounts[offset % rowCounts.length] as number];
      for (const rows of isFull ? rowCounts : selected) {
        const fitting = isFull || rows * hiddenSize <= elementLimit ? rows : 2 + (rows % 2);
        const weightOffset = [0, 1, -0.25][offset % 3] as number;
        const problem = { ...types, rows: fitting, hiddenSize, weightOffset };
        expectBitsOfCpu(problem, device, offset % 2 === 0);
      }
    }
  });

  test.each([32_768, 65_536, 131_072, 1_048_576])('rows of %d equal the CPU', (hiddenSize) => {
    for (const [d, dtype] of dtypes.entries()) {
      const rows = hiddenSize > 200_000 ? 1 : 3;
      const castOrder = d === 1 ? 'float' : 'llama';
      const weightKind = d === 2 ? 'float32' : 'same';
      const problem = { dtype, rows, hiddenSize, weightKind, castOrder } as const;
      expectBitsOfCpu(problem, device, d === 0);
    }
  });

  test('many row groups equal the CPU', () => {
    for (const [d, rows] of [1030, 8200, 8193 * 2].entries()) {
      const dtype = dtypes[d] as DType;
      expectBitsOfCpu({ dtype, rows, hiddenSize: 24 + d }, device, true);
    }
  });

  test.each([
    ['dx alone', { needsDweight: false }, true],
    ['dweight alone', { needsDx: false }, true],
    ['dweight alone with a recomputed rstd', { needsDx: false }, false],
    ['dx alone with a recomputed rstd', { needsDweight: false }, false],
  ])('%s equals the CPU', (_, needs, givesRstd) => {
    for (const hiddenSize of [100, 1024, 5125, 8192, 40_000]) {
      const made = makeCase({ dtype: 'bfloat16', rows: 19, hiddenSize });
      const { rstd } = rmsNorm.forward(made.x, made.weight, made.options);
      const [expected, actual] = (['cpu', device] as const).map((name) =>
        rmsNorm.backward(made.dy, made.x, made.weight, givesRstd ? rstd : null, {
          ...made.options,
          ...needs,
          device: name,
        }),
      );
      expect(Object.keys(actual ?? {})).toEqual(Object.keys(expected ?? {}));
      expectSameBits(actual?.dx ?? null, expected?.dx ?? null);
      expectSameBits(actual?.dweight ?? null, expected?.dweight ?? null);
    }
  });

  test('in-place outputs and an accumulated dweight equal the CPU', () => {
    const made = makeCase({ dtype: 'float32', rows: 35, hiddenSize: 513 });
    const results = (['cpu', device] as const).map((name) => {
      const options = { ...made.options, device: name };
      const x = made.x.slice();
      const dy = made.dy.slice();
      const dweight = new Float32Array(513).fill(0.5);
      const { rstd } = rmsNorm.forward(made.x, made.weight, options);
      rmsNorm.backward(dy, x, made.weight, rstd, {
        ...options,
        dxOut: dy,
        dweightOut: dweight,
        accumulate: true,
      });
      rmsNorm(x, made.weight, { ...options, out: x });
      return [x, dy, dweight];
    });
    for (const [i, expected] of (results[0] as HostArray[]).entries()) {
      expectSameBits(results[1]?.[i] ?? null, expected);
    }
  });

  test.each(dtypes)('%s NaN, infinities, zeros, subnormals and extremes equal the CPU', (dtype) => {
    const bits = dtype === 'bfloat16' ? 0x7f80 : 0x7c00; // infinity
    const specials = {
      float32: [NaN, Infinity, -Infinity, 0, -0, 1e-45, -1e-39, 3e38, 1.8e19, 1e-23],
      float16: [0x7e00, bits, bits | 0x8000, 0, 0x8000, 1, 0x83ff, 0x7bff, 0x400, 0xfbff],
      bfloat16: [0x7fc0, bits, bits | 0x8000, 0, 0x8000, 1, 0x807f, 0x7f7f, 0x80, 0x5f80],
    }[dtype];
    const [rows, hiddenSize] = [2 * specials.length, 264];
    const made = makeCase({ dtype, rows, hiddenSize });
    for (const [i, value] of specials.entries()) {
      made.x[2 * i * hiddenSize + 7 * i] = value; // one element of a row
      made.x.fill(value, (2 * i + 1) * hiddenSize, (2 * i + 2) * hiddenSize); // all of the next
      made.dy[2 * i * hiddenSize + 100] = value;
    }
    const [expected, actual] = (['cpu', device] as const).map((name) =>
      resultsOf(made, name, false),
    );
    const kinds = { y: dtype, rstd: 'float32', dx: dtype, dweight: dtype } as const;
    for (const name of ['y', 'rstd', 'dx', 'dweight'] as const) {
      // Compares values, since the payloads of NaN may differ. toEqual distinguishes 0 from -0.
      expect(valuesOf(actual?.[name] as HostArray, kinds[name])).toEqual(
        valuesOf(expected?.[name] as HostArray, kinds[name]),
      );
    }
  });

  // In these rows rstd is above fold.h's kLargeRstd, and the products of dy and x lose digits, although
  // the sum of the squares alone does not look small.
  test.each([16_384, 32_768, 131_072, 1_048_576])('tiny rows of %d equal the CPU', (hiddenSize) => {
    const made = makeCase({ dtype: 'float32', rows: 2, hiddenSize, eps: 0 });
    for (let i = 0; i < made.x.length; ++i) {
      made.x[i] = (1 + (i % 97) / 97) * 2 ** -33 * (i % 2 === 0 ? 1 : -1);
      made.dy[i] = (1 + (i % 89) / 89) * 2 ** -101;
    }
    for (const givesRstd of [false, true]) {
      const expected = resultsOf(made, 'cpu', true);
      const actual = resultsOf(made, device, givesRstd);
      expectSameBits(actual.dx, expected.dx);
      expectSameBits(actual.dweight, expected.dweight);
    }
  });

  test('zero rows give empty results and a dweight of zeros', () => {
    const weight = new Float32Array(8).fill(2);
    const none = new Float32Array(0);
    expect(rmsNorm(none, weight, { device })).toHaveLength(0);
    const { dx, dweight } = rmsNorm.backward(none, none, weight, none, { device });
    expect(dx).toHaveLength(0);
    expectSameBits(dweight, zeros('float32', 8));
  });

  test('activations and gradients of a Llama model equal the CPU', () => {
    const tensors = readSafetensors(path.join(__dirname, '../fixtures/llama_norms.safetensors'));
    const norms = [...tensors.keys()].filter((name) => name.endsWith('.x'));
    expect(norms.length).toBeGreaterThan(0);
    for (const name of norms) {
      const of = (suffix: string) => tensors.get(name.replace(/x$/, suffix))?.data as Float32Array;
      const [x, weight, dy] = [of('x'), of('weight'), of('dy')];
      const [expected, actual] = (['cpu', device] as const).map((target) => {
        const { y, rstd } = rmsNorm.forward(x, weight, { device: target });
        return { y, rstd, ...rmsNorm.backward(dy, x, weight, rstd, { device: target }) };
      });
      for (const key of ['y', 'rstd', 'dx', 'dweight'] as const) {
        expectSameBits(actual?.[key] ?? null, expected?.[key] ?? null);
      }
    }
  });
});
