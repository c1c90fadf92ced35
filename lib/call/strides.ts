/**
 * Where the rows of a matrix lie in an array, in elements: row r begins
 * `floor(r / batchRows) * batchStride + (r % batchRows) * rowStride` behind the first.
 */
export interface RowLayout {
  readonly rowStride: number;
  /** From 1 up; as many as there are rows, or more, where one stride describes all of them. */
  readonly batchRows: number;
  readonly batchStride: number;
}

/** `count` things, `stride` elements from one to the next. */
interface Level {
  readonly count: number;
  readonly stride: number;
}

/** The strides of a tensor without gaps. */
export function contiguousStrides(dims: readonly number[]): number[] {
  return dims.map((_, i) => dims.slice(i + 1).reduce((stride, dim) => stride * dim, 1));
}

/** Elements from the first to the last of a tensor, the last included. */
export function extentOf(dims: readonly number[], strides: readonly number[]): number {
  if (dims.includes(0)) return 0;
  return dims.reduce((sum, dim, i) => sum + (dim - 1) * (strides[i] as number), 1);
}

/** The same tensor in as few dims as describe it, innermost first; without dims of 1. */
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
 * The layout of a tensor's rows of `hiddenSize` elements, which are contiguous and in the order of
 * its elements; or why there is none: its rows are not contiguous, or lie in more levels than two.
 */
export function collapse(
  dims: readonly number[],
  strides: readonly number[],
  hiddenSize: number,
): RowLayout | 'broken rows' | 'too many levels' {
  if (dims.includes(0)) return { rowStride: hiddenSize, batchRows: 1, batchStride: 0 };
  let levels = mergeDims(dims, strides);
  const innermost = levels[0];
  if (hiddenSize > 1 && innermost !== undefined) {
    if (innermost.stride !== 1 || innermost.count % hiddenSize !== 0) return 'broken rows';
    const count = innermost.count / hiddenSize;
    levels = [...(count > 1 ? [{ count, stride: hiddenSize }] : []), ...levels.slice(1)];
  }
  if (levels.length > 2) return 'too many levels';
  const [rows = { count: 1, stride: hiddenSize }, batches = { count: 1, stride: 0 }] = levels;
  return { rowStride: rows.stride, batchRows: rows.count, batchStride: batches.stride };
}
