import { binding } from './binding';
import { freshLike } from './data';
import type { FloatArray } from './dtype';
import { adoptNativeError } from './errors';
import { defaultEps, type RmsNormOptions } from './options';

/** Options that {@link plainForward} reads. */
const plainNames: ReadonlySet<string> = new Set(['out', 'eps', 'dtype']);

function isFloat32Array(value: unknown): value is Float32Array {
  return ArrayBuffer.isView(value) && (value as FloatArray)[Symbol.toStringTag] === 'Float32Array';
}

function isValidEps(eps: unknown): boolean {
  return typeof eps === 'number' && eps >= 0 && Math.fround(eps) < Infinity;
}

/**
 * `rmsNorm` of plain float32 arrays with no more than the options most calls have. Where anything is
 * otherwise or wrong it returns null and has done nothing: the general path does or refuses it. Of a
 * call on one short row that takes most of the time which is not spent in the addon.
 */
export function plainForward(
  x: unknown,
  weight: unknown,
  options: RmsNormOptions,
): Float32Array | null {
  if (!isFloat32Array(x) || !isFloat32Array(weight)) return null;
  if (typeof options !== 'object' || (options as unknown) === null) return null;
  for (const name in options) if (!plainNames.has(name)) return null;
  const { out, eps = defaultEps, dtype = 'float32' } = options;
  if (dtype !== 'float32' || !isValidEps(eps)) return null;
  const { length } = x;
  const hiddenSize = weight.length;
  if (length === 0 || !(length % hiddenSize === 0)) return null;
  if (out !== undefined && !(isFloat32Array(out) && out.length === length)) return null;
  const y = out ?? (freshLike(x, length) as Float32Array);
  try {
    binding.forward(x, weight, y, null, hiddenSize, eps, 0, 0);
  } catch (error) {
    throw adoptNativeError(error);
  }
  return y;
}
