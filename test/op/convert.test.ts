// The conversions of every 16-bit pattern, and of every float32 at which rounding changes.

import { f16round, getFloat16 } from '@petamoriken/float16';

import {
  cpuVariants,
  fromBFloat16,
  fromFloat16,
  getCpuVariant,
  setCpuVariant,
  toBFloat16,
  toFloat16,
} from '../../lib';
import { binding } from '../../lib/binding';
import { bf16round } from '../support/reference';
import {
  bits,
  detached,
  expectRefusal,
  floats,
  range,
  type,
  type Refusal,
} from '../support/refusals';
import { bitsOf, bytesOf, errorOf, expectSameBits, guarded } from '../support/support';

const variant = getCpuVariant();
afterEach(() => {
  setCpuVariant(variant);
});

/** A format by its definition, independent of every table and instruction. */
interface Format {
  readonly dtype: 'float16' | 'bfloat16';
  readonly to: typeof toBFloat16;
  readonly from: typeof fromBFloat16;
  readonly fractionBits: number;
  readonly bias: number;
}

const formats: readonly Format[] = [
  { dtype: 'float16', to: toFloat16, from: fromFloat16, fractionBits: 10, bias: 15 },
  { dtype: 'bfloat16', to: toBFloat16, from: fromBFloat16, fractionBits: 7, bias: 127 },
];

const allBits = new Uint16Array(1 << 16).map((_, pattern) => pattern);
const infinityOf = ({ fractionBits }: Format) => 0x7fff & -(1 << fractionBits);

/** The magnitude of a pattern, by definition; for infinity, that of the next exponent. */
function magnitudeOf(pattern: number, { fractionBits, bias }: Format): number {
  const exponent = pattern >> fractionBits;
  const fraction = pattern % (1 << fractionBits);
  return exponent === 0
    ? fraction * 2 ** (1 - bias - fractionBits)
    : ((1 << fractionBits) + fraction) * 2 ** (exponent - bias - fractionBits);
}

const cell = new DataView(new ArrayBuffer(4));

/** The float32 next to a positive one, above (1) or below (-1). */
function nextFloat(value: number, direction: 1 | -1): number {
  cell.setFloat32(0, value);
  cell.setUint32(0, cell.getUint32(0) + direction);
  return cell.getFloat32(0);
}

describe.each(formats)('$dtype', (format) => {
  const { dtype, to, from } = format;
  const infinity = infinityOf(format);
  const isNaNPattern = (pattern: number) => (pattern & 0x7fff) > infinity;

  describe.each(cpuVariants())('%s', (name) => {
    beforeEach(() => {
      setCpuVariant(name);
    });

    test('converts every pattern exactly', () => {
      const values = from(allBits);
      for (const [pattern, value] of values.entries()) {
        cell.setUint16(0, pattern);
        cell.setUint16(2, 0);
        const expected = dtype === 'float16' ? getFloat16(cell, 0) : cell.getFloat32(0);
        if (!Object.is(value, expected)) expect([pattern, value]).toEqual([pattern, expected]);
      }
      expect(values.filter(Number.isNaN).length).toBe(2 * (0x7fff - infinity));
    });

    test('gives every pattern back after a round trip', () => {
      const back = to(from(allBits));
      for (const [pattern, result] of back.entries()) {
        const isRight = isNaNPattern(pattern) ? isNaNPattern(result) : result === pattern;
        if (!isRight) expect([pattern, result]).toEqual([pattern, 'the same, or a NaN for one']);
      }
    });

    test('rounds to nearest, ties to even, around every midpoint', () => {
      const inputs: number[] = [];
      const expected: number[] = [];
      const add = (value: number, pattern: number) => {
        inputs.push(value, -value);
        expected.push(pattern, pattern | 0x8000);
      };
      for (let below = 0; below < infinity; ++below) {
        const low = magnitudeOf(below, format);
        const midpoint = (low + magnitudeOf(below + 1, format)) / 2; // exact in float32
        add(nextFloat(midpoint, -1), below);
        add(midpoint, below % 2 === 0 ? below : below + 1);
        add(nextFloat(midpoint, 1), below + 1);
        if (below > 0) {
          add(nextFloat(low, -1), below);
          add(low, below);
          add(nextFloat(low, 1), below);
        }
      }
      expectSameBits(to(Float32Array.from(inputs)), Uint16Array.from(expected));
    });

    test('converts overflow, infinities, zeros and NaNs', () => {
      const largest = magnitudeOf(infinity - 1, format);
      const patterns = to(Float32Array.of(largest, 3.4028234663852886e38, -3.4e38, 0, -0));
      expect([...patterns]).toEqual([infinity - 1, infinity, infinity | 0x8000, 0, 0x8000]);
      expect([...to(Float32Array.of(Infinity, -Infinity))]).toEqual([infinity, infinity | 0x8000]);

      // NaNs, including those whose upper 16 bits alone are an infinity.
      const nans = new Float32Array(64);
      const words = new Uint32Array(nans.buffer);
      words.forEach((_, i) => (words[i] = (0x7f800000 | (1 << (i % 23)) | ((i % 2) << 31)) >>> 0));
      expect([...to(nans)].every(isNaNPattern)).toBe(true);
    });

    test('converts every length at every alignment, and writes nothing beside it', () => {
      for (let length = 0; length <= 70; ++length) {
        for (const lead of [0, 1, 3, 7]) {
          const source = allBits.subarray(15000 + lead, 15000 + lead + length);
          const wide = guarded('float32', length, lead);
          expect(from(source, wide.array)).toBe(wide.array);
          expectSameBits(wide.array, from(allBits).subarray(15000 + lead, 15000 + lead + length));
          wide.expectIntact();
          const narrow = guarded(dtype, length, lead);
          to(wide.array, narrow.array as Uint16Array);
          expectSameBits(narrow.array, source);
          narrow.expectIntact();
        }
      }
    });
  });

  test('converts arrays large enough for several threads', () => {
    const source = new Uint16Array(1 << 20).map((_, i) => (i * 7919) % infinity);
    expectSameBits(to(from(source)), source);
  });

  const values = floats(4);
  const patterns = bits(4);
  test.each<[string, () => unknown, ...Refusal]>([
    [
      'undefined as the source of float32',
      () => to(undefined as never),
      type,
      'source',
      'a Float32Array',
      'undefined',
    ],
    [
      'a 16-bit array as the source of float32',
      () => to(patterns as never),
      type,
      'source',
      'a Float32Array',
      'Uint16Array(4)',
    ],
    [
      'an Array as the source of float32',
      () => to([1] as never),
      type,
      'source',
      'a Float32Array',
      '[ 1 ]',
    ],
    [
      'the source as a 16-bit out',
      () => to(values, values as never),
      type,
      'out',
      'Uint16Array',
      'Float32Array(4)',
    ],
    [
      'a 16-bit out that is too short',
      () => to(values, bits(3)),
      range,
      'out',
      'have 4 elements',
      'Uint16Array(3)',
    ],
    [
      'a 16-bit out that is too long',
      () => to(values, bits(5)),
      range,
      'out',
      'have 4 elements',
      'Uint16Array(5)',
    ],
    [
      'a float32 array as the 16-bit source',
      () => from(values as never),
      type,
      'source',
      'Uint16Array',
      'Float32Array(4)',
    ],
    [
      'a 16-bit array as the float32 out',
      () => from(patterns, bits(4) as never),
      type,
      'out',
      'a F',
      'Uint16Array(4)',
    ],
    [
      'a float32 out that is too short',
      () => from(patterns, floats(3)),
      range,
      'out',
      'have 4',
      'Float32Array(3)',
    ],
  ])('refuses %s', (_, call, ...refusal) => {
    expectRefusal(errorOf(call), refusal);
  });

  test('refuses detached arrays', () => {
    for (const call of [() => to(detached(floats(4))), () => from(detached(new Uint16Array(4)))]) {
      expect(errorOf(call).code).toBe('ERR_INVALID_ARG_VALUE');
    }
  });

  test('refuses a source and an out that share memory', () => {
    const memory = floats(8).fill(1);
    const error = errorOf(() => to(memory, new Uint16Array(memory.buffer, 16, 8)));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.code).toBe('ERR_INVALID_ARG_VALUE');
    expect(error.message).toContain("'out' and 'source' must not overlap");
    expect([...memory]).toEqual([1, 1, 1, 1, 1, 1, 1, 1]);
  });
});

test('the native addon converts between any two dtypes', () => {
  const codes = { float32: 0, float16: 1, bfloat16: 2 } as const;
  const values = fromBFloat16(allBits).filter((value) => !Number.isNaN(value));
  const halves = Uint16Array.from(values, (value) => bitsOf(f16round(value), 'float16'));
  const asFloat16 = bits(values.length);
  binding.convert(toBFloat16(values), codes.bfloat16, asFloat16, codes.float16);
  expectSameBits(asFloat16, halves);
  const asBFloat16 = bits(values.length);
  binding.convert(halves, codes.float16, asBFloat16, codes.bfloat16);
  const rounded = Array.from(fromFloat16(halves), (value) => bitsOf(bf16round(value), 'bfloat16'));
  expectSameBits(asBFloat16, Uint16Array.from(rounded));
  const copy = floats(values.length);
  binding.convert(values, codes.float32, copy, codes.float32);
  expect(bytesOf(copy).equals(bytesOf(values))).toBe(true);
});
