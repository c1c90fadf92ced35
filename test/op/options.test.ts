// Every pair of options, on every backend, sync and async. Each call must give the bits of the
// reference call: contiguous rows on the scalar variant. That call is checked against the oracle.

import {
  cpuVariants,
  devices,
  getCpuVariant,
  rmsNorm,
  setCpuVariant,
  type DeviceName,
  type Input,
} from '../../lib';
import { backwardErrors } from '../support/bounds';
import { makeCase, type Case, type CaseOptions } from '../support/cases';
import { pairwise, type Choices } from '../../bench/verify/pairwise';
import { backward, residualSum, roundTo } from '../support/reference';
import {
  arrayOf,
  expectSameBits,
  expectWithin,
  valuesOf,
  zeros,
  type HostArray,
} from '../support/support';

const variant = getCpuVariant();
afterEach(() => {
  setCpuVariant(variant);
});

/** How a matrix of a call lies in memory. */
type Placement = 'array' | 'tensor' | 'strided' | 'heads' | 'offset';

interface Combination {
  readonly backend: string;
  readonly dtype: CaseOptions['dtype'];
  readonly rows: number;
  readonly hiddenSize: number;
  readonly weightKind: 'none' | 'same' | 'float32';
  readonly castOrder: 'llama' | 'float';
  readonly weightOffset: number;
  readonly eps: number;
  readonly isAsync: boolean;
  readonly x: Placement;
  readonly residual: Placement | 'none';
  readonly out: Placement | 'new' | 'x' | 'residual';
  readonly sumOut: Placement | 'new' | 'x' | 'residual';
  readonly dy: Placement;
  readonly dxOut: Placement | 'new' | 'dy' | 'x' | 'dsum';
  readonly dsum: Placement | 'none';
  readonly rstd: 'provided' | 'recomputed';
  readonly dweight: 'new' | 'none' | 'accumulated';
}

const heads = 3;

/** A matrix as an argument of a call, and the memory around it. */
interface LaidOut {
  readonly argument: Input;
  readonly memory: HostArray;
  /** The index in `memory` of each element of the matrix. */
  readonly positions: readonly number[];
  readonly values: () => HostArray;
}

/** Lays out the rows of a contiguous array as `placement` says, with NaN between them. */
function layOut(
  placement: Placement,
  { rows, hiddenSize, dtype }: Case,
  packed: HostArray,
): LaidOut {
  const [gap, first] = {
    array: [0, 0],
    tensor: [0, 0],
    strided: [5, 3],
    heads: [0, 1],
    offset: [0, 4],
  }[placement] as [number, number];
  // [tokens, heads] rows if the number of rows is a multiple of `heads`.
  const hasHeads = rows % heads === 0;
  const dims = hasHeads ? [rows / heads, heads, hiddenSize] : [rows, hiddenSize];
  const row = hiddenSize + gap;
  const token = placement === 'heads' ? 2 * heads * row : heads * row;
  const strides = hasHeads ? [token, row, 1] : [row, 1];
  const firstOf = (r: number) =>
    first + (hasHeads ? Math.floor(r / heads) * token + (r % heads) * row : r * row);
  const positions = Array.from(
    packed,
    (_, i) => firstOf(Math.floor(i / hiddenSize)) + (i % hiddenSize),
  );
  const memory = zeros(
    dtype,
    placement === 'array' || placement === 'tensor'
      ? packed.length
      : Math.max(first, ...positions.map((at) => at + 1)) + 2,
  );
  if (memory.length > packed.length)
    memory.fill(dtype === 'float64' || dtype === 'float32' ? NaN : 0x7fff);
  for (const [i, at] of positions.entries()) memory[at] = packed[i] as number;
  const values = () => {
    const read = zeros(dtype, packed.length);
    for (const [i, at] of positions.entries()) read[i] = memory[at] as number;
    return read;
  };
  const argument: Input = {
    array: memory,
    tensor: { data: memory, dims },
    strided: { data: memory, dims, strides, offset: first },
    heads: { data: memory, dims, strides, offset: first },
    offset: { data: memory, dims, offset: first },
  }[placement];
  return { argument, memory, positions, values };
}

/** Fails if memory outside the matrix was written since `before` was copied. */
function expectRestIntact({ memory, positions }: LaidOut, before: HostArray): void {
  const rest = before.slice();
  for (const at of positions) rest[at] = memory[at] as number;
  expectSameBits(memory, rest);
}

const dataOf = (result: Input): HostArray =>
  (ArrayBuffer.isView(result) ? result : result.data) as HostArray;

const gpus = devices().map(({ device }) => device);
const choices: Choices<Combination> = {
  backend: [...cpuVariants(), ...gpus],
  dtype: ['float32', 'float16', 'bfloat16', 'float64'],
  rows: [0, 1, 6, 18],
  hiddenSize: [1, 8, 33, 260],
  weightKind: ['none', 'same', 'float32'],
  castOrder: ['llama', 'float'],
  weightOffset: [0, 1],
  eps: [0, 1e-6, 0.5],
  isAsync: [false, true],
  x: ['array', 'tensor', 'strided', 'heads', 'offset'],
  residual: ['none', 'array', 'tensor', 'strided', 'heads', 'offset'],
  out: ['new', 'x', 'residual', 'array', 'tensor', 'strided', 'heads', 'offset'],
  sumOut: ['new', 'x', 'residual', 'array', 'tensor', 'strided', 'heads', 'offset'],
  dy: ['array', 'tensor', 'strided', 'heads', 'offset'],
  dxOut: ['new', 'dy', 'x', 'dsum', 'array', 'tensor', 'strided', 'heads', 'offset'],
  dsum: ['none', 'array', 'tensor', 'strided', 'heads', 'offset'],
  rstd: ['provided', 'recomputed'],
  dweight: ['new', 'none', 'accumulated'],
};

/** Whether a combination may have these choices. No rule concerns more than two of them. */
const isPossible = (c: Partial<Combination>) =>
  !(c.dtype === 'float64' && gpus.includes(c.backend as (typeof gpus)[number])) &&
  !(c.residual === 'none' && (c.out === 'residual' || (c.sumOut ?? 'new') !== 'new')) &&
  !(c.out === c.sumOut && (c.out === 'x' || c.out === 'residual')) &&
  !(c.dsum === 'none' && c.dxOut === 'dsum') &&
  !(c.weightKind === 'none' && (c.dweight ?? 'none') !== 'none');

const combinations = pairwise<Combination>(choices, isPossible);

const title = (c: Combination) => Object.values(c).map(String).join(' ');

test('the combinations cover every pair of choices', () => {
  const names = Object.keys(choices) as (keyof Combination)[];
  const missing = names.flatMap((a, i) =>
    names.slice(i + 1).flatMap((b) =>
      choices[a].flatMap((left) =>
        choices[b]
          .map((right) => ({ [a]: left, [b]: right }))
          .filter((pair) => isPossible(pair))
          .filter((pair) => !combinations.some((c) => c[a] === pair[a] && c[b] === pair[b])),
      ),
    ),
  );
  expect(missing).toEqual([]);
  expect(combinations.filter((c) => !isPossible(c))).toEqual([]);
  expect(combinations.length).toBeLessThan(250);
});

test.each(combinations.map((c) => [title(c), c] as const))(
  '%s: results have the bits of the reference call',
  async (_, c) => {
    const isGpu = gpus.includes(c.backend as (typeof gpus)[number]);
    const made = makeCase({ ...c, rows: c.rows });
    const { dtype, options, weight } = made;
    const round = roundTo[dtype];

    // The reference calls.
    setCpuVariant('scalar');
    const sums = residualSum(valuesOf(made.x, dtype), valuesOf(made.residual, dtype), round);
    const normed = c.residual === 'none' ? made.x : arrayOf(dtype, sums);
    const expected = rmsNorm.forward(normed, weight, options);
    const needsDweight = c.dweight !== 'none';
    const dweightOut = () =>
      zeros(made.weightDtype, made.hiddenSize).fill(c.dweight === 'accumulated' ? 1 : 0);
    const expectedBack = rmsNorm.backward(made.dy, normed, weight, null, {
      ...options,
      needsDweight,
      ...(c.dsum === 'none' ? {} : { dsum: made.dsum }),
      ...(c.dweight === 'accumulated' ? { dweightOut: dweightOut(), accumulate: true } : {}),
    });

    if (!isGpu) setCpuVariant(c.backend);
    const device = (isGpu ? c.backend : 'cpu') as DeviceName;

    const x = layOut(c.x, made, made.x);
    const residual = c.residual === 'none' ? null : layOut(c.residual, made, made.residual);
    const layOutOutput = (choice: Combination['out']) => {
      if (choice === 'new') return null;
      if (choice === 'x') return x;
      if (choice === 'residual') return residual;
      return layOut(choice, made, zeros(dtype, made.x.length));
    };
    const [out, sumOut] = [layOutOutput(c.out), layOutOutput(c.sumOut)];
    const before = [x, residual, out, sumOut].map((matrix) => matrix?.memory.slice());
    const forwardOptions = {
      ...options,
      device,
      ...(residual === null ? {} : { residual: residual.argument }),
      ...(out === null ? {} : { out: out.argument }),
      ...(sumOut === null ? {} : { sumOut: sumOut.argument }),
    };
    const result = c.isAsync
      ? await rmsNorm.forwardAsync(x.argument, weight, forwardOptions)
      : rmsNorm.forward(x.argument, weight, forwardOptions);
    expectSameBits(out === null ? dataOf(result.y) : out.values(), expected.y);
    expectSameBits(result.rstd, expected.rstd);
    if (residual === null) expect(result.sum).toBeNull();
    else {
      const sum = sumOut === null ? dataOf(result.sum as Input) : sumOut.values();
      expectSameBits(sum, normed);
    }
    if (out !== null) expect(result.y).toBe(out.argument);
    if (sumOut !== null) expect(result.sum).toBe(sumOut.argument);
    for (const [i, matrix] of [x, residual, out, sumOut].entries()) {
      if (matrix === null) continue;
      expectRestIntact(matrix, before[i] as HostArray);
      if (matrix !== out && matrix !== sumOut)
        expectSameBits(matrix.memory, before[i] as HostArray);
    }

    const backX = layOut(c.x, made, normed);
    const dy = layOut(c.dy, made, made.dy);
    const dsum = c.dsum === 'none' ? null : layOut(c.dsum, made, made.dsum);
    const dxOut =
      {
        ...{ new: null, dy, x: backX, dsum },
        ...{ array: null, tensor: null, strided: null, heads: null, offset: null },
      }[c.dxOut] ??
      (c.dxOut === 'new' ? null : layOut(c.dxOut as Placement, made, zeros(dtype, made.x.length)));
    const backBefore = [backX, dy, dsum, dxOut].map((matrix) => matrix?.memory.slice());
    const back = c.isAsync ? rmsNorm.backwardAsync : rmsNorm.backward;
    const gradients = await back(
      dy.argument,
      backX.argument,
      weight,
      c.rstd === 'provided' ? expected.rstd : null,
      {
        ...options,
        device,
        needsDweight,
        ...(dsum === null ? {} : { dsum: dsum.argument }),
        ...(dxOut === null ? {} : { dxOut: dxOut.argument }),
        ...(c.dweight === 'accumulated' ? { dweightOut: dweightOut(), accumulate: true } : {}),
      },
    );
    expectSameBits(dxOut === null ? dataOf(gradients.dx) : dxOut.values(), expectedBack.dx);
    expectSameBits(gradients.dweight, expectedBack.dweight);
    for (const [i, matrix] of [backX, dy, dsum, dxOut].entries()) {
      if (matrix === null) continue;
      expectRestIntact(matrix, backBefore[i] as HostArray);
      if (matrix !== dxOut) expectSameBits(matrix.memory, backBefore[i] as HostArray);
    }

    // Other tests check the reference call without dsum against the oracle.
    if (c.dsum === 'none') return;
    const problem = { ...made.problem, x: valuesOf(normed, dtype) };
    const dresidual = valuesOf(made.dsum, dtype);
    const exact = backward(problem, made.dyValues, undefined, dresidual);
    const errors = backwardErrors(problem, made.dyValues, undefined, dresidual);
    expectWithin(valuesOf(expectedBack.dx, dtype), exact.dx, errors.dx, round);
  },
);
