// The tensor arguments of a call in memory, surrounded by elements that no kernel may write.

import { rmsNorm, type BufferDType, type DeviceDType } from 'fused-rmsnorm';

import { inDType, zeros } from '../cases/arrays';
import { elementBytes } from '../cases/cases';
import { fillRandom } from '../cases/random';
import type { CheckedCall } from './cases';

export type OperandName =
  | ('x' | 'weight' | 'residual' | 'gate' | 'y' | 'rstd' | 'sum' | 'scale')
  | ('dy' | 'dsum' | 'dx' | 'dweight' | 'dgate');

/** An array with elements of one of the dtypes that GPUs have. */
export type Memory = Float32Array | Uint16Array | Int8Array | Uint8Array;

/** Where the elements are in their memory, with a tensor's fields. */
export interface Layout {
  readonly offset: number;
  /** The last dimension is a row, or a vector. */
  readonly dims: readonly number[];
  readonly strides: readonly number[];
}

export interface Operand {
  readonly dtype: BufferDType;
  readonly layout: Layout;
  /** The contents before the call. */
  readonly memory: Memory;
}

export interface Operands {
  readonly byName: ReadonlyMap<OperandName, Operand>;
  /** The operand that each result is written to: an input if the call is in place. */
  readonly results: ReadonlyMap<OperandName, OperandName>;
}

/** Factors of rows. Their squares then overflow or underflow, if the dtype has such numbers. */
const scales: Readonly<Record<DeviceDType, readonly number[]>> = {
  float32: [1, 1e25, 1e-30],
  float16: [1, 2 ** 14, 2 ** -22],
  bfloat16: [1, 1e25, 1e-30],
};

/** Factors of a gate's rows. Its silu then underflows, or is nearly half the gate. */
const gateScales = [1, 64, 2 ** -20, 8];

const specials = [undefined, NaN, Infinity, 0];

/** The byte that fills memory before a call, to detect writes. As elements, such bytes are numbers. */
const unwritten = 0x5a;
const guardElements = 16;

export function epsOf({ values }: CheckedCall): number {
  return values === 'rescaled' ? 0 : 1e-6;
}

export function makeOperands(call: CheckedCall): Operands {
  const { op, dtype, rows, hiddenSize, isAdded, isInPlace, gradients } = call;
  const byName = new Map<OperandName, Operand>();
  const results = new Map<OperandName, OperandName>();
  const add = (name: OperandName, made: Operand) => byName.set(name, made);
  const matrix = matrixLayout(call);
  const ofMatrix = (name: OperandName, seed: number) => {
    const values = randomValues(rows * hiddenSize, seed);
    if (name === 'dy') changeRows(call, values, 1, [1]);
    else if (name === 'gate') changeRows(call, values, 2, gateScales);
    else if (name !== 'dsum') changeRows(call, values, 0, scales[dtype]);
    return add(name, allocate(dtype, matrix, values));
  };
  const output = (name: OperandName, made: Operand, over: OperandName | null) => {
    results.set(name, over ?? name);
    if (over === null) add(name, made);
  };
  const weightDType = call.weight === 'float32' ? 'float32' : dtype;
  const vector = (type: DeviceDType, length: number): Layout => ({
    ...{ offset: leadOf(call, type), dims: [length], strides: [1] },
  });
  const weightLayout = vector(weightDType, hiddenSize);
  const rstdLayout = vector('float32', rows);

  ofMatrix('x', 1);
  if (call.weight !== 'none') {
    add('weight', allocate(weightDType, weightLayout, randomValues(hiddenSize, 2)));
  }
  if (call.gate !== 'none') ofMatrix('gate', 7);
  if (op === 'forward') {
    const { quantize } = call;
    if (isAdded) ofMatrix('residual', 3);
    output('y', allocate(quantize === 'none' ? dtype : quantize, matrix), isInPlace ? 'x' : null);
    output('rstd', allocate('float32', rstdLayout), null);
    if (quantize !== 'none' && call.scale !== 'static') {
      output('scale', allocate('float32', rstdLayout), null);
    }
    if (isAdded) output('sum', allocate(dtype, matrix), isInPlace ? 'residual' : null);
    return { byName, results };
  }
  ofMatrix('dy', 4);
  if (isAdded) ofMatrix('dsum', 5);
  if (call.rstd === 'given') {
    add('rstd', allocate('float32', rstdLayout, rstdOf(call, byName)));
  }
  if (gradients !== 'dweight') {
    output('dx', allocate(dtype, matrix), isInPlace ? 'dy' : null);
    if (call.gate !== 'none') output('dgate', allocate(dtype, matrix), isInPlace ? 'gate' : null);
  }
  if (gradients !== 'dx' && call.weight !== 'none') {
    const before = call.accumulates ? randomValues(hiddenSize, 6) : undefined;
    output('dweight', allocate(weightDType, weightLayout, before), null);
  }
  return { byName, results };
}

/** The argument for an operand in memory: a view if it is contiguous, otherwise a strided tensor. */
export function argumentOf<Data extends { subarray(begin: number, end: number): Data }>(
  { offset, dims, strides }: Layout,
  data: Data,
): Data | (Layout & { readonly data: Data }) {
  const [rows = 1, columns = 1] = dims.length === 1 ? [1, dims[0]] : dims.slice(-2);
  const isPacked = dims.length < 3 && (dims.length === 1 || strides[0] === columns);
  return isPacked
    ? data.subarray(offset, offset + rows * columns)
    : { data, offset, dims, strides };
}

/** Describes the position of an element of the memory, such as `'row 2, column 17'`. */
export function positionOf(layout: Layout, index: number): string {
  const columns = layout.dims.at(-1) as number;
  const firsts = firstsOf(layout);
  const row = firsts.findIndex((first) => first <= index && index < first + columns);
  if (row < 0) return `element ${index} of the memory, beside the result,`;
  const column = index - (firsts[row] as number);
  return layout.dims.length === 1 ? `element ${column}` : `row ${row}, column ${column}`;
}

/** Elements between an address that is aligned to at least 16 bytes and the start of an array. */
function leadOf({ alignment }: CheckedCall, dtype: DeviceDType): number {
  return alignment === 16 ? 0 : Math.max(1, alignment / elementBytes[dtype]);
}

function matrixLayout(call: CheckedCall): Layout {
  const { dtype, rows, hiddenSize, layout } = call;
  const offset = leadOf(call, dtype);
  if (layout === 'packed') return { offset, dims: [rows, hiddenSize], strides: [hiddenSize, 1] };
  const gap = offset === 0 ? 16 / elementBytes[dtype] : offset;
  const stride = hiddenSize + gap;
  if (layout === 'strided') return { offset, dims: [rows, hiddenSize], strides: [stride, 1] };
  return { offset, dims: [rows / 2, 2, hiddenSize], strides: [3 * stride, stride, 1] };
}

/** The index of each row's first element; of the only one for a vector. */
function firstsOf({ offset, dims, strides }: Layout): number[] {
  let firsts = [offset];
  for (const [level, count] of dims.slice(0, -1).entries()) {
    const steps = Array.from({ length: count }, (_, i) => i * (strides[level] as number));
    firsts = firsts.flatMap((first) => steps.map((step) => first + step));
  }
  return firsts;
}

/** Allocates memory for an output, filled with {@link unwritten}. */
function allocate(dtype: BufferDType, layout: Layout): Operand;
/** Allocates such memory, and writes `values` into the elements of the layout. */
function allocate(dtype: DeviceDType, layout: Layout, values?: Float32Array): Operand;
function allocate(dtype: BufferDType, layout: Layout, values?: Float32Array): Operand {
  const columns = layout.dims.at(-1) as number;
  const firsts = firstsOf(layout);
  const memory = newMemory(dtype, (firsts.at(-1) ?? 0) + columns + guardElements);
  new Uint8Array(memory.buffer).fill(unwritten);
  if (values !== undefined) {
    const elements = inDType(dtype as DeviceDType, values);
    firsts.forEach((first, r) => {
      memory.set(elements.subarray(r * columns, (r + 1) * columns), first);
    });
  }
  return { dtype, layout, memory };
}

function newMemory(dtype: BufferDType, length: number): Memory {
  if (dtype === 'int8') return new Int8Array(length);
  if (dtype === 'float8_e4m3' || dtype === 'float8_e5m2') return new Uint8Array(length);
  return zeros(dtype, length) as Memory;
}

function randomValues(length: number, seed: number): Float32Array {
  return fillRandom(new Float32Array(length), seed);
}

/** Changes some rows as the call's `values` require. Which ones depends on their length, too. */
function changeRows(
  { rows, hiddenSize, values: kind }: CheckedCall,
  values: Float32Array,
  shift: number,
  rowScales: readonly number[],
): void {
  for (let r = 0; r < rows; ++r) {
    const row = values.subarray(r * hiddenSize, (r + 1) * hiddenSize);
    const turn = r + hiddenSize + shift;
    if (kind === 'rescaled') {
      const scale = rowScales[turn % rowScales.length] as number;
      row.forEach((value, j) => (row[j] = value * scale));
    }
    const special = kind === 'special' ? specials[turn % specials.length] : undefined;
    if (special === 0) row.fill(0);
    else if (special !== undefined) row[(7 * r) % hiddenSize] = special;
  }
}

function rstdOf(call: CheckedCall, byName: ReadonlyMap<OperandName, Operand>): Float32Array {
  const { dtype, hiddenSize } = call;
  const argument = (name: OperandName) => {
    const { layout, memory } = byName.get(name) as Operand;
    return argumentOf(layout, memory as Float32Array);
  };
  return rmsNorm.forward(argument('x'), null, {
    ...{ dtype, eps: epsOf(call), normalizedShape: hiddenSize },
    ...(call.gate !== 'none' && { gate: argument('gate'), gateOrder: call.gate }),
  }).rstd;
}
