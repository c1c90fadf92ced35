// The bits of some calls, as hashes, which are the same on every platform. Only JavaScript without
// dependencies, so that it runs wherever Node.js does.

const { createHash } = require('node:crypto');

/** Numbers from -4 to 4 with 12 fractional bits: exact in float32, and the same everywhere. */
function numbers(seed, length) {
  let state = seed;
  return Float64Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 17) / 4096 - 4;
  });
}

const cases = [
  { dtype: 'float32', rows: 5, hiddenSize: 7 },
  { dtype: 'float32', rows: 33, hiddenSize: 512, residual: true },
  { dtype: 'float32', rows: 3, hiddenSize: 5125, weightOffset: 1 },
  { dtype: 'float16', rows: 17, hiddenSize: 769 },
  { dtype: 'float16', rows: 4, hiddenSize: 4096, castOrder: 'float', residual: true },
  { dtype: 'bfloat16', rows: 20, hiddenSize: 512 },
  { dtype: 'bfloat16', rows: 2, hiddenSize: 4100, castOrder: 'float', weightOffset: -1.5 },
  { dtype: 'float64', rows: 6, hiddenSize: 333 },
];

/**
 * Computes forward and backward of all cases. Returns a hash of the results by each case's name.
 * `lib` is the package. GPUs have no float64, so they skip it.
 */
function bitsOf(lib, device = 'cpu') {
  const { rmsNorm, toBFloat16, toFloat16 } = lib;
  const convert = {
    float16: (values) => toFloat16(Float32Array.from(values)),
    bfloat16: (values) => toBFloat16(Float32Array.from(values)),
    float32: (values) => Float32Array.from(values),
    float64: (values) => values,
  };
  const bits = {};
  for (const { rows, hiddenSize, residual, ...options } of cases) {
    const { dtype } = options;
    if (dtype === 'float64' && device !== 'cpu') continue;
    const make = (seed, length) => convert[dtype](numbers(seed, length));
    const [x, dy, sum] = [1, 2, 3].map((seed) => make(seed, rows * hiddenSize));
    const weight = make(4, hiddenSize);
    const call = { ...options, device };
    const forward = rmsNorm.forward(x, weight, residual ? { ...call, residual: sum } : call);
    const { y, rstd } = forward;
    const sumOut = forward.sum ?? x;
    const backward = rmsNorm.backward(dy, sumOut, weight, rstd, call);
    const hash = createHash('sha256');
    for (const array of [y, rstd, sumOut, backward.dx, backward.dweight]) {
      hash.update(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
    }
    const name = [rows + 'x' + hiddenSize, ...Object.values(options), residual ? 'residual' : '']
      .filter((word) => word !== '')
      .join(' ');
    bits[name] = hash.digest('hex');
  }
  return bits;
}

module.exports = { bitsOf };
