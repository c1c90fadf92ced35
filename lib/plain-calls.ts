// Calls on plain arrays of one dtype with no more than the options most calls have, without what
// only others need: objects for every argument, which take most of the time of a call on one short
// row that is not spent in the addon. Where anything is otherwise or wrong, these functions return
// null and have done nothing: the general way does it or refuses it.

import type { PlainArray, PlannedBackward, PlannedForward } from '../binding';
import { binding } from './binding';
import { freshLike } from './data';
import type { DType, FloatArray } from './dtype';
import { adoptNativeError } from './errors';
import { defaultEps, type BackwardOptions, type RmsNormOptions } from './options';

const forwardNames: ReadonlySet<string> = new Set(['out', 'eps', 'dtype']);
const backwardNames: ReadonlySet<string> = new Set(['dxOut', 'dweightOut', 'eps', 'dtype']);

/** The dtype as the addon's plain calls take it: of Float32Arrays, or of bits in Uint16Arrays. */
type PlainDType = 0 | 1 | 2;

const float32: PlainDType = 0;

function isPlain(dtype: PlainDType, value: unknown): value is PlainArray {
  const kind = dtype === float32 ? 'Float32Array' : 'Uint16Array';
  return ArrayBuffer.isView(value) && (value as FloatArray)[Symbol.toStringTag] === kind;
}

function isPlainOf(dtype: PlainDType, length: number, value: unknown): value is PlainArray {
  return isPlain(dtype, value) && value.length === length;
}

function isPlainOrUndefined(
  dtype: PlainDType,
  length: number,
  value: unknown,
): value is PlainArray | undefined {
  return value === undefined || isPlainOf(dtype, length, value);
}

/** Whether there are rows, all of them whole. */
function isShape(length: number, hiddenSize: number): boolean {
  return length > 0 && length % hiddenSize === 0;
}

/** The dtype of a call whose options are plain, or null. */
function readPlainOptions(options: unknown, names: ReadonlySet<string>): PlainDType | null {
  if (typeof options !== 'object' || options === null) return null;
  for (const name in options) if (!names.has(name)) return null;
  const { eps = defaultEps, dtype = 'float32' } = options as { eps?: unknown; dtype?: unknown };
  if (typeof eps !== 'number' || !(eps >= 0) || Math.fround(eps) === Infinity) return null;
  if (dtype === 'float32') return float32;
  return dtype === 'float16' ? 1 : dtype === 'bfloat16' ? 2 : null;
}

/** `rmsNorm`. */
export function plainForward(
  x: unknown,
  weight: unknown,
  options: RmsNormOptions,
): PlainArray | null {
  const dtype = readPlainOptions(options, forwardNames);
  if (dtype === null || !isPlain(dtype, x) || !isPlain(dtype, weight)) return null;
  const { out, eps = defaultEps } = options;
  if (!isShape(x.length, weight.length) || !isPlainOrUndefined(dtype, x.length, out)) return null;
  const y = out ?? (freshLike(x, x.length) as PlainArray);
  try {
    return binding.plainForward(x, weight, y, eps, dtype) ? y : null;
  } catch (error) {
    throw adoptNativeError(error);
  }
}

/** `rmsNorm.backward`. */
export function plainBackward(
  dy: unknown,
  x: unknown,
  weight: unknown,
  rstd: unknown,
  options: BackwardOptions,
): { dx: PlainArray; dweight: PlainArray } | null {
  const dtype = readPlainOptions(options, backwardNames);
  if (dtype === null || !isPlain(dtype, x) || !isPlain(dtype, weight)) return null;
  const { length } = x;
  const hiddenSize = weight.length;
  const { dxOut, dweightOut } = options;
  if (
    !isShape(length, hiddenSize) ||
    !isPlainOf(dtype, length, dy) ||
    !isPlainOf(float32, length / hiddenSize, rstd) ||
    !isPlainOrUndefined(dtype, length, dxOut) ||
    !isPlainOrUndefined(dtype, hiddenSize, dweightOut)
  ) {
    return null;
  }
  const dx = dxOut ?? (freshLike(x, length) as PlainArray);
  const dweight = dweightOut ?? (freshLike(weight, hiddenSize) as PlainArray);
  try {
    const isDone = binding.plainBackward(dy, x, weight, rstd, dx, dweight, dtype);
    return isDone ? { dx, dweight } : null;
  } catch (error) {
    throw adoptNativeError(error);
  }
}

/**
 * The functions of a plan for a dtype with a weight of it, and no more than that: `native` does what
 * is otherwise. `length`: of x.
 */
export function plainPlan(
  [forward, backward]: [PlannedForward, PlannedBackward],
  dtype: PlainDType,
  weight: PlainArray,
  length: number,
  eps: number,
): [PlannedForward, PlannedBackward] {
  return [
    (x, out, rstdOut, residual, residualOut) => {
      const isAll = rstdOut === undefined && residual === undefined && residualOut === undefined;
      if (isAll && isPlainOf(dtype, length, x) && isPlain(dtype, out)) {
        if (binding.plainForward(x, weight, out, eps, dtype)) return;
      }
      forward(x, out, rstdOut, residual, residualOut);
    },
    (dy, x, rstd, dxOut, dweightOut, dresidualOut) => {
      const isAll = dresidualOut === undefined && isPlain(float32, rstd) && isPlain(dtype, dy);
      if (isAll && isPlainOf(dtype, length, x) && isPlain(dtype, dxOut)) {
        if (isPlain(dtype, dweightOut)) {
          if (binding.plainBackward(dy, x, weight, rstd, dxOut, dweightOut, dtype)) return;
        }
      }
      backward(dy, x, rstd, dxOut, dweightOut, dresidualOut);
    },
  ];
}

/** The dtype of plans that are plain, or null. */
export function plainDTypeOf(dtype: DType, weight: unknown): PlainDType | null {
  const plain = readPlainOptions({ dtype }, forwardNames);
  return plain !== null && isPlain(plain, weight) ? plain : null;
}
