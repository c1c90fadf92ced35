// RMSNorm of float32 rows in 128-bit WebAssembly SIMD, written for speed in AssemblyScript and
// compiled by `npm run build:wasm`. Arguments of arrays are addresses in the imported memory.

/** Bytes of a float, of a vector, and of the four vectors that one step of a loop takes. */
const FLOAT: usize = 4;
const VECTOR: usize = 16;
const STEP: usize = 4 * VECTOR;

function splat(value: f32): v128 {
  return f32x4.splat(value);
}

function sumOfLanes(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) +
    f32x4.extract_lane(v, 2) +
    (f32x4.extract_lane(v, 1) + f32x4.extract_lane(v, 3))
  );
}

function sumOfFour(a: v128, b: v128, c: v128, d: v128): f32 {
  return sumOfLanes(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
}

function squareOf(v: v128): v128 {
  return f32x4.mul(v, v);
}

/** 1 / sqrt(mean(x^2) + eps) of the row at x. */
function rstdOf(x: usize, hiddenSize: usize, eps: f32): f32 {
  const end = x + FLOAT * hiddenSize;
  let a = splat(0);
  let b = splat(0);
  let c = splat(0);
  let d = splat(0);
  let p = x;
  for (; p + STEP <= end; p += STEP) {
    a = f32x4.add(a, squareOf(v128.load(p)));
    b = f32x4.add(b, squareOf(v128.load(p, VECTOR)));
    c = f32x4.add(c, squareOf(v128.load(p, 2 * VECTOR)));
    d = f32x4.add(d, squareOf(v128.load(p, 3 * VECTOR)));
  }
  for (; p + VECTOR <= end; p += VECTOR) a = f32x4.add(a, squareOf(v128.load(p)));
  let sum = sumOfFour(a, b, c, d);
  for (; p < end; p += FLOAT) sum += load<f32>(p) * load<f32>(p);
  return 1 / sqrt<f32>(sum / <f32>hiddenSize + eps);
}

function scaledAt(x: usize, weight: usize, rstd: v128): v128 {
  return f32x4.mul(f32x4.mul(v128.load(x), rstd), v128.load(weight));
}

/** y = x * rstd * weight of one row. */
function scaleRow(x: usize, weight: usize, y: usize, hiddenSize: usize, rstd: f32): void {
  const bytes = FLOAT * hiddenSize;
  const scale = splat(rstd);
  let j: usize = 0;
  for (; j + STEP <= bytes; j += STEP) {
    const a = scaledAt(x + j, weight + j, scale);
    const b = scaledAt(x + j + VECTOR, weight + j + VECTOR, scale);
    const c = scaledAt(x + j + 2 * VECTOR, weight + j + 2 * VECTOR, scale);
    const d = scaledAt(x + j + 3 * VECTOR, weight + j + 3 * VECTOR, scale);
    v128.store(y + j, a);
    v128.store(y + j, b, VECTOR);
    v128.store(y + j, c, 2 * VECTOR);
    v128.store(y + j, d, 3 * VECTOR);
  }
  for (; j + VECTOR <= bytes; j += VECTOR) v128.store(y + j, scaledAt(x + j, weight + j, scale));
  for (; j < bytes; j += FLOAT) store<f32>(y + j, load<f32>(x + j) * rstd * load<f32>(weight + j));
}

/**
 * For rows of at most this length, the next rstd is computed before a row is scaled: that hides its
 * latency.
 */
const SHORT_ROW: usize = 1024;

/** y (rows, hiddenSize) of x (rows, hiddenSize) and weight (hiddenSize). */
export function forward(
  x: usize,
  weight: usize,
  y: usize,
  rows: usize,
  hiddenSize: usize,
  eps: f32,
): void {
  const bytes = FLOAT * hiddenSize;
  const end = x + rows * bytes;
  if (hiddenSize > SHORT_ROW) {
    for (; x < end; x += bytes, y += bytes) {
      scaleRow(x, weight, y, hiddenSize, rstdOf(x, hiddenSize, eps));
    }
    return;
  }
  let rstd = rstdOf(x, hiddenSize, eps);
  for (; x < end; x += bytes, y += bytes) {
    const next = x + bytes < end ? rstdOf(x + bytes, hiddenSize, eps) : 0;
    scaleRow(x, weight, y, hiddenSize, rstd);
    rstd = next;
  }
}

function productsAt(dy: usize, x: usize, weight: usize): v128 {
  return f32x4.mul(f32x4.mul(v128.load(dy), v128.load(weight)), v128.load(x));
}

/** The sum over a row of dy * weight * x. */
function foldGradients(dy: usize, x: usize, weight: usize, hiddenSize: usize): f32 {
  const bytes = FLOAT * hiddenSize;
  let a = splat(0);
  let b = splat(0);
  let c = splat(0);
  let d = splat(0);
  let j: usize = 0;
  for (; j + STEP <= bytes; j += STEP) {
    a = f32x4.add(a, productsAt(dy + j, x + j, weight + j));
    b = f32x4.add(b, productsAt(dy + j + VECTOR, x + j + VECTOR, weight + j + VECTOR));
    c = f32x4.add(c, productsAt(dy + j + 2 * VECTOR, x + j + 2 * VECTOR, weight + j + 2 * VECTOR));
    d = f32x4.add(d, productsAt(dy + j + 3 * VECTOR, x + j + 3 * VECTOR, weight + j + 3 * VECTOR));
  }
  for (; j + VECTOR <= bytes; j += VECTOR) {
    a = f32x4.add(a, productsAt(dy + j, x + j, weight + j));
  }
  let sum = sumOfFour(a, b, c, d);
  for (; j < bytes; j += FLOAT) {
    sum += load<f32>(dy + j) * load<f32>(weight + j) * load<f32>(x + j);
  }
  return sum;
}

/**
 * dx = rstd * (dy * weight - xhat * cbar) of one row, where cbar = rstd * mean(dy * weight * x),
 * and dweight += dy * xhat. Taking two rows at a time reads and writes dweight once for both.
 * Measured, that is faster only for the shortest rows.
 */
function backwardRow(
  dy: usize,
  x: usize,
  weight: usize,
  dx: usize,
  dweight: usize,
  hiddenSize: usize,
  rstd: f32,
): void {
  const cbar = (rstd * foldGradients(dy, x, weight, hiddenSize)) / <f32>hiddenSize;
  const bytes = FLOAT * hiddenSize;
  const scale = splat(rstd);
  const factor = splat(cbar);
  let j: usize = 0;
  for (; j + VECTOR <= bytes; j += VECTOR) {
    const gradient = v128.load(dy + j);
    const xhat = f32x4.mul(v128.load(x + j), scale);
    const g = f32x4.mul(gradient, v128.load(weight + j));
    v128.store(dx + j, f32x4.mul(scale, f32x4.sub(g, f32x4.mul(xhat, factor))));
    v128.store(dweight + j, f32x4.add(v128.load(dweight + j), f32x4.mul(gradient, xhat)));
  }
  for (; j < bytes; j += FLOAT) {
    const xhat = load<f32>(x + j) * rstd;
    const g = load<f32>(dy + j) * load<f32>(weight + j);
    store<f32>(dx + j, rstd * (g - xhat * cbar));
    store<f32>(dweight + j, load<f32>(dweight + j) + load<f32>(dy + j) * xhat);
  }
}

/** dx (rows, hiddenSize) and dweight (hiddenSize), given forward's rstd (rows). */
export function backward(
  dy: usize,
  x: usize,
  weight: usize,
  rstd: usize,
  dx: usize,
  dweight: usize,
  rows: usize,
  hiddenSize: usize,
): void {
  const bytes = FLOAT * hiddenSize;
  memory.fill(dweight, 0, bytes);
  for (let row: usize = 0; row < rows; ++row) {
    backwardRow(dy, x, weight, dx, dweight, hiddenSize, load<f32>(rstd + FLOAT * row));
    dy += bytes;
    x += bytes;
    dx += bytes;
  }
}

/** sum = x + residual of one row. */
function addRow(x: usize, residual: usize, sum: usize, hiddenSize: usize): void {
  const bytes = FLOAT * hiddenSize;
  let j: usize = 0;
  for (; j + VECTOR <= bytes; j += VECTOR) {
    v128.store(sum + j, f32x4.add(v128.load(x + j), v128.load(residual + j)));
  }
  for (; j < bytes; j += FLOAT) {
    store<f32>(sum + j, load<f32>(x + j) + load<f32>(residual + j));
  }
}

/** sum = x + residual and its norm y, all (rows, hiddenSize). */
export function residual(
  x: usize,
  residual: usize,
  weight: usize,
  y: usize,
  sum: usize,
  rows: usize,
  hiddenSize: usize,
  eps: f32,
): void {
  const bytes = FLOAT * hiddenSize;
  for (let row: usize = 0; row < rows; ++row) {
    addRow(x, residual, sum, hiddenSize);
    scaleRow(sum, weight, y, hiddenSize, rstdOf(sum, hiddenSize, eps));
    x += bytes;
    residual += bytes;
    y += bytes;
    sum += bytes;
  }
}
