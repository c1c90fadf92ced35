// Calls on plain arrays of one dtype with no more than the options most calls have, without what
// only others need: objects for every argument, which take most of the time of a call on one short
// row that is not spent in the addon. Where anything is otherwise or wrong, these functions return
// null and have done nothing: the general way does it or refuses it.

import type { NativePlan, PlainArray } from '../../binding';
import { binding } from '../binding';
import { areNamesInherited, hasOfItsOwn, isRevoked } from '../core/caller-values';
import { freshLike } from './data';
import { dtypeCodes, type DType, type FloatArray } from '../core/dtype';
import { adoptNativeError } from '../core/errors';
import { defaultEps, type BackwardOptions, type RmsNormOptions } from './options';

const forwardNames: ReadonlySet<string> = new Set(['out', 'eps', 'dtype']);
const backwardNames: ReadonlySet<string> = new Set(['dxOut', 'dweightOut', 'eps', 'dtype']);

type PlainDType = Exclude<DType, 'float64'>;

function isPlainDType(value: unknown): value is PlainDType {
  return value === 'float32' || value === 'bfloat16' || value === 'float16';
}

/** Whether a value is an array of a dtype: of bits, if that has 16. */
function isPlain(dtype: PlainDType, value: unknown): value is PlainArray {
  const kind = dtype === 'float32' ? 'Float32Array' : 'Uint16Array';
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
  if (typeof options !== 'object' || options === null || isRevoked(options)) return null;
  // Of other classes, and of other realms, options may have properties that no loop finds. To ask for
  // the prototype takes longer.
  if (options.constructor !== Object || areNamesInherited()) return null;
  for (const name in options) {
    if (!names.has(name) && hasOfItsOwn(options, name)) return null;
  }
  const { eps = defaultEps, dtype = 'float32' } = options as { eps?: unknown; dtype?: unknown };
  if (typeof eps !== 'number' || !(eps >= 0) || Math.fround(eps) === Infinity) return null;
  return isPlainDType(dtype) ? dtype : null;
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
    return binding.plainForward(x, weight, y, eps, dtypeCodes[dtype]) ? y : null;
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
    !isPlainOf('float32', length / hiddenSize, rstd) ||
    !isPlainOrUndefined(dtype, length, dxOut) ||
    !isPlainOrUndefined(dtype, hiddenSize, dweightOut)
  ) {
    return null;
  }
  const dx = dxOut ?? (freshLike(x, length) as PlainArray);
  const dweight = dweightOut ?? (freshLike(weight, hiddenSize) as PlainArray);
  try {
    const code = dtypeCodes[dtype];
    const isDone = binding.plainBackward(dy, x, weight, rstd, dx, dweight, code);
    return isDone ? { dx, dweight } : null;
  } catch (error) {
    throw adoptNativeError(error);
  }
}

/** A function of the addon's plan to which weight and stream have been given. */
type Bound<F> = F extends (weight: never, stream: never, ...rest: infer R) => void
  ? (...rest: R) => void
  : never;

/** The functions of a plan. */
export interface PlanCalls {
  readonly forward: Bound<NativePlan['forward']>;
  readonly backward: Bound<NativePlan['backward']>;
}

/**
 * The short way of a plan's functions for calls that are no more than plain, if `dtype` and `weight`
 * are such; `general` for all others. The lengths of x and weight are those of the plan, whatever
 * the weight's buffer has become since.
 */
export function plainPlan(
  general: PlanCalls,
  dtype: DType,
  weight: unknown,
  rows: number,
  hiddenSize: number,
  eps: number,
): PlanCalls {
  if (!isPlainDType(dtype) || !isPlain(dtype, weight)) return general;
  const length = rows * hiddenSize;
  const code = dtypeCodes[dtype];
  return {
    forward(x, out, rstdOut, residual, sumOut) {
      const isAll = rstdOut === undefined && residual === undefined && sumOut === undefined;
      const isPlainCall =
        isAll && weight.length === hiddenSize && isPlainOf(dtype, length, x) && isPlain(dtype, out);
      if (isPlainCall && binding.plainForward(x, weight, out, eps, code)) return;
      general.forward(x, out, rstdOut, residual, sumOut);
    },
    backward(dy, x, rstd, dxOut, dweightOut, dsum) {
      const isPlainCall =
        dsum === undefined &&
        weight.length === hiddenSize &&
        isPlain(dtype, dy) &&
        isPlainOf(dtype, length, x) &&
        isPlain('float32', rstd) &&
        isPlain(dtype, dxOut) &&
        isPlain(dtype, dweightOut);
      if (isPlainCall && binding.plainBackward(dy, x, weight, rstd, dxOut, dweightOut, code))
        return;
      general.backward(dy, x, rstd, dxOut, dweightOut, dsum);
    },
  };
}
