// Codes by their definition, one number at a time: the reference for quantised results.

import type { QuantizedDType } from '../../lib';

/** The largest number that a code stands for. A row's scale is derived from it. */
export const largestOf: Readonly<Record<QuantizedDType, number>> = {
  int8: 127,
  float8_e4m3: 448,
  float8_e5m2: 57344,
};

/** The number that a float8 code stands for, by the definition of its format. */
export function float8Value(dtype: Exclude<QuantizedDType, 'int8'>, code: number): number {
  const isE4m3 = dtype === 'float8_e4m3';
  const [fractionBits, bias] = isE4m3 ? [3, 7] : [2, 15];
  const sign = code < 0x80 ? 1 : -1;
  const magnitude = code & 0x7f;
  const exponent = magnitude >> fractionBits;
  const fraction = magnitude % (1 << fractionBits);
  if (isE4m3 ? magnitude === 0x7f : exponent === 31 && fraction > 0) return NaN;
  if (!isE4m3 && exponent === 31) return sign * Infinity;
  const whole = exponent === 0 ? fraction : (1 << fractionBits) + fraction;
  return sign * whole * 2 ** (Math.max(exponent, 1) - bias - fractionBits);
}

const positiveOf = (dtype: Exclude<QuantizedDType, 'int8'>) =>
  Array.from({ length: 128 }, (_, code) => float8Value(dtype, code));
const positiveValues = {
  float8_e4m3: positiveOf('float8_e4m3'),
  float8_e5m2: positiveOf('float8_e5m2'),
};

/**
 * The code nearest to a number: the even one of two, and the largest code for numbers beyond it.
 */
export function codeOf(dtype: QuantizedDType, value: number): number {
  if (dtype === 'int8') {
    if (Number.isNaN(value)) return 0;
    const clamped = Math.min(Math.max(value, -128), 127);
    const below = Math.floor(clamped);
    const distance = clamped - below;
    const isUp = distance > 0.5 || (distance === 0.5 && below % 2 !== 0);
    return (isUp ? below + 1 : below) + 0; // not -0
  }
  if (Number.isNaN(value)) return 0x7f;
  const sign = value < 0 || Object.is(value, -0) ? 0x80 : 0;
  const magnitude = Math.min(Math.abs(value), largestOf[dtype]);
  // Positive codes are sorted by the numbers they stand for.
  const values = positiveValues[dtype];
  let code = 0;
  for (let step = 64; step >= 1; step /= 2) {
    if ((values[code + step] as number) <= magnitude) code += step;
  }
  const [low, high] = [values[code] as number, values[code + 1] as number];
  const isUp =
    magnitude - low > high - magnitude || (magnitude - low === high - magnitude && code % 2 !== 0);
  return sign | (isUp ? code + 1 : code);
}

export interface Quantized {
  readonly codes: number[];
  /** One for each row. */
  readonly scales: number[];
}

/** Quantises rows of float32, with one scale for each row or with `scale` for all rows. */
export function quantize(
  dtype: QuantizedDType,
  y: ArrayLike<number>,
  rows: number,
  { scale = 0, scaleMax = Infinity },
): Quantized {
  const hiddenSize = y.length / rows;
  const codes: number[] = [];
  const scales: number[] = [];
  for (let row = 0; row < rows; ++row) {
    const values = Array.prototype.slice.call(
      y,
      row * hiddenSize,
      (row + 1) * hiddenSize,
    ) as number[];
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const own = Math.fround(largest / largestOf[dtype]);
    const used = scale === 0 ? (own > scaleMax ? Math.fround(scaleMax) : own) : Math.fround(scale);
    const inverse = Math.fround(1 / used);
    scales.push(used);
    for (const value of values) {
      const quotient = scale === 0 ? value / used : value * inverse;
      codes.push(codeOf(dtype, used === 0 ? 0 : Math.fround(quotient)));
    }
  }
  return { codes, scales };
}
