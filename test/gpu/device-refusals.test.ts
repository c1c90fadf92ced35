// Arguments that buffers of a GPU and of the host refuse: with which error, and that nothing is
// written.

import { DeviceBuffer, HostBuffer, Stream } from '../../lib';
import { countingBuffer, expectBytes, expectError, expectRejection, onGpu } from '../support/gpu';
import { bits, detached, floats, outOfBounds, range, type, value } from '../support/refusals';
import { errorOf } from '../support/support';

onGpu('buffers', () => {
  test.each([
    [-1, 'float32', {}, range, 'an integer >= 0'],
    [1.5, 'float32', {}, range, 'an integer >= 0'],
    [2 ** 53, 'float32', {}, range, 'an integer >= 0'],
    ['4', 'float32', {}, type, 'a number'],
    [undefined, 'float32', {}, type, 'a number'],
    [4, 'float64', {}, value, "'float32', 'float16', 'bfloat16', 'int8', "],
    [4, undefined, {}, value, "'float32', 'float16', 'bfloat16', 'int8', "],
    [4, 'float32', { device: 'cpu' }, value, "'cuda:0'"],
    [4, 'float32', { device: 'cuda:99' }, value, "'cuda:0'"],
    [4, 'float32', { stream: null }, value, "Unknown option 'stream'"],
    [4, 'float32', null, type, 'an object'],
  ])('refuse new (%j, %j, %j)', (length, dtype, options, code, text) => {
    for (const Buffer of [DeviceBuffer, HostBuffer]) {
      const make = () => new Buffer(length as number, dtype as 'float32', options as never);
      expectError(make, code, text);
    }
  });

  test('refuse more elements than the GPU or the host has memory for', () => {
    const make = () => new DeviceBuffer(2 ** 45, 'float32');
    expectError(make, 'ERR_CUDA_OUT_OF_MEMORY');
    // An ArrayBuffer of Node.js 20 cannot hold so many elements either.
    const codes = ['ERR_CUDA_OUT_OF_MEMORY', range];
    expect(codes).toContain(errorOf(() => new HostBuffer(2 ** 45, 'float32')).code);
  });

  test.each([
    [[1, 2], {}, type, 'a Float32Array'],
    [new ArrayBuffer(8), {}, type, 'a Float32Array'],
    [bits(4), {}, value, "'float16' or 'bfloat16', since 'source' is a Uint16Array"],
    [new Float64Array(4), {}, type, 'a Float32Array, Uint16Array, Float16Array, Int8Array or'],
    [bits(4), { dtype: 'float32' }, type, 'a Float32Array, since the buffer is float32'],
    [new Int32Array(4), { dtype: 'float32' }, type, 'a Float32Array'],
    [floats(4), { dtype: 'int8' }, type, 'an Int8Array, since the buffer is int8'],
    [floats(4), { stream: {} }, type, 'a Stream'],
    [detached(floats(4)), {}, value, 'neither detached'],
    [outOfBounds(), {}, value, 'neither detached'],
    [floats(4), { length: 4 }, value, "Unknown option 'length'"],
  ])('refuse from(%p, %j)', (source, options, code, text) => {
    expectError(() => DeviceBuffer.from(source as Float32Array, options as never), code, text);
  });

  test('refuse copies of wrong lengths, types, options and overlaps', async () => {
    const { array, buffer } = countingBuffer('bfloat16', 8);
    const target = floats(8).fill(5);
    const [short, other] = [new DeviceBuffer(7, 'bfloat16'), new DeviceBuffer(8, 'float16')];
    const [shortHost, otherHost] = [new HostBuffer(7, 'bfloat16'), new HostBuffer(8, 'float32')];
    const cases = [
      [floats(7), range, 'have 8 elements'],
      [bits(9), range, 'have 8 elements'],
      [new Float64Array(8), type, 'a Float32Array'],
      [new Uint8Array(8), type, 'a Float32Array'],
      [detached(floats(8)), value, 'neither detached'],
      [short, range, 'have 8 elements'],
      [shortHost, range, 'have 8 elements'],
      [other, value, "have dtype 'bfloat16', as the buffer does"],
      [otherHost, value, "have dtype 'bfloat16', as the buffer does"],
      [buffer.subarray(1), range, 'have 8 elements'],
      [[1, 2], type, 'a typed array, a HostBuffer or a DeviceBuffer'],
      [null, type, 'a typed array, a HostBuffer or a DeviceBuffer'],
      [otherHost.array.buffer, type, 'a typed array, a HostBuffer or a DeviceBuffer'],
      [Stream.default(), type, 'a typed array, a HostBuffer or a DeviceBuffer'],
    ] as const;
    for (const [partner, code, text] of cases) {
      const wrong = partner as unknown as Float32Array;
      expectError(
        () => {
          buffer.copyFrom(wrong);
        },
        code,
        text,
      );
      expectError(
        () => {
          buffer.copyTo(wrong);
        },
        code,
        text,
      );
      await expectRejection(buffer.copyFromAsync(wrong), code, text);
      await expectRejection(buffer.copyToAsync(wrong), code, text);
    }
    const options = [
      [{ stream: 1 }, type],
      [{ stream: null }, type],
      [{ streams: undefined }, value],
      [null, type],
    ] as const;
    for (const [invalid, code] of options) {
      const wrong = invalid as object;
      expectError(() => {
        buffer.copyFrom(array, wrong);
      }, code);
      expectError(() => {
        buffer.copyTo(target, wrong);
      }, code);
      expectError(() => {
        buffer.copyFrom(buffer, wrong);
      }, code);
      expectError(() => buffer.toHost(wrong), code);
      expectError(() => buffer.fill(1, wrong), code);
      await expectRejection(buffer.toHostAsync(wrong), code);
    }
    expectError(() => buffer.fill('1' as never), type, 'a number');
    expectError(() => buffer.subarray('1' as never), type, 'a number');
    expectError(() => buffer.subarray(1, NaN), type, 'a number');
    const overlapping = buffer.subarray(0, 5);
    expectError(
      () => {
        overlapping.copyFrom(buffer.subarray(3));
      },
      value,
      'must not overlap',
    );
    expect(target).toEqual(floats(8).fill(5));
    expectBytes(buffer.toHost(), array);
  });

  test('refuse every use after dispose()', async () => {
    const { array, buffer } = countingBuffer('float32', 8);
    const there = countingBuffer('float32', 8).buffer;
    const host = new HostBuffer(8, 'float32');
    const code = 'ERR_DISPOSED';
    buffer[Symbol.dispose]();
    host[Symbol.dispose]();
    buffer.dispose();
    host.dispose();
    expect([buffer.length, buffer.dtype, buffer.device]).toEqual([8, 'float32', 'cuda:0']);
    expectError(() => buffer.pointer, code, "'buffer' has been disposed of");
    expectError(() => buffer.subarray(0), code);
    expectError(() => buffer.fill(0), code);
    expectError(() => buffer.toHost(), code);
    expectError(() => host.array, code, 'HostBuffer');
    await expectRejection(buffer.toHostAsync(), code);
    for (const partner of [array, there]) {
      expectError(() => {
        buffer.copyFrom(partner);
      }, code);
      expectError(() => {
        buffer.copyTo(partner);
      }, code);
      await expectRejection(buffer.copyFromAsync(partner), code);
      await expectRejection(buffer.copyToAsync(partner), code);
    }
    for (const gone of [buffer, host]) {
      expectError(
        () => {
          there.copyFrom(gone);
        },
        code,
        "'source' has been disposed of",
      );
      expectError(
        () => {
          there.copyTo(gone);
        },
        code,
        "'target' has been disposed of",
      );
      await expectRejection(there.copyFromAsync(gone), code);
      await expectRejection(there.copyToAsync(gone), code);
    }
    there.dispose();
  });
});
