// Codes of 8 bits on a GPU: they have the bits of the CPU. Also buffers of codes, and refused
// arguments.

import {
  dequantize,
  DeviceBuffer,
  fromFloat8,
  Graph,
  HostBuffer,
  rmsNorm,
  Stream,
  toFloat8,
  type QuantizedDType,
} from '../../lib';
import { makeCase, type WeightKind } from '../support/cases';
import { deviceDTypes, expectBytes, expectError, onGpu } from '../support/gpu';
import { range, type, value } from '../support/refusals';
import { expectSameBits } from '../support/support';

const codeTypes: readonly QuantizedDType[] = ['int8', 'float8_e4m3', 'float8_e5m2'];

/** Rows of one warp, of several warps, of two tiles a thread, and rows too long for a block. */
const shapes = [
  { rows: 0, hiddenSize: 8 },
  { rows: 3, hiddenSize: 1 },
  { rows: 5, hiddenSize: 64 },
  { rows: 3, hiddenSize: 111 },
  { rows: 2, hiddenSize: 5125 },
  { rows: 2, hiddenSize: 16_384 },
  { rows: 2, hiddenSize: 70_001 },
];

const allSettings: readonly { readonly scale?: number; readonly scaleMax?: number }[] = [
  {},
  { scaleMax: 0.004 },
  { scale: 0.03 },
];

const cases = shapes.flatMap((shape, s) =>
  deviceDTypes.flatMap((dtype, d) =>
    codeTypes.map((quantize, q) => {
      const weightKind = (['none', 'same', 'float32'] as const)[(s + d + q) % 3] as WeightKind;
      const castOrder = (s + q) % 2 === 0 ? 'llama' : 'float';
      return { ...shape, dtype, quantize, weightKind, castOrder } as const;
    }),
  ),
);

onGpu('quantised on a GPU', () => {
  test.each(cases)(
    '$quantize of $rows x $hiddenSize $dtype, weight $weightKind, $castOrder equals the CPU',
    ({ quantize, dtype, ...shape }) => {
      const made = makeCase({ dtype, weightOffset: shape.rows === 5 ? 1 : 0, ...shape });
      const { x, weight, residual, options } = made;
      using on = new DeviceBuffer(x.length, dtype);
      on.copyFrom(x);
      const weightType = made.weightDtype === 'float32' ? 'float32' : dtype;
      const onWeight = weight && DeviceBuffer.from(weight, { dtype: weightType });
      using onResidual = DeviceBuffer.from(residual, { dtype });
      for (const settings of allSettings) {
        const all = { ...options, quantize, ...settings };
        const expected = rmsNorm.forward(x, weight, all);
        const actual = rmsNorm.forward(on, onWeight, all);
        expect([actual.y.dtype, actual.y.length]).toEqual([quantize, x.length]);
        expectBytes(actual.y.toHost(), expected.y);
        expectSameBits(actual.rstd.toHost(), expected.rstd);
        const { scale } = actual;
        if (typeof scale === 'number') expect(scale).toBe(expected.scale);
        else expectBytes((scale as DeviceBuffer).toHost(), expected.scale as Float32Array);

        const copied = rmsNorm.forward(x, weight, { ...all, device: 'cuda' });
        expectBytes(copied.y, expected.y);
        expect(copied.scale).toEqual(expected.scale);
      }
      const added = { ...options, quantize };
      const expected = rmsNorm.forward(x, weight, { ...added, residual });
      const actual = rmsNorm.forward(on, onWeight, { ...added, residual: onResidual });
      expectBytes(actual.y.toHost(), expected.y);
      expectBytes(actual.sum.toHost(), expected.sum);
      expectBytes(actual.scale.toHost(), expected.scale);
      onWeight?.dispose();
    },
  );

  test('a graph writes codes to provided buffers at any alignment', () => {
    const { x, weight } = makeCase({ dtype: 'float32', rows: 4, hiddenSize: 100 });
    const expected = rmsNorm.forward(x, weight, { quantize: 'float8_e4m3' });
    using stream = new Stream();
    const [onX, onWeight] = [x, weight as Float32Array].map((array) =>
      DeviceBuffer.from(array as Float32Array, { stream }),
    ) as [DeviceBuffer<'float32'>, DeviceBuffer<'float32'>];
    using memory = new DeviceBuffer(410, 'float8_e4m3');
    using scaleOut = new DeviceBuffer(4, 'float32');
    for (const begin of [0, 1, 2, 4, 7]) {
      const out = memory.subarray(begin, begin + 400);
      memory.fill(0, { stream });
      const graph = Graph.capture(stream, () => {
        rmsNorm.forward(onX, onWeight, { quantize: 'float8_e4m3', out, scaleOut, stream });
      });
      graph.launch(stream);
      expectBytes(out.toHost({ stream }), expected.y);
      expectBytes(scaleOut.toHost({ stream }), expected.scale);
      const all = memory.toHost({ stream });
      expect(
        [...all.subarray(0, begin), ...all.subarray(begin + 400)].every((code) => code === 0),
      ).toBe(true);
      graph.dispose();
    }
  });

  test('codes of a GPU are dequantised on the host', () => {
    const { x, weight } = makeCase({ dtype: 'float32', rows: 4, hiddenSize: 64 });
    using onX = DeviceBuffer.from(x as Float32Array);
    using onWeight = DeviceBuffer.from(weight as Float32Array);
    const { y, scale } = rmsNorm.forward(onX, onWeight, { quantize: 'int8' });
    const there = dequantize(y.toHost(), scale.toHost());
    const here = rmsNorm.forward(x as Float32Array, weight as Float32Array, { quantize: 'int8' });
    expectSameBits(there, dequantize(here.y, here.scale));
  });
});

onGpu('buffers of codes', () => {
  test('hold the elements of arrays of codes', async () => {
    const codes = Int8Array.from({ length: 300 }, (_, i) => (i % 256) - 128);
    using ofInt8 = DeviceBuffer.from(codes);
    expect([ofInt8.dtype, ofInt8.byteLength]).toEqual(['int8', 300]);
    expect(ofInt8.toHost()).toEqual(codes);
    expect(await ofInt8.toHostAsync()).toEqual(codes);
    const bits = new Uint8Array(codes.buffer);
    using ofFloat8 = DeviceBuffer.from(bits, { dtype: 'float8_e5m2' });
    expect(ofFloat8.toHost()).toEqual(bits);
    using host = new HostBuffer(300, 'int8');
    ofInt8.copyTo(host);
    Stream.default().synchronize();
    expect(host.array).toEqual(codes);
  });

  test('convert float32 to float8 and back, but not to int8', () => {
    const values = Float32Array.of(1, -2.3, 1e9, NaN, 0.001);
    using buffer = DeviceBuffer.from(values, { dtype: 'float8_e4m3' });
    const codes = toFloat8(values, 'float8_e4m3');
    expect(buffer.toHost()).toEqual(codes);
    const back = new Float32Array(5);
    buffer.copyTo(back);
    expectSameBits(back, fromFloat8(codes, 'float8_e4m3'));
    expectError(() => DeviceBuffer.from(values, { dtype: 'int8' }), type, 'Int8Array');
    using ofInt8 = new DeviceBuffer(5, 'int8');
    expectError(
      () => {
        ofInt8.copyTo(back);
      },
      type,
      'Int8Array',
    );
    expectError(() => DeviceBuffer.from(codes), value, "'float8_e4m3' or 'float8_e5m2'");
  });

  test.each(codeTypes)('of %s round and saturate in fill()', (dtype) => {
    using buffer = new DeviceBuffer(9, dtype);
    const codeOf = (number: number) => buffer.fill(number).toHost()[8];
    expect(codeOf(0)).toBe(0);
    if (dtype === 'int8') {
      expect([2.5, -1, 1000, -1000].map(codeOf)).toEqual([2, -1, 127, -128]);
    } else {
      const numbers = [1, -0.3, 1e9];
      expect(numbers.map(codeOf)).toEqual([...toFloat8(Float32Array.from(numbers), dtype)]);
    }
  });

  test('are refused as tensors', () => {
    using codes = new DeviceBuffer(8, 'int8');
    using x = new DeviceBuffer(8, 'float32').fill(1);
    using w = new DeviceBuffer(4, 'float32').fill(1);
    const untyped = rmsNorm as (...args: unknown[]) => unknown;
    const forward = rmsNorm.forward as (...args: unknown[]) => unknown;
    expectError(() => untyped(codes, w), type, "'x'");
    expectError(() => untyped(x, codes.subarray(0, 4)), type, "'weight'");
    expectError(() => untyped(x, w, { out: codes }), type, "'out'");
    expectError(() => forward(x, w, { quantize: 'float8_e4m3', out: codes }), type, "'out'");
    expectError(() => forward(x, w, { quantize: 'int8', out: codes.subarray(1) }), range, "'out'");
    expectError(() => forward(x, w, { quantize: 'int8', out: new Int8Array(8) }), type, "'out'");
    expectError(() => forward(x, w, { quantize: 'int8', scaleOut: codes }), type, "'scaleOut'");
  });
});
