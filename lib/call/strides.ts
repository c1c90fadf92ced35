/**
 * Where the rows of a matrix lie in an array, in elements. Row r begins
 * `floor(r / batchRows) * batchStride + (r % batchRows) * rowStride` elements after row 0.
 */
export interface RowLayout {
  readonly rowStride: number;
  /** The number of rows in a batch, at least 1. If one stride describes all rows, at least their number. */
  readonly batchRows: number;
  readonly batchStride: number;
}

/** One or more dims of a tensor, merged into one loop over `count` items that are `stride` elements apart. */
interface Level {
  readonly count: number;
  readonly stride: number;
}

/** The strides of a contiguous tensor. */
export function contiguousStrides(dims: readonly number[]): number[] {
  return dims.map((_, i) => dims.slice(i + 1).reduce((stride, dim) => stride * dim, 1));
}

/** The number of array elements from the first to the last element of a tensor, both included. */
export function extentOf(dims: readonly number[], strides: readonly number[]): number {
  if (dims.includes(0)) return 0;
  return dims.reduce((sum, dim, i) => sum + (dim - 1) * (strides[i] as number), 1);
}

/** Merges dims into the fewest levels, innermost first. Dims of 1 are dropped. */
function mergeDims(dims: readonly number[], strides: readonly number[]): readonly Level[] {
  return dims.reduceRight<readonly Level[]>((levels, count, i) => {
    if (count === 1) return levels;
    const stride = strides[i] as number;
    const inner = levels.at(-1);
    if (inner === undefined || stride !== inner.count * inner.stride) {
      return [...levels, { count, stride }];
    }
    return [...levels.slice(0, -1), { ...inner, count: inner.count * count }];
  }, []);
}

/**
 * The layout of a tensor's rows, of `hiddenSize` elements each, in the order of the tensor's elements. If
 * no {@link RowLayout} describes the rows, returns the reason: a row is not contiguous, or the rows have more
 * than two distinct strides.
 */
export function rowLayoutOf(
  dims: readonly number[],
  strides: readonly number[],
  hiddenSize: number,
): RowLayout | 'rows not contiguous' | 'too many strides' {
  if (dims.includes(0)) return { rowStride: hiddenSize, batchRows: 1, batchStride: 0 };
  let levels = mergeDims(dims, strides);
  const innermost = levels[0];
  if (hiddenSize > 1 && innermost !== undefined) {
    if (innermost.stride !== 1 || innermost.count % hiddenSize !== 0) return 'rows not contiguous';
    const count = innermost.count / hiddenSize;
    levels = [...(count > 1 ? [{ count, stride: hiddenSize }] : []), ...levels.slice(1)];
  }
  if (levels.length > 2) return 'too many strides';
  const [rows = { count: 1, stride: hiddenSize }, batches = { count: 1, stride: 0 }] = levels;
  return { rowStride: rows.stride, batchRows: rows.count, batchStride: batches.stride };
}
