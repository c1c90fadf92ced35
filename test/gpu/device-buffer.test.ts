// Buffers on a GPU: contents, copies, conversions, views, and memory of other libraries.

import fc from 'fast-check';

import {
  CudaEvent,
  DeviceBuffer,
  emptyCache,
  fromBFloat16,
  fromFloat16,
  HostBuffer,
  Stream,
  toBFloat16,
  toFloat16,
} from '../../lib';
import {
  countingArray,
  countingBuffer,
  deviceDTypes,
  expectBytes,
  expectError,
  gpus,
  onGpu,
  onGpus,
} from '../support/gpu';
import { normals, raggedSizes } from '../support/support';

const narrow = { float16: toFloat16, bfloat16: toBFloat16 };
const widen = { float16: fromFloat16, bfloat16: fromBFloat16 };

onGpu('a DeviceBuffer', () => {
  describe.each(deviceDTypes)('of %s', (dtype) => {
    test.each([0, ...raggedSizes])('copies %d elements to the GPU and back', async (length) => {
      const array = countingArray(dtype, length);
      const buffer = DeviceBuffer.from(array, { dtype });
      expect(buffer.length).toBe(length);
      expect(buffer.byteLength).toBe(array.byteLength);
      expect(buffer.dtype).toBe(dtype);
      expect(buffer.device).toBe('cuda:0');
      expectBytes(buffer.toHost(), array);
      expectBytes(await buffer.toHostAsync(), array);
      buffer.dispose();
    });

    test('copies through several blocks of page-locked memory', async () => {
      const length = 3_333_333;
      const { array, buffer } = countingBuffer(dtype, length);
      expectBytes(buffer.toHost(), array);
      const other = new DeviceBuffer(length, dtype);
      await other.copyFromAsync(buffer.toHost());
      expectBytes(await other.toHostAsync(), array);
      buffer.dispose();
      other.dispose();
    });

    test('copies from and to arrays, HostBuffers and DeviceBuffers', async () => {
      const array = countingArray(dtype, 777);
      const [a, b] = [new DeviceBuffer(777, dtype), new DeviceBuffer(777, dtype)];
      const [in1, in2] = [new HostBuffer(777, dtype), new HostBuffer(777, dtype)];
      a.copyFrom(array);
      b.copyFrom(a);
      a.fill(0);
      b.copyTo(a);
      a.copyTo(in1);
      Stream.default().synchronize();
      expectBytes(in1.array, array);
      b.fill(0);
      b.copyFrom(in1);
      await b.copyToAsync(in2);
      expectBytes(in2.array, array);
      a.fill(0);
      await a.copyFromAsync(in2);
      b.fill(0);
      await a.copyToAsync(b);
      await b.copyFromAsync(b);
      const target = countingArray(dtype, 777).fill(0);
      await b.copyToAsync(target);
      expectBytes(target, array);
      for (const each of [a, b, in1, in2]) each.dispose();
    });

    test('lets a source array change at once, and reads and writes shared memory', async () => {
      const array = countingArray(dtype, 500);
      const expected = array.slice();
      const memory = new SharedArrayBuffer(array.byteLength);
      const shared = dtype === 'float32' ? new Float32Array(memory) : new Uint16Array(memory);
      const buffer = new DeviceBuffer(500, dtype);
      buffer.copyFrom(array);
      array.fill(0);
      buffer.copyTo(shared);
      expectBytes(shared, expected);
      const copied = buffer.copyFromAsync(shared);
      shared.fill(0);
      await copied;
      await buffer.copyToAsync(shared);
      expectBytes(shared, expected);
      buffer.dispose();
    });
  });

  test.each(['float16', 'bfloat16'] as const)(
    'converts float32 arrays to and from %s',
    async (dtype) => {
      const values = Float32Array.from([
        ...normals(5, 1000, 100),
        ...[0, -0, 1e-45, -1e-40, 65519.99, 65520, 3.4e38, Infinity, -Infinity],
      ]);
      const bits = narrow[dtype](values);
      const buffer = DeviceBuffer.from(values, { dtype });
      expectBytes(buffer.toHost(), bits);
      const back = new Float32Array(values.length);
      buffer.copyTo(back);
      expectBytes(back, widen[dtype](bits));
      back.fill(0);
      buffer.fill(0);
      await buffer.copyFromAsync(values);
      await buffer.copyToAsync(back);
      expectBytes(back, widen[dtype](bits));
      buffer.dispose();
    },
  );

  test.each([0, -0, 1, -2.5, 1 / 3, 65519, 1e5, 1e300, NaN, Infinity, -Infinity, 1e-41])(
    'fills every dtype with %d',
    (value) => {
      for (const dtype of deviceDTypes) {
        const buffer = new DeviceBuffer(33, dtype);
        expect(buffer.fill(value)).toBe(buffer);
        const values = new Float32Array(33).fill(value);
        expectBytes(buffer.toHost(), dtype === 'float32' ? values : narrow[dtype](values));
        buffer.dispose();
      }
    },
  );

  test('has the views that subarray of typed arrays gives', () => {
    const index = fc.oneof(fc.integer({ min: -25, max: 25 }), fc.double({ noNaN: true }));
    fc.assert(
      fc.property(
        fc.constantFrom(...deviceDTypes),
        fc.nat(20),
        fc.array(fc.tuple(fc.option(index), fc.option(index)), { minLength: 1, maxLength: 3 }),
        (dtype, length, bounds) => {
          let { array, buffer }: { array: Float32Array | Uint16Array; buffer: DeviceBuffer } =
            countingBuffer(dtype, length);
          for (const [begin, end] of bounds) {
            const view = buffer.subarray(begin ?? undefined, end ?? undefined);
            array = array.subarray(begin ?? undefined, end ?? undefined);
            buffer.dispose(); // the view keeps the memory
            buffer = view;
          }
          expect(buffer.length).toBe(array.length);
          expectBytes(buffer.toHost(), array);
          buffer.dispose();
        },
      ),
      { seed: 1, numRuns: 200 },
    );
  });

  test('shares its memory with its views', () => {
    const { array, buffer } = countingBuffer('float32', 100);
    const view = buffer.subarray(10, 20);
    expect(view.pointer - buffer.pointer).toBe(40n);
    view.fill(-1);
    array.subarray(10, 20).fill(-1);
    expectBytes(buffer.toHost(), array);
    view.subarray(5).copyFrom(buffer.subarray(95));
    array.copyWithin(15, 95);
    expectBytes(buffer.toHost(), array);
    view.dispose();
    expectBytes(buffer.toHost(), array);
    buffer.dispose();
  });

  test('uses memory of another library in place and does not free it', () => {
    const { array, buffer } = countingBuffer('float32', 100);
    const whole = DeviceBuffer.fromPointer(buffer.pointer, 100, 'float32');
    const slice = DeviceBuffer.fromPointer(buffer.pointer + 8n, 4, 'bfloat16');
    expect(whole.pointer).toBe(buffer.pointer);
    expectBytes(whole.toHost(), array);
    slice.fill(0);
    array.fill(0, 2, 4);
    slice.dispose();
    expectBytes(whole.toHost(), array);
    whole.dispose();
    expectBytes(buffer.toHost(), array);
    buffer.dispose();
  });

  test('refuses a pointer that is not to that much memory of its device', () => {
    // The block must have exactly these bytes; a cached one may be larger.
    Stream.default().synchronize();
    emptyCache();
    const { buffer } = countingBuffer('float32', 100);
    const make = (pointer: bigint, length: number) => () =>
      DeviceBuffer.fromPointer(pointer, length, 'float32');
    const refused = (pointer: bigint, length: number, text: string) => {
      expectError(make(pointer, length), 'ERR_INVALID_ARG_VALUE', text);
    };
    refused(buffer.pointer, 101, 'at least 404 bytes. Only 400 bytes are there');
    refused(buffer.pointer + 396n, 2, 'at least 8 bytes. Only 4 bytes are there');
    refused(buffer.pointer + 2n, 1, 'a multiple of 4');
    refused(0n, 1, 'memory of a CUDA device');
    refused(4096n, 1, 'memory of a CUDA device');
    make(buffer.pointer + 396n, 1)().dispose();
    make(0n, 0)().dispose();
    buffer.dispose();
  });

  test('copies run in the order of the stream that is passed', async () => {
    const stream = new Stream();
    const { array, buffer } = countingBuffer('float32', 1000);
    const other = new DeviceBuffer(1000, 'float32');
    Stream.default().synchronize();
    other.copyFrom(buffer, { stream });
    buffer.fill(0, { stream });
    const result = buffer.toHostAsync({ stream });
    expectBytes(other.toHost({ stream }), array);
    expectBytes(await result, array.fill(0));
    for (const each of [stream, buffer, other]) each.dispose();
  });

  test('keeps its memory until copies in flight are done', async () => {
    for (let i = 0; i < 20; ++i) {
      const { array, buffer } = countingBuffer('bfloat16', 300);
      const view = buffer.subarray(100);
      const result = view.toHostAsync();
      buffer.dispose();
      view.dispose();
      expectBytes(await result, array.subarray(100));
    }
  });
});

onGpus('buffers on two GPUs', () => {
  test.each(['target', 'source'] as const)('are copied on a stream of the %s', async (side) => {
    const array = countingArray('float32', 999);
    const from = DeviceBuffer.from(array, { device: 'cuda:0' });
    const to = new DeviceBuffer(999, 'float32', { device: 'cuda:1' });
    expect(to.device).toBe('cuda:1');
    Stream.default('cuda:0').synchronize();
    const stream = new Stream({ device: side === 'target' ? 'cuda:1' : 'cuda:0' });
    to.copyFrom(from, { stream });
    const event = new CudaEvent({ device: stream.device });
    event.record(stream);
    stream.dispose();
    from.dispose();
    const reader = new Stream({ device: 'cuda:1' });
    reader.wait(event);
    expectBytes(await to.toHostAsync({ stream: reader }), array);
    for (const each of [to, event, reader]) each.dispose();
  });

  test('are on the device of their stream by default', () => {
    const stream = new Stream({ device: 'cuda:1' });
    const buffer = DeviceBuffer.from(Float32Array.of(1), { stream });
    expect(buffer.device).toBe('cuda:1');
    expect(buffer.toHost({ stream })).toEqual(Float32Array.of(1));
    expectError(
      () => DeviceBuffer.from(Float32Array.of(1), { stream, device: 'cuda:0' }),
      'ERR_INVALID_ARG_VALUE',
      "on 'cuda:0'",
    );
    expectError(
      () => DeviceBuffer.fromPointer(buffer.pointer, 1, 'float32'),
      'ERR_INVALID_ARG_VALUE',
      "in the memory of 'cuda:0'. It is in the memory of 'cuda:1'",
    );
    for (const each of [buffer, stream]) each.dispose();
  });

  test('work on every device', () => {
    for (const { device } of gpus) {
      const buffer = DeviceBuffer.from(Float32Array.of(1, 2), { device, dtype: 'float16' });
      expect(buffer.device).toBe(device);
      expect(buffer.toHost()).toEqual(toFloat16(Float32Array.of(1, 2)));
      buffer.dispose();
    }
  });
});
