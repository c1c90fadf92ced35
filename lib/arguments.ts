import { dtypeCodes, dtypeOf, nativeView, type DType, type NativeArray } from './dtype';
import { argumentError } from './errors';
import { readSettings, type CommonOptions, type Settings } from './options';
import { readOperand, sizeOf, type Operand } from './tensor';

const deviceUnit = 32;

/** What forward and backward have in common, checked. */
export interface Problem {
  readonly x: Operand;
  readonly weight: Operand | null;
  readonly nativeX: NativeArray;
  readonly nativeWeight: NativeArray | null;
  readonly dtype: DType;
  readonly hiddenSize: number;
  readonly rows: number;
  readonly settings: Settings;
  /** The dtype, the cast order and the device, as native calls take them. */
  readonly format: number;
}

export function readProblem(x: unknown, weight: unknown, options: CommonOptions): Problem {
  const settings = readSettings(options);
  const xOperand = readOperand('x', x);
  const weightOperand =
    weight === null || weight === undefined ? null : readOperand('weight', weight);
  const dtype = readDtype(xOperand, options.dtype);
  if (weightOperand !== null) checkDtype('weight', weightOperand, dtype, true);
  const hiddenSize = readHiddenSize(xOperand, weightOperand, options.normalizedShape);
  if (xOperand.data.length % hiddenSize !== 0) {
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
    nativeX: nativeView(xOperand.data),
    nativeWeight: weightOperand && nativeView(weightOperand.data),
    dtype,
    hiddenSize,
    rows: xOperand.data.length / hiddenSize,
    settings,
    format:
      dtypeCodes[dtype] + (settings.castOrder === 'float' ? 4 : 0) + deviceUnit * settings.device,
  };
}

/** An argument of the same dtype and length as x, and of its dims if both have some. */
export function readLikeX(name: string, value: unknown, { x, dtype }: Problem): Operand {
  const operand = readOperand(name, value);
  checkDtype(name, operand, dtype, false);
  checkLength(name, operand, x.data.length);
  if (x.dims !== null && operand.dims !== null && !isSame(operand.dims, x.dims)) {
    const expected = `[${x.dims.join(', ')}], the dims of x`;
    throw argumentError('ERR_OUT_OF_RANGE', `${name}.dims`, expected, operand.dims);
  }
  return operand;
}

/** dweightOut: float32 or of x's dtype. */
export function readDweightOut(value: unknown, { dtype, hiddenSize }: Problem): Operand {
  const operand = readOperand('dweightOut', value);
  checkDtype('dweightOut', operand, dtype, true);
  checkLength('dweightOut', operand, hiddenSize);
  return operand;
}

/** rstd, given or to be written. */
export function readRstd(name: string, value: unknown, { rows }: Problem): Float32Array {
  const operand = readOperand(name, value);
  if (operand.kind !== 'Float32Array' || operand.dims !== null) {
    throw argumentError('ERR_INVALID_ARG_TYPE', name, 'a Float32Array', value);
  }
  checkLength(name, operand, rows);
  return operand.data as Float32Array;
}

/** The dtype of x, from what the option, a tensor's type and the kind of its array say. */
function readDtype(x: Operand, option: DType | undefined): DType {
  const type = statedType(x);
  if (option !== undefined && type !== undefined && option !== type) {
    throw argumentError('ERR_INVALID_ARG_VALUE', 'dtype', `'${type}', the type of x`, option);
  }
  return dtypeOf('x', x.kind, option ?? type);
}

function isSame(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dim, i) => dim === b[i]);
}

/** The dtype that `type` of a tensor states, where it is one of ours. */
export function statedType({ type, kind }: Operand): string | undefined {
  return kind === 'Uint16Array' && (type === 'float16' || type === 'bfloat16') ? type : undefined;
}

function checkLength(name: string, { data }: Operand, length: number): void {
  if (data.length !== length) {
    throw argumentError('ERR_OUT_OF_RANGE', name, `of ${String(length)} elements`, data);
  }
}

/** Refuses an operand whose array can not be of `dtype`, or of float32 where that will do. */
function checkDtype(name: string, operand: Operand, dtype: DType, orFloat32: boolean): void {
  const { kind } = operand;
  const stated = statedType(operand) ?? dtype;
  const fits =
    kind === 'Float32Array'
      ? dtype === 'float32' || orFloat32
      : kind === 'Uint16Array'
        ? dtype !== 'float32' && stated === dtype
        : dtype === 'float16';
  if (fits) return;
  const kinds = {
    float32: 'Float32Array',
    float16: 'Float16Array or Uint16Array',
    bfloat16: 'Uint16Array',
  };
  const expected = `a ${kinds[dtype]}${orFloat32 && dtype !== 'float32' ? ' or Float32Array' : ''}, since x is ${dtype}`;
  throw argumentError('ERR_INVALID_ARG_TYPE', name, expected, operand.data);
}

/** The hidden size, from normalizedShape and the weight, checked against each other and x. */
function readHiddenSize(x: Operand, weight: Operand | null, normalizedShape: unknown): number {
  const stated = readNormalizedShape(normalizedShape);
  const shape = stated ?? weight?.dims ?? null;
  const hiddenSize = shape === null ? weight?.data.length : sizeOf(shape);
  if (hiddenSize === undefined) {
    throw argumentError(
      'ERR_INVALID_ARG_TYPE',
      'normalizedShape',
      'given where weight is not',
      undefined,
    );
  }
  if (weight !== null && weight.data.length !== hiddenSize) {
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
  const shape: unknown[] = Array.isArray(value) ? (value as unknown[]) : [value];
  if (shape.length > 0 && sizeOf(shape) >= 1 && Number.isSafeInteger(sizeOf(shape))) {
    return shape as number[];
  }
  const isOfNumbers = shape.every((dim) => typeof dim === 'number');
  throw argumentError(
    isOfNumbers ? 'ERR_OUT_OF_RANGE' : 'ERR_INVALID_ARG_TYPE',
    'normalizedShape',
    'a whole number from 1 up, or an array of them',
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
