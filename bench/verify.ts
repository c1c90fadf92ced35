import { type Arrays, type Case } from './cases';
import { shipped } from './shipped';

const { fromBFloat16 } = shipped;

const eps = 1e-6;

/**
 * Throws if the result in `arrays.out` is wrong: a benchmark of a wrong answer is worth nothing.
 * The first, a middle and the last row, against the formulas in float64.
 */
export function verify({ rows, hiddenSize, dtype, op }: Case, arrays: Arrays): void {
  const row = (array: Float32Array | Uint16Array, r: number) => {
    const part = array.subarray(r * hiddenSize, (r + 1) * hiddenSize);
    return part instanceof Uint16Array ? fromBFloat16(part) : part;
  };
  // Two roundings to bfloat16 (xhat or g, and the result) or some tens to float32.
  const tolerance = dtype === 'float32' ? 2 ** -19 : 2 ** -7;
  const weight = row(arrays.weight, 0);
  for (const r of new Set([0, rows >> 1, rows - 1])) {
    const x = row(arrays.x, r);
    const rstd = 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / hiddenSize + eps);
    const dy = arrays.dy === null ? null : row(arrays.dy, r);
    const expected = dy === null ? forwardRow(x, weight, rstd) : backwardRow(dy, x, weight, rstd);
    const actual = row(arrays.out, r);
    const largest = expected.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
    expected.forEach((value, j) => {
      const error = Math.abs((actual[j] as number) - value);
      if (!(error <= tolerance * largest)) {
        throw new Error(
          `${op} ${rows}x${hiddenSize} ${dtype} is wrong at row ${r}, column ${j}: ` +
            `${actual[j]}, expected ${value}`,
        );
      }
    });
  }
}

function forwardRow(x: Float32Array, weight: Float32Array, rstd: number): Float64Array {
  return Float64Array.from(x, (value, j) => value * rstd * (weight[j] as number));
}

function backwardRow(
  dy: Float32Array,
  x: Float32Array,
  weight: Float32Array,
  rstd: number,
): Float64Array {
  const g = Float64Array.from(dy, (value, j) => value * (weight[j] as number));
  const mean = g.reduce((sum, value, j) => sum + value * (x[j] as number) * rstd, 0) / g.length;
  return g.map((value, j) => rstd * (value - (x[j] as number) * rstd * mean));
}
