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
  const strides: number[] = [];
  let stride = 1;
  for (const dim of dims.toReversed()) {
    strides.unshift(stride);
    stride *= dim;
  }
  return strides;
}

/** Elements from the first to the last of a tensor, the last included. */
export function extentOf(dims: readonly number[], strides: readonly number[]): number {
  if (dims.includes(0)) return 0;
  return dims.reduce((sum, dim, i) => sum + (dim - 1) * (strides[i] as number), 1);
}

/** The same tensor in as few dims as describe it, innermost first; without dims of 1. */
function mergeDims(dims: readonly number[], strides: readonly number[]): Level[] {
  const levels: Level[] = [];
  for (let i = dims.length - 1; i >= 0; --i) {
    const level = { count: dims[i] as number, stride: strides[i] as number };
    const inner = levels.at(-1);
    if (level.count === 1) continue;
    if (inner !== undefined && level.stride === inner.count * inner.stride) {
      levels[levels.length - 1] = { ...inner, count: inner.count * level.count };
    } else {
      levels.push(level);
    }
  }
  return levels;
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
  const levels = mergeDims(dims, strides);
  const innermost = levels[0];
  if (hiddenSize > 1 && innermost !== undefined) {
    if (innermost.stride !== 1 || innermost.count % hiddenSize !== 0) return 'broken rows';
    levels.shift();
    const count = innermost.count / hiddenSize;
    if (count > 1) levels.unshift({ count, stride: hiddenSize });
  }
  if (levels.length > 2) return 'too many levels';
  const [rows = { count: 1, stride: hiddenSize }, batches = { count: 1, stride: 0 }] = levels;
  return { rowStride: rows.stride, batchRows: rows.count, batchStride: batches.stride };
}
