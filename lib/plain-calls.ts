// Calls on plain float32 arrays with no more than the options most calls have, without what only
// others need: objects for every argument, which take most of the time of a call on one short row
// that is not spent in the addon. Where anything is otherwise or wrong, these functions return null
// and have done nothing: the general way does it or refuses it.

import type { PlannedBackward, PlannedForward } from '../binding';
import { binding } from './binding';
import { freshLike } from './data';
import type { FloatArray } from './dtype';
import { adoptNativeError } from './errors';
import { defaultEps, type BackwardOptions, type RmsNormOptions } from './options';

const forwardNames: ReadonlySet<string> = new Set(['out', 'eps', 'dtype']);
const backwardNames: ReadonlySet<string> = new Set(['dxOut', 'dweightOut', 'eps', 'dtype']);

function isFloats(value: unknown): value is Float32Array {
  return ArrayBuffer.isView(value) && (value as FloatArray)[Symbol.toStringTag] === 'Float32Array';
}

function isFloatsOf(length: number, value: unknown): value is Float32Array {
  return isFloats(value) && value.length === length;
}

function isFloatsOrUndefined(length: number, value: unknown): value is Float32Array | undefined {
  return value === undefined || isFloatsOf(length, value);
}

/** Whether there are rows, all of them whole. */
function isShape(length: number, hiddenSize: number): boolean {
  return length > 0 && length % hiddenSize === 0;
}

function arePlain(options: unknown, names: ReadonlySet<string>): boolean {
  if (typeof options !== 'object' || options === null) return false;
  for (const name in options) if (!names.has(name)) return false;
  const { eps = defaultEps, dtype = 'float32' } = options as { eps?: unknown; dtype?: unknown };
  return dtype === 'float32' && typeof eps === 'number' && eps >= 0 && Math.fround(eps) < Infinity;
}

/** `rmsNorm`. */
export function plainForward(
  x: unknown,
  weight: unknown,
  options: RmsNormOptions,
): Float32Array | null {
  if (!isFloats(x) || !isFloats(weight) || !arePlain(options, forwardNames)) return null;
  const { out, eps = defaultEps } = options;
  if (!isShape(x.length, weight.length) || !isFloatsOrUndefined(x.length, out)) return null;
  const y = out ?? (freshLike(x, x.length) as Float32Array);
  try {
    return binding.plainForward(x, weight, y, eps) ? y : null;
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
): { dx: Float32Array; dweight: Float32Array } | null {
  if (!isFloats(x) || !isFloats(weight) || !arePlain(options, backwardNames)) return null;
  const { length } = x;
  const hiddenSize = weight.length;
  const { dxOut, dweightOut } = options;
  if (
    !isShape(length, hiddenSize) ||
    !isFloatsOf(length, dy) ||
    !isFloatsOf(length / hiddenSize, rstd) ||
    !isFloatsOrUndefined(length, dxOut) ||
    !isFloatsOrUndefined(hiddenSize, dweightOut)
  ) {
    return null;
  }
  const dx = dxOut ?? (freshLike(x, length) as Float32Array);
  const dweight = dweightOut ?? (freshLike(weight, hiddenSize) as Float32Array);
  try {
    return binding.plainBackward(dy, x, weight, rstd, dx, dweight) ? { dx, dweight } : null;
  } catch (error) {
    throw adoptNativeError(error);
  }
}

/**
 * The functions of a plan for float32 with a weight, and no more than that: `native` does what is
 * otherwise. `length`: of x.
 */
export function plainPlan(
  [forward, backward]: [PlannedForward, PlannedBackward],
  weight: Float32Array,
  length: number,
  eps: number,
): [PlannedForward, PlannedBackward] {
  return [
    (x, out, rstdOut, residual, residualOut) => {
      const isPlain = rstdOut === undefined && residual === undefined && residualOut === undefined;
      if (isPlain && isFloatsOf(length, x) && isFloats(out)) {
        if (binding.plainForward(x, weight, out, eps)) return;
      }
      forward(x, out, rstdOut, residual, residualOut);
    },
    (dy, x, rstd, dxOut, dweightOut, dresidualOut) => {
      const isPlain = dresidualOut === undefined && isFloats(rstd) && isFloats(dxOut);
      if (isPlain && isFloats(dy) && isFloatsOf(length, x) && isFloats(dweightOut)) {
        if (binding.plainBackward(dy, x, weight, rstd, dxOut, dweightOut)) return;
      }
      backward(dy, x, rstd, dxOut, dweightOut, dresidualOut);
    },
  ];
}
