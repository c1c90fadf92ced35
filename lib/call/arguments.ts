import type { NativeData, NativeStream } from '../../binding';
import { copyList, isList, maxDims } from '../core/caller-values';
import { checkPlace, nativeData, readPlaceStream, type TensorData } from './data';
import { ordinalOfBuffer, type DeviceBuffer } from '../gpu/device-buffer';
import { dtypeOf, type DType } from '../core/dtype';
import { argumentError } from '../core/errors';
import { nativeFormat } from './format';
import { readSettings, type CommonOptions, type OwnOptions, type Settings } from './options';
import { collapse } from './strides';
import { arrayLike, readOperand, sizeOf, type Operand } from './tensor';

/** What forward and backward have in common, checked. */
export interface Problem {
  readonly x: Operand;
  readonly weight: Operand | null;
  readonly nativeX: NativeData;
  readonly nativeWeight: NativeData | null;
  readonly dtype: DType;
  readonly hiddenSize: number;
  readonly rows: number;
  readonly settings: Settings;
  /** That the call is enqueued on; null where x is an array. */
  readonly stream: NativeStream | null;
  /** The dtype, the cast order and the device, as native calls take them. */
  readonly format: number;
}

export function readProblem(
  x: unknown,
  weight: unknown,
  options: OwnOptions<CommonOptions>,
): Problem {
  const xOperand = readOperand('x', x);
  const weightOperand =
    weight === null || weight === undefined ? null : readVector('weight', weight, xOperand.data);
  const dtype = readDtype(xOperand, options.dtype);
  const settings = readSettings(options, dtype);
  const stream = readPlaceStream(xOperand.data, options.stream);
  if (weightOperand !== null) checkDtype('weight', weightOperand, dtype, true);
  const hiddenSize = readHiddenSize(xOperand, weightOperand, options.normalizedShape);
  if (xOperand.length % hiddenSize !== 0) {
    throw argumentError(
      'ERR_OUT_OF_RANGE',
      'x',
      `whole rows of ${String(hiddenSize)} elements`,
      xOperand.data,
    );
  }
  return {
    x: xOperand,
    weight: weightOperand,
    nativeX: nativeData(xOperand.data),
    nativeWeight: weightOperand && nativeData(weightOperand.data),
    dtype,
    hiddenSize,
    rows: xOperand.length / hiddenSize,
    settings,
    stream,
    format: nativeFormat(dtype, settings.castOrder, readPlace(xOperand, settings.device, options)),
  };
}

/** The device of a call, as native calls take it: that of x where x is a DeviceBuffer. */
function readPlace(x: Operand, device: number, options: OwnOptions<CommonOptions>): number {
  if (ArrayBuffer.isView(x.data)) return device;
  const own = ordinalOfBuffer(x.data) + 1;
  if (options.device === undefined || device === own) return own;
  const expected = `'${x.data.device}', the device of x, or left out`;
  throw argumentError('ERR_INVALID_ARG_VALUE', 'device', expected, options.device);
}

/** An argument of the same dtype and length as x, and of its dims if both have some. */
export function readLikeX(name: string, value: unknown, { x, dtype }: Problem): Operand {
  const operand = readOperand(name, value);
  checkPlace(name, operand.data, x.data);
  checkDtype(name, operand, dtype, false);
  checkLength(name, operand, x.length);
  if (x.dims !== null && operand.dims !== null && !isSame(operand.dims, x.dims)) {
    const expected = `[${x.dims.join(', ')}], the dims of x`;
    throw argumentError('ERR_OUT_OF_RANGE', `${name}.dims`, expected, operand.dims);
  }
  return operand;
}

/** dweightOut: float32 or of x's dtype. */
export function readDweightOut(value: unknown, { x, dtype, hiddenSize }: Problem): Operand {
  const operand = readVector('dweightOut', value, x.data);
  checkDtype('dweightOut', operand, dtype, true);
  checkLength('dweightOut', operand, hiddenSize);
  return operand;
}

/** rstd, given or to be written: a plain array. */
export function readRstd(name: string, value: unknown, { x, rows, dtype }: Problem): TensorData {
  const operand = readOperand(name, value);
  checkPlace(name, operand.data, x.data);
  const kind = rstdKind(dtype);
  if (
    !fitsDtype(operand, dtype === 'float64' ? dtype : 'float32', false) ||
    operand.dims !== null
  ) {
    throw argumentError('ERR_INVALID_ARG_TYPE', name, `a ${kind}`, value);
  }
  checkLength(name, operand, rows);
  return operand.data;
}

export function rstdKind(dtype: DType): 'Float32Array' | 'Float64Array' {
  return dtype === 'float64' ? 'Float64Array' : 'Float32Array';
}

/** An operand of one dimension, whose elements are those of its data. */
function readVector(name: string, value: unknown, x: TensorData): Operand {
  const operand = readOperand(name, value);
  checkPlace(name, operand.data, x);
  refuseView(name, operand, value);
  return operand;
}

/** Refuses a tensor whose elements are not those of its data. */
export function refuseView(name: string, operand: Operand, value: unknown): void {
  if (operand.view === null) return;
  throw argumentError(
    'ERR_INVALID_ARG_VALUE',
    name,
    'an array or a tensor without strides and offset',
    value,
  );
}

/** The matrices of a native call in its order; null for one it does not have. */
type Matrices = readonly [Operand | null, Operand | null, Operand | null, Operand | null];

const numbersOfMatrix = 4;
const layoutNumbers = new Float64Array(1 + 4 * numbersOfMatrix);

/**
 * The argument `layout` of a native call, which reads it at once: the next one has the same memory.
 * null if there are no views among the matrices, whose arguments have these names.
 */
export function nativeLayout(
  { rows, hiddenSize }: Problem,
  names: readonly string[],
  matrices: Matrices,
): Float64Array | null {
  if (matrices.every((operand) => (operand?.view ?? null) === null)) return null;
  layoutNumbers[0] = rows;
  for (const [i, operand] of matrices.entries()) {
    const numbers = matrixNumbers(names[i] as string, operand, rows, hiddenSize);
    layoutNumbers.set(numbers, 1 + numbersOfMatrix * i);
  }
  return layoutNumbers;
}

function matrixNumbers(
  name: string,
  operand: Operand | null,
  rows: number,
  hiddenSize: number,
): readonly number[] {
  const view = operand?.view ?? null;
  const dims = operand?.dims ?? null;
  if (view === null || dims === null) return [0, hiddenSize, rows, 0];
  const layout = collapse(dims, view.strides, hiddenSize);
  if (typeof layout === 'object') {
    return [view.offset, layout.rowStride, layout.batchRows, layout.batchStride];
  }
  const expected =
    layout === 'broken rows'
      ? `those of contiguous rows of ${String(hiddenSize)} elements; copy other tensors`
      : 'such that rows lie in one stride, or two; copy other tensors';
  throw argumentError('ERR_INVALID_ARG_VALUE', `${name}.strides`, expected, view.strides);
}

/** The dtype of x, from what the option, a tensor's type and the kind of its array say. */
function readDtype(x: Operand, option: unknown): DType {
  const type = x.kind === 'DeviceBuffer' ? (x.data as DeviceBuffer).dtype : statedType(x);
  if (option !== undefined && type !== undefined && option !== type) {
    throw argumentError('ERR_INVALID_ARG_VALUE', 'dtype', `'${type}', the type of x`, option);
  }
  if (x.kind === 'DeviceBuffer') return type as DType;
  return dtypeOf('x', x.kind, option === undefined ? type : option);
}

function isSame(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dim, i) => dim === b[i]);
}

/** The dtype that `type` of a tensor states, where it is one of ours. */
export function statedType({ type, kind }: Operand): string | undefined {
  return kind === 'Uint16Array' && (type === 'float16' || type === 'bfloat16') ? type : undefined;
}

function checkLength(name: string, operand: Operand, length: number): void {
  if (operand.length !== length) {
    throw argumentError('ERR_OUT_OF_RANGE', name, `of ${String(length)} elements`, operand.data);
  }
}

const kindsOf: Readonly<Record<DType, string>> = {
  float32: 'Float32Array',
  float16: 'Float16Array or Uint16Array',
  bfloat16: 'Uint16Array',
  float64: 'Float64Array',
};

/** Refuses an operand whose array can not be of `dtype`, or of float32 where that will do. */
function checkDtype(name: string, operand: Operand, dtype: DType, orFloat32: boolean): void {
  const is16Bit = dtype === 'float16' || dtype === 'bfloat16';
  if (fitsDtype(operand, dtype, orFloat32 && is16Bit)) return;
  const alternative = orFloat32 && is16Bit ? ' or Float32Array' : '';
  const expected = `a ${kindsOf[dtype]}${alternative}, since x is ${dtype}`;
  throw argumentError('ERR_INVALID_ARG_TYPE', name, expected, arrayLike(operand, operand.data));
}

function fitsDtype(operand: Operand, dtype: DType, orFloat32: boolean): boolean {
  switch (operand.kind) {
    case 'DeviceBuffer': {
      const own = (operand.data as DeviceBuffer).dtype;
      return own === dtype || (own === 'float32' && orFloat32);
    }
    case 'Float32Array':
      return dtype === 'float32' || orFloat32;
    case 'Float64Array':
      return dtype === 'float64';
    case 'Float16Array':
      return dtype === 'float16';
    case 'Uint16Array':
      return (
        (dtype === 'float16' || dtype === 'bfloat16') && (statedType(operand) ?? dtype) === dtype
      );
  }
}

/** The hidden size, from normalizedShape and the weight, checked against each other and x. */
function readHiddenSize(x: Operand, weight: Operand | null, normalizedShape: unknown): number {
  const stated = readNormalizedShape(normalizedShape);
  const shape = stated ?? weight?.dims ?? null;
  const hiddenSize = shape === null ? weight?.length : sizeOf(shape);
  if (hiddenSize === undefined) {
    throw argumentError(
      'ERR_INVALID_ARG_TYPE',
      'normalizedShape',
      'given where weight is not',
      undefined,
    );
  }
  if (weight !== null && weight.length !== hiddenSize) {
    throw argumentError(
      'ERR_OUT_OF_RANGE',
      'weight',
      `of ${String(hiddenSize)} elements`,
      weight.data,
    );
  }
  const weightDims = weight?.dims ?? null;
  if (stated !== null && weightDims !== null && !isSame(weightDims, stated)) {
    const expected = `[${stated.join(', ')}], the normalizedShape`;
    throw argumentError('ERR_OUT_OF_RANGE', 'weight.dims', expected, weightDims);
  }
  if (hiddenSize === 0) {
    throw argumentError('ERR_OUT_OF_RANGE', 'weight', 'of at least 1 element', weight?.data);
  }
  if (x.dims !== null) checkLastDims(x.dims, shape ?? null, hiddenSize);
  return hiddenSize;
}

/** normalizedShape as dims, or null if there is none. */
export function readNormalizedShape(value: unknown): readonly number[] | null {
  if (value === undefined) return null;
  const shape = isList(value) ? copyList(value) : [value];
  if (shape !== null && shape.length > 0 && sizeOf(shape) >= 1) {
    if (Number.isSafeInteger(sizeOf(shape))) return shape as number[];
  }
  const isOfNumbers = shape === null || shape.every((dim) => typeof dim === 'number');
  throw argumentError(
    isOfNumbers ? 'ERR_OUT_OF_RANGE' : 'ERR_INVALID_ARG_TYPE',
    'normalizedShape',
    `a whole number from 1 up, or an array of ${shape === null ? `up to ${String(maxDims)} of ` : ''}them`,
    value,
  );
}

/** The last dims of x are the normalised ones; of a plain weight just their product is known. */
function checkLastDims(
  dims: readonly number[],
  shape: readonly number[] | null,
  size: number,
): void {
  if (shape !== null) {
    const last = dims.slice(-shape.length);
    if (isSame(last, shape)) return;
    throw argumentError(
      'ERR_OUT_OF_RANGE',
      'x.dims',
      `dims that end in [${shape.join(', ')}]`,
      dims,
    );
  }
  let product = 1;
  for (let i = dims.length - 1; i >= 0 && product < size; --i) product *= dims[i] as number;
  if (product !== size) {
    throw argumentError(
      'ERR_OUT_OF_RANGE',
      'x.dims',
      `dims whose last multiply to ${String(size)}`,
      dims,
    );
  }
}
