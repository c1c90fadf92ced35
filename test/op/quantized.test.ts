// y as 8-bit codes. They must equal the codes of a separate norm and quantization, bit for bit, and
// lie within a derived bound of the oracle.

import {
  cpuVariants,
  dequantize,
  fromFloat8,
  getCpuVariant,
  getNumThreads,
  rmsNorm,
  setCpuVariant,
  setNumThreads,
  toFloat8,
  type QuantizedDType,
} from '../../lib';
import { forwardErrors } from '../support/bounds';
import { coveringCases, makeCase, type Case } from '../support/cases';
import { codeOf, float8Value, largestOf, quantize } from '../support/quantize';
import { forward, roundTo } from '../support/reference';
import { floats } from '../support/refusals';
import { expectSameBits, normals, valuesOf } from '../support/support';

const variant = getCpuVariant();
const threads = getNumThreads();
afterEach(() => {
  setCpuVariant(variant);
  setNumThreads(threads);
});

const codeTypes = Object.keys(largestOf) as QuantizedDType[];

/** Like `toEqual`, which is slow for large arrays. */
function expectSame(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < actual.length; ++i) {
    if (Object.is(actual[i], expected[i])) continue;
    expect({ i, value: actual[i] }).toEqual({ i, value: expected[i] });
  }
}

/** The values to quantize: y in Llama's order, otherwise the float32 product, from a float32 call. */
function valuesToQuantize({ x, weight, weightDtype, dtype, options }: Case): Float64Array {
  const isLlama = options.castOrder === 'llama';
  if (isLlama || dtype === 'float32') return valuesOf(rmsNorm(x, weight, options), dtype);
  const wide = Float32Array.from(valuesOf(x, dtype));
  const wideWeight = weight && Float32Array.from(valuesOf(weight, weightDtype));
  return Float64Array.from(rmsNorm(wide, wideWeight, { ...options, dtype: 'float32' }));
}

const cases = coveringCases([1, 2, 3, 17, 5]).map(([name, options], i) => {
  const codes = codeTypes[i % codeTypes.length] as QuantizedDType;
  return [`${codes}, ${name}`, codes, options] as const;
});

test.each(cases)('%s: codes are those of a separate quantization', (_, dtype, caseOptions) => {
  const one = makeCase(caseOptions);
  const { x, weight, rows, options } = one;
  const y = valuesToQuantize(one);
  const unquantized = rmsNorm.forward(x, weight, options);
  for (const settings of [{}, { scaleMax: 0.004 }, { scale: 0.03 }]) {
    const expected = quantize(dtype, y, rows, settings);
    const result = rmsNorm.forward(x, weight, { ...options, quantize: dtype, ...settings });
    expectSame(result.y, expected.codes);
    expectSameBits(result.rstd, unquantized.rstd);
    if ('scale' in settings) expect(result.scale).toBe(settings.scale);
    else expectSame(result.scale as Float32Array, expected.scales);
  }
});

test.each(cases)('%s: codes are near the oracle', (_, dtype, caseOptions) => {
  const { x, weight, rows, hiddenSize, options, problem } = makeCase(caseOptions);
  const { y: codes, scale } = rmsNorm.forward(x, weight, { ...options, quantize: dtype });
  const exact = forward(problem).y;
  const errors = forwardErrors(problem).y;
  const ulp = 2 ** -24;
  for (let i = 0; i < rows * hiddenSize; ++i) {
    const s = scale[Math.floor(i / hiddenSize)] as number;
    const y = exact[i] as number;
    const code = codes[i] as number;
    const value = dtype === 'int8' ? code : float8Value(dtype, code);
    // Half the distance between adjacent codes, and the roundings of y, scale and y / scale.
    const [fractionBits, least] = dtype === 'float8_e4m3' ? [3, -6] : [2, -14];
    const step =
      dtype === 'int8'
        ? 1
        : 2 ** (Math.max(Math.floor(Math.log2(Math.abs(value))), least) - fractionBits);
    const cast = Math.abs(roundTo[options.dtype](y + (errors[i] as number)) - y);
    const error = (errors[i] as number) + (problem.round === null ? 0 : cast);
    const bound = error + (s * step) / 2 + Math.abs(y) * 4 * ulp;
    if (!(Math.abs(value * s - y) <= bound)) expect({ i, y, value: value * s }).toEqual({ bound });
  }
});

describe.each(codeTypes)('%s', (dtype) => {
  const rows = 6;
  const hiddenSize = 769;
  const { x, weight, residual, options } = makeCase({ dtype: 'bfloat16', rows, hiddenSize });

  test('every path, variant and number of threads gives the same bits', async () => {
    const settings = { ...options, quantize: dtype };
    const { y, scale } = rmsNorm.forward(x, weight, settings);
    for (const name of cpuVariants()) {
      setCpuVariant(name);
      for (const count of [1, 2, 3]) {
        setNumThreads(count);
        const again = rmsNorm.forward(x, weight, settings);
        expect(again.y).toEqual(y);
        expectSameBits(again.scale, scale);
      }
    }
    const later = await rmsNorm.forwardAsync(x, weight, settings);
    expect(later.y).toEqual(y);
    expectSameBits(later.scale, scale);

    const out = dtype === 'int8' ? new Int8Array(x.length) : new Uint8Array(x.length);
    const scaleOut = new Float32Array(rows);
    const written = rmsNorm.forward(x, weight, { ...settings, out, scaleOut });
    expect(written.y).toBe(out);
    expect(written.scale).toBe(scaleOut);
    expect(out).toEqual(y);
    expectSameBits(scaleOut, scale);
    const memory = new SharedArrayBuffer(x.length);
    const shared = dtype === 'int8' ? new Int8Array(memory) : new Uint8Array(memory);
    await rmsNorm.forwardAsync(x, weight, { ...settings, out: shared, scaleOut });
    expect(Array.from(shared)).toEqual(Array.from(y));
  });

  test('codes with a residual are those of the sum', () => {
    const { sum } = rmsNorm.forward(x, weight, { ...options, residual });
    const fused = rmsNorm.forward(x, weight, { ...options, residual, quantize: dtype });
    const apart = rmsNorm.forward(sum, weight, { ...options, quantize: dtype });
    expect(fused.y).toEqual(apart.y);
    expectSameBits(fused.scale, apart.scale);
    expectSameBits(fused.sum, sum);
  });

  test('codes of a tensor have the strides of out', () => {
    const dims = [2, 3, hiddenSize];
    const { y, scale } = rmsNorm.forward(x, weight, { ...options, quantize: dtype });
    const ofTensor = rmsNorm.forward({ data: x, dims }, weight, { ...options, quantize: dtype });
    expect(ofTensor.y).toEqual({ data: y, dims });
    const stride = hiddenSize + 5;
    const data = new (dtype === 'int8' ? Int8Array : Uint8Array)(rows * stride).fill(9);
    const out = { data, dims, strides: [3 * stride, stride, 1] };
    rmsNorm.forward({ data: x, dims }, weight, { ...options, quantize: dtype, out });
    for (let row = 0; row < rows; ++row) {
      const begin = row * stride;
      const expected = y.subarray(row * hiddenSize, (row + 1) * hiddenSize);
      expect(data.subarray(begin, begin + hiddenSize)).toEqual(expected);
      expect(data.subarray(begin + hiddenSize, begin + stride).every((code) => code === 9)).toBe(
        true,
      );
    }
    expect(scale).toHaveLength(rows);
  });

  test('zeros, NaN and infinities stay in their rows', () => {
    const four = floats(16);
    four.fill(1, 4);
    four[6] = NaN;
    four[9] = Infinity;
    const result = rmsNorm.forward(four, null, { normalizedShape: 4, quantize: dtype });
    const nan = dtype === 'int8' ? 0 : 0x7f;
    expect(Array.from(result.y.subarray(0, 4))).toEqual([0, 0, 0, 0]);
    expect(Array.from(result.y.subarray(4, 8))).toEqual([nan, nan, nan, nan]);
    expect(result.scale[0]).toBe(0);
    expect(result.scale[1]).toBeNaN();
    // An infinity makes rstd 0 or NaN; the last row is as it would be alone.
    const alone = rmsNorm.forward(four.subarray(12), null, { normalizedShape: 4, quantize: dtype });
    expect(result.y.subarray(12)).toEqual(alone.y);
    expect(result.scale[3]).toBe(alone.scale[0]);
  });

  test('zero rows give no codes and no scales', () => {
    const result = rmsNorm.forward(floats(0), floats(4), { quantize: dtype });
    expect(result.y).toHaveLength(0);
    expect(result.scale).toHaveLength(0);
  });
});

test('results have the types of their codes and scales', () => {
  const x = floats(4);
  const own = rmsNorm.forward(x, x, { quantize: 'int8' });
  const y: Int8Array = own.y;
  const scale: Float32Array = own.scale;
  const one: number = rmsNorm.forward(x, x, { quantize: 'float8_e5m2', scale: 2 }).scale;
  const bits: Uint8Array = rmsNorm.forward(x, x, { quantize: 'float8_e4m3' }).y;
  const none: null = rmsNorm.forward(x, x).scale;
  const tensor: { data: Int8Array; dims: number[] } = rmsNorm.forward({ data: x, dims: [4] }, x, {
    quantize: 'int8',
  }).y;
  expect([y.length, scale.length, one, bits.length, none, tensor.dims]).toEqual([
    4,
    1,
    2,
    4,
    null,
    [4],
  ]);
});

test('without quantize there is no scale', () => {
  expect(rmsNorm.forward(floats(4), floats(4)).scale).toBeNull();
});

describe.each(['float8_e4m3', 'float8_e5m2'] as const)('%s', (dtype) => {
  const all = Uint8Array.from({ length: 256 }, (_, code) => code);
  const values = fromFloat8(all, dtype);

  test('fromFloat8 converts every code', () => {
    expect(Array.from(values)).toEqual(Array.from(all, (code) => float8Value(dtype, code)));
  });

  test('toFloat8 converts every number, and the neighbours of every tie', () => {
    const cell = new Float32Array(1);
    const word = new Uint32Array(cell.buffer);
    const numbers: number[] = [0, -0, NaN, Infinity, -Infinity, 2 ** -149, 3e38, -3e38];
    for (let code = 0; code < 255; ++code) {
      const [a, b] = [values[code] as number, values[code + 1] as number];
      for (const number of [a, b, (a + b) / 2]) {
        if (!Number.isFinite(number)) continue;
        cell[0] = number;
        const middle = word[0] as number;
        for (const distance of [-1, 0, 1]) {
          word[0] = middle + distance;
          numbers.push(cell[0]);
        }
      }
    }
    const source = Float32Array.from(numbers);
    const expected = Array.from(source, (value) => codeOf(dtype, value));
    expect(Array.from(toFloat8(source, dtype))).toEqual(expected);
    const out = new Uint8Array(source.length);
    expect(toFloat8(source, dtype, out)).toBe(out);
    expect(Array.from(out)).toEqual(expected);
  });
});

test('dequantize multiplies code and scale', () => {
  const codes = Int8Array.of(1, -2, 127, -128);
  expect(Array.from(dequantize(codes, Float32Array.of(0.5, 2)))).toEqual([0.5, -1, 254, -256]);
  expect(Array.from(dequantize(codes, 2))).toEqual([2, -4, 254, -256]);
  const bits = Uint8Array.of(0x38, 0xb8, 0x7e, 0x7f);
  const out = new Float32Array(4);
  expect(dequantize(bits, Float32Array.of(0.5, 2), { dtype: 'float8_e4m3', out })).toBe(out);
  expect(Array.from(out)).toEqual([0.5, -0.5, 896, NaN]);
  expect(dequantize(new Int8Array(0), new Float32Array(0))).toHaveLength(0);
});

test('dequantize gives y back within half a step', () => {
  const x = Float32Array.from(normals(5, 4096));
  const { y: exact } = rmsNorm.forward(x, null, { normalizedShape: 512 });
  const { y, scale } = rmsNorm.forward(x, null, { normalizedShape: 512, quantize: 'int8' });
  dequantize(y, scale).forEach((value, i) => {
    const step = scale[Math.floor(i / 512)] as number;
    expect(Math.abs(value - (exact[i] as number))).toBeLessThanOrEqual(0.50001 * step);
  });
});
