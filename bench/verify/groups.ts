// The lists of what is checked. A run counts which kernels the calls reach: if one is not reached,
// a list here lacks something.

import type { DeviceDType } from 'fused-rmsnorm';

import { elementBytes } from '../cases/cases';
import { isPossible, usualCall, type CheckedCall } from './cases';
import { pairwise, type Choices } from './pairwise';

/** How a call is made on a GPU: see ways.ts. */
export type WayName = 'buffers' | 'arrays' | 'promises' | 'graph' | 'streams';

export interface Group {
  readonly name: string;
  readonly way: WayName;
  /** Made on demand, since it takes a moment to find pairs. */
  readonly calls: () => readonly CheckedCall[];
}

/** The sizes of calls. `elements` limits a matrix, unless a single row has more. */
export interface Extent {
  readonly rows: readonly number[];
  readonly elements: number;
}

export const extents = {
  usual: { rows: [1, 3, 40, 600], elements: 2 ** 16 },
  thorough: { rows: [1, 3, 40, 1030, 9000], elements: 2 ** 22 },
} as const satisfies Record<string, Extent>;

const dtypes: readonly DeviceDType[] = ['float32', 'float16', 'bfloat16'];
const operations = ['forward', 'backward'] as const;
const weights = ['none', 'same', 'float32'] as const;
const castOrders = ['llama', 'float'] as const;
const gates = ['after-norm', 'before-norm'] as const;
const codes = ['int8', 'float8_e4m3', 'float8_e5m2'] as const;

/** A call with the bytes of a row, by which kernels are chosen, instead of its elements. */
type SizedCall = Omit<CheckedCall, 'hiddenSize'> & { readonly rowBytes: number };

interface Region {
  readonly name: string;
  readonly op: CheckedCall['op'];
  /** The common lengths: whole tiles of 256 columns, or whole packs. */
  readonly wholeRowBytes: readonly number[];
  /** Other lengths: ragged ones, and the longest of the region. */
  readonly otherRowBytes: readonly number[];
  /** Replaces the rows of the extent, without its limit of elements. */
  readonly rows?: readonly number[];
}

/** Kernels hold rows in registers, in shared memory, or not at all, depending on their length. */
const regions: readonly Region[] = [
  {
    name: 'forward, one tile a thread',
    op: 'forward',
    wholeRowBytes: [256, 8192, 10_240],
    otherRowBytes: [2, 62, 500, 2060, 16_384],
  },
  {
    name: 'forward, two tiles a thread',
    op: 'forward',
    wholeRowBytes: [32_768],
    otherRowBytes: [16_400, 20_000, 65_536],
  },
  {
    name: 'forward, very long rows',
    op: 'forward',
    wholeRowBytes: [131_072],
    otherRowBytes: [65_552, 100_002],
  },
  {
    name: 'backward in steps of rows',
    op: 'backward',
    wholeRowBytes: [256, 4096, 10_240],
    otherRowBytes: [2, 62, 500, 2060, 8192],
  },
  {
    name: 'backward, row by row',
    op: 'backward',
    wholeRowBytes: [16_384, 32_768, 33_792],
    otherRowBytes: [16_400, 20_000],
  },
  {
    name: 'backward, very long rows',
    op: 'backward',
    wholeRowBytes: [65_536],
    otherRowBytes: [32_784, 50_002],
  },
  {
    name: 'backward, end of dweight',
    op: 'backward',
    wholeRowBytes: [64],
    otherRowBytes: [18, 140],
    rows: [17, 100, 600, 1030, 8200],
  },
];

const usualOnly = Object.fromEntries(
  Object.entries(usualCall).map(([name, value]) => [name, [value]]),
) as unknown as Choices<Omit<SizedCall, 'op' | 'dtype' | 'rows' | 'rowBytes'>>;
/** Every dtype and weight with every cast order, on common rows, with and without a residual or dsum. */
const typesOnly = {
  ...usualOnly,
  ...{ dtype: dtypes, weight: weights, castOrder: castOrders, isAdded: [false, true] },
};

/**
 * Every dtype with every cast order, for each fused option: codes of every kind, and each gate.
 * Gates have separate kernels for each weight and for unaligned rows.
 */
const fusedOnly = [
  { gate: gates, weight: weights },
  { gate: gates, alignment: [4] as const },
  { quantize: codes },
].map((fused) => ({
  ...{ ...usualOnly, dtype: dtypes, castOrder: castOrders, ...fused },
}));

const allOptions: Omit<Choices<SizedCall>, 'op' | 'rowBytes' | 'rows'> = {
  dtype: dtypes,
  weight: weights,
  weightOffset: [0, 1, -0.25],
  castOrder: castOrders,
  alignment: [16, 8, 4, 2],
  layout: ['packed', 'strided', 'batched'],
  values: ['normal', 'rescaled', 'special'],
  isAdded: [false, true],
  isInPlace: [false, true],
  gate: ['none', ...gates],
  quantize: ['none', ...codes],
  scale: ['own', 'bounded', 'static'],
  rstd: ['given', 'recomputed'],
  gradients: ['both', 'dx', 'dweight'],
  accumulates: [false, true],
};

/** The choices for the other ways of making a call: kernels with and without a workspace. */
const fewOptions: Choices<SizedCall> = {
  ...allOptions,
  op: operations,
  rows: [1, 40],
  rowBytes: [62, 4096, 65_552],
  weight: ['same', 'float32'],
  weightOffset: [0],
  gate: ['none', 'after-norm'],
  scale: ['own', 'static'],
  alignment: [16, 2],
  values: ['normal'],
};

const otherWays: readonly (readonly [way: WayName, name: string])[] = [
  ['arrays', 'arrays, copied there and back'],
  ['promises', 'promises, page-locked memory'],
  ['graph', 'graphs, captured and replayed'],
  ['streams', 'two streams, with events'],
];

export function makeGroups(extent: Extent): Group[] {
  const { elements } = extent;
  return [
    ...regions.map((region): Group => {
      const most = region.rows === undefined ? elements : Infinity;
      const calls = () => callsOf(region, extent).map((call) => sized(call, most));
      return { name: region.name, way: 'buffers', calls };
    }),
    ...otherWays.map(([way, name]): Group => {
      const calls = () => pairwise(fewOptions, isPossibleSized).map((one) => sized(one, elements));
      return { name, way, calls };
    }),
  ];
}

function callsOf({ op, wholeRowBytes, otherRowBytes, rows }: Region, extent: Extent): SizedCall[] {
  const where = { op: [op], rows: rows ?? extent.rows };
  const common = product<SizedCall>({ ...typesOnly, ...where, rowBytes: wholeRowBytes });
  const few = { rows: where.rows.slice(0, 2), rowBytes: wholeRowBytes.slice(0, 1) };
  const fused = fusedOnly.flatMap((choices) =>
    product<SizedCall>({ ...choices, ...where, ...few }),
  );
  const rowBytes = [...wholeRowBytes, ...otherRowBytes];
  return [
    ...[...common, ...fused].filter(isPossibleSized),
    ...pairwise<SizedCall>({ ...allOptions, ...where, rowBytes }, isPossibleSized),
  ];
}

function isPossibleSized(call: SizedCall): boolean {
  return isPossible({ ...call, hiddenSize: 1 });
}

function sized({ rowBytes, ...call }: SizedCall, elements: number): CheckedCall {
  const hiddenSize = Math.ceil(rowBytes / elementBytes[call.dtype]);
  const rows = Math.max(1, Math.min(call.rows, Math.floor(elements / hiddenSize)));
  // A batch has two rows.
  return { ...call, hiddenSize, rows: call.layout === 'batched' ? rows + (rows % 2) : rows };
}

/** All combinations of choices. */
function product<T extends object>(choices: Choices<T>): T[] {
  let combinations = [{} as T];
  for (const [name, values] of Object.entries<readonly unknown[]>(choices)) {
    combinations = combinations.flatMap((one) =>
      values.map((value) => ({ ...one, [name]: value })),
    );
  }
  return combinations;
}
