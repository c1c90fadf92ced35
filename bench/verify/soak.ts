// Keeps many calls in flight, and allocates and releases their memory in random order. Results must
// stay right, and no memory may be lost.

import { DeviceBuffer, rmsNorm, Stream, type CudaDevice } from 'fused-rmsnorm';

import { makeArrays, type Arrays } from '../cases/arrays';
import { caseName, type Case } from '../cases/cases';
import { randomNumbers } from '../cases/random';
import { findDifference, type Difference } from './compare';
import type { Memory } from './operands';

/** Small, since only the order of the steps matters. */
const cases: readonly Case[] = [
  { op: 'forward', rows: 3, hiddenSize: 100, dtype: 'float32', castOrder: 'llama' },
  { op: 'forward', rows: 8, hiddenSize: 512, dtype: 'bfloat16', castOrder: 'llama' },
  { op: 'forward', rows: 1, hiddenSize: 33_000, dtype: 'float16', castOrder: 'llama' },
  { op: 'backward', rows: 40, hiddenSize: 64, dtype: 'float16', castOrder: 'llama' },
  { op: 'backward', rows: 2, hiddenSize: 20_000, dtype: 'float32', castOrder: 'llama' },
];

/** Maximum number of calls in flight. */
const maxLiveCalls = 8;

/** Rounds of the same steps after the first, which allocates the memory that is cached for reuse. */
const moreRounds = 3;

interface Prepared {
  readonly one: Case;
  readonly arrays: Arrays;
  readonly expected: Readonly<Record<string, Memory>>;
}

interface Live {
  readonly from: Prepared;
  readonly stream: Stream;
  readonly inputs: readonly DeviceBuffer[];
  readonly results: Readonly<Record<string, DeviceBuffer>>;
}

export interface SoakFinding {
  readonly call: string;
  readonly difference: Difference;
}

export interface SoakResult {
  readonly calls: number;
  readonly findings: readonly SoakFinding[];
  /** Bytes that the rounds after the first have lost at least; 0 if one of them has lost none. */
  readonly lostBytes: number;
}

/** `availableMemory`: available bytes of the device. Other processes may use some meanwhile. */
export function soak(
  device: CudaDevice['device'],
  steps: number,
  availableMemory: () => number,
): SoakResult {
  const prepared = cases.map(prepare);
  const streams = [Stream.default(device), new Stream({ device })] as const;
  const findings: SoakFinding[] = [];
  let calls = 0;
  const round = (): number => {
    const random = randomNumbers(); // the same in every round
    const pick = <T>(values: readonly T[]): T => values[random(values.length)] as T;
    const live: Live[] = [];
    const start = () => {
      live.push(begin(pick(prepared), pick(streams)));
      ++calls;
    };
    const end = (mustRead: boolean) => {
      const [ended] = live.splice(random(live.length), 1) as [Live];
      if (mustRead) findings.push(...check(ended));
      const buffers = [...ended.inputs, ...Object.values(ended.results)];
      while (buffers.length > 0) buffers.splice(random(buffers.length), 1)[0]?.dispose();
    };
    for (let step = 0; step < steps; ++step) {
      if (live.length === 0 || (live.length < maxLiveCalls && random(2) === 0)) start();
      else end(random(2) === 0);
    }
    while (live.length > 0) end(true);
    for (const stream of streams) stream.synchronize();
    // The pool reclaims released memory only when memory is allocated or released.
    new DeviceBuffer(1, 'float32', { device }).dispose();
    return availableMemory();
  };
  try {
    const first = round();
    const losses = Array.from({ length: moreRounds }, () => first - round());
    return { calls, findings, lostBytes: Math.max(0, Math.min(...losses)) };
  } finally {
    streams[1].dispose();
  }
}

function prepare(one: Case): Prepared {
  const arrays = makeArrays(one);
  const expected = call(one, arrays, {}) as Readonly<Record<string, Memory>>;
  return { one, arrays, expected };
}

/** Uploads the inputs, and enqueues a call that allocates its results. */
function begin(from: Prepared, stream: Stream): Live {
  const { one, arrays } = from;
  const dtype = one.dtype as DeviceBuffer['dtype'];
  const upload = (array: Arrays['x'], type = dtype) =>
    DeviceBuffer.from(array, { dtype: type, stream });
  const inputs = {
    x: upload(arrays.x),
    weight: upload(arrays.weight),
    ...(one.op === 'backward' && { dy: upload(arrays.dy), rstd: upload(arrays.rstd, 'float32') }),
  };
  const results = call(one, inputs, { stream }) as Readonly<Record<string, DeviceBuffer>>;
  return { from, stream, inputs: Object.values(inputs), results };
}

/** Makes the call on arrays or buffers. Its results are new memory of the same kind. */
function call(
  { op, dtype, castOrder }: Case,
  { x, weight, dy, rstd }: Partial<Record<keyof Arrays, unknown>>,
  where: object,
): object {
  type Operator = (...args: unknown[]) => object;
  const options = { dtype, castOrder, ...where };
  const results =
    op === 'backward'
      ? (rmsNorm.backward as Operator)(dy, x, weight, rstd, options)
      : (rmsNorm.forward as Operator)(x, weight, options);
  return Object.fromEntries(Object.entries(results).filter(([, result]) => result !== null));
}

function check({ from: { one, expected }, stream, results }: Live): SoakFinding[] {
  const { rows, hiddenSize } = one;
  return Object.entries(expected).flatMap(([name, memory]) => {
    const dims = { rstd: [rows], dweight: [hiddenSize] }[name] ?? [rows, hiddenSize];
    const layout = { offset: 0, dims, strides: [hiddenSize, 1].slice(-dims.length) };
    const result = results[name] as DeviceBuffer;
    const actual = result.toHost({ stream });
    const difference = findDifference(
      name,
      { dtype: result.dtype, layout, memory },
      actual,
      memory,
    );
    return difference === null ? [] : [{ call: caseName(one), difference }];
  });
}
