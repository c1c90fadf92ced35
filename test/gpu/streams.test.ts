// Streams and events of a GPU: order, waiting, promises, streams of other libraries. A simulated
// GPU runs work late and in a random order between streams, so that a missing dependency shows.

import { CudaEvent, DeviceBuffer, HostBuffer, Stream } from '../../lib';
import {
  countingArray,
  expectBytes,
  expectError,
  expectRejection,
  onGpu,
  onGpus,
} from '../support/gpu';

const elements = 1000;

/** Copies `rounds` times from one buffer to the next, on streams in turn. */
function chain(streams: readonly Stream[], rounds: number, order: (to: Stream) => void) {
  const array = countingArray('float32', elements);
  const buffers = Array.from({ length: rounds + 1 }, () => {
    return new DeviceBuffer(elements, 'float32').fill(0);
  });
  Stream.default().synchronize();
  const [first] = buffers as [DeviceBuffer];
  first.copyFrom(array, { stream: streams[0] as Stream });
  for (let i = 0; i < rounds; ++i) {
    const stream = streams[(i + 1) % streams.length] as Stream;
    order(stream);
    (buffers[i + 1] as DeviceBuffer).copyFrom(buffers[i] as DeviceBuffer, { stream });
  }
  return { array, buffers, last: buffers.at(-1) as DeviceBuffer };
}

onGpu('a Stream', () => {
  test('belongs to its device', () => {
    const stream = new Stream();
    expect(stream.device).toBe('cuda:0');
    expect(stream.pointer).toBeGreaterThan(0n);
    expect(new Stream({ device: 'cuda' }).device).toBe('cuda:0');
    stream.dispose();
  });

  test('has one default per device, which dispose() leaves alone', () => {
    const stream = Stream.default();
    expect(Stream.default('cuda:0')).toBe(stream);
    expect(Stream.default('cuda')).toBe(stream);
    const pointer = stream.pointer;
    stream.dispose();
    expect(stream.pointer).toBe(pointer);
  });

  test('runs its work in order without events', async () => {
    const stream = new Stream();
    const { array, buffers, last } = chain([stream], 20, () => undefined);
    expectBytes(last.toHost({ stream }), array);
    expect(stream.query()).toBe(true);
    for (const each of [...buffers, stream]) each.dispose();
    await Stream.default().synchronizeAsync();
  });

  test('runs its work after the events it waits for', async () => {
    const streams = [new Stream(), new Stream(), new Stream()];
    for (let round = 0; round < 10; ++round) {
      let previous = streams[0] as Stream;
      const { array, buffers, last } = chain(streams, 8, (stream) => {
        const event = new CudaEvent({ timing: false });
        event.record(previous);
        if (round % 2 === 0) stream.wait(event);
        else event.wait(stream);
        event.dispose(); // the stream goes on waiting
        previous = stream;
      });
      expectBytes(await last.toHostAsync({ stream: previous }), array);
      for (const each of buffers) each.dispose();
    }
    for (const each of streams) each.dispose();
  });

  test('waits for all earlier work in synchronize()', () => {
    const stream = new Stream();
    const array = countingArray('float32', elements);
    const host = new HostBuffer(elements, 'float32');
    const buffer = DeviceBuffer.from(array, { stream });
    for (let i = 0; i < 10; ++i) {
      host.array.fill(0);
      buffer.copyTo(host, { stream });
      stream.synchronize();
      expectBytes(host.array, array);
    }
    for (const each of [stream, host, buffer]) each.dispose();
  });

  test('settles promises in order, when the work before them has run', async () => {
    const stream = new Stream();
    const host = new HostBuffer(elements, 'float32');
    const buffer = new DeviceBuffer(elements, 'float32');
    const seen: number[] = [];
    const settled = Array.from({ length: 10 }, (_, i) => {
      buffer.fill(i, { stream });
      const copied = buffer.toHostAsync({ stream });
      const passed = stream.synchronizeAsync().then(() => seen.push(i));
      return Promise.all([copied, passed]).then(([array]) => {
        expectBytes(array, new Float32Array(elements).fill(i));
      });
    });
    buffer.copyTo(host, { stream });
    await stream.synchronizeAsync();
    expectBytes(host.array, new Float32Array(elements).fill(9));
    await Promise.all(settled);
    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    for (const each of [stream, host, buffer]) each.dispose();
  });

  test('finishes its work after dispose()', async () => {
    const array = countingArray('float32', elements);
    const buffer = new DeviceBuffer(elements, 'float32');
    const event = new CudaEvent();
    for (let i = 0; i < 10; ++i) {
      const stream = new Stream();
      buffer.copyFrom(array, { stream });
      const passed = stream.synchronizeAsync();
      event.record(stream);
      stream.dispose();
      stream.dispose();
      await passed;
      event.synchronize();
      expectBytes(buffer.toHost(), array);
    }
    for (const each of [event, buffer]) each.dispose();
  });

  test('may belong to another library', async () => {
    const owner = new Stream();
    const stream = Stream.fromPointer(owner.pointer);
    expect(stream.pointer).toBe(owner.pointer);
    const array = countingArray('float32', elements);
    const buffer = DeviceBuffer.from(array, { stream });
    expectBytes(await buffer.toHostAsync({ stream: owner }), array);
    buffer.dispose();
    stream.dispose();
    owner.synchronize(); // it is still there
    owner.dispose();
  });

  test('may be the legacy default stream', () => {
    const stream = Stream.fromPointer(0n);
    expect(stream.pointer).toBe(0n);
    const array = countingArray('float32', elements);
    const buffer = DeviceBuffer.from(array, { stream });
    expectBytes(buffer.toHost({ stream }), array);
    for (const each of [buffer, stream]) each.dispose();
  });

  test('is required: pointers and values that are not streams are refused', () => {
    const stream = new Stream();
    const { pointer } = stream;
    stream.dispose();
    expectError(() => Stream.fromPointer(pointer), 'ERR_CUDA_INVALID_HANDLE');
    for (const wrong of [1, '1', null, undefined, {}]) {
      expectError(() => Stream.fromPointer(wrong as never), 'ERR_INVALID_ARG_TYPE', 'a bigint');
    }
    for (const wrong of [-1n, 2n ** 64n]) {
      expectError(() => Stream.fromPointer(wrong), 'ERR_OUT_OF_RANGE', 'from 0 to 2^64 - 1');
    }
    const buffer = new DeviceBuffer(1, 'float32');
    for (const wrong of [null, 1, {}, buffer, new CudaEvent()]) {
      const options = { stream: wrong as never };
      expectError(() => buffer.fill(0, options), 'ERR_INVALID_ARG_TYPE', 'a Stream');
    }
    buffer.dispose();
  });

  test('refuses every call after dispose()', async () => {
    const stream = new Stream();
    const event = new CudaEvent();
    stream[Symbol.dispose]();
    const code = 'ERR_DISPOSED';
    expectError(() => stream.pointer, code, "'stream' has been disposed of");
    expectError(() => stream.query(), code);
    expectError(() => {
      stream.synchronize();
    }, code);
    expectError(() => {
      stream.wait(event);
    }, code);
    expectError(() => {
      event.record(stream);
    }, code);
    expectError(() => DeviceBuffer.from(Float32Array.of(1), { stream }), code);
    await expectRejection(stream.synchronizeAsync(), code);
    event.dispose();
  });
});

onGpu('a CudaEvent', () => {
  test('has passed when the work before it has run', async () => {
    const stream = new Stream();
    const event = new CudaEvent();
    const host = new HostBuffer(elements, 'float32');
    const buffer = new DeviceBuffer(elements, 'float32');
    expect(event.query()).toBe(true);
    for (let i = 0; i < 10; ++i) {
      buffer.fill(i, { stream });
      buffer.copyTo(host, { stream });
      event.record(stream);
      buffer.fill(-1, { stream });
      if (i % 3 === 0) event.synchronize();
      else if (i % 3 === 1) await event.synchronizeAsync();
      else while (!event.query());
      expectBytes(host.array, new Float32Array(elements).fill(i));
    }
    for (const each of [stream, event, host, buffer]) each.dispose();
  });

  test('settles its promise even if it and its stream are disposed of', async () => {
    const stream = new Stream();
    const event = new CudaEvent();
    event.record(stream);
    const passed = event.synchronizeAsync();
    event.dispose();
    stream.dispose();
    await passed;
  });

  test('measures the time to another event', () => {
    const stream = new Stream();
    const [begin, end, untimed] = [
      new CudaEvent(),
      new CudaEvent(),
      new CudaEvent({ timing: false }),
    ];
    const buffer = new DeviceBuffer(elements, 'float32');
    const code = 'ERR_INVALID_STATE';
    begin.record(stream);
    untimed.record(stream);
    expectError(() => begin.elapsed(end), code, 'recorded');
    buffer.fill(0, { stream });
    end.record(stream);
    expectError(() => begin.elapsed(untimed), code, 'timing');
    end.synchronize();
    expect(begin.elapsed(end)).toBeGreaterThanOrEqual(0);
    expectError(() => begin.elapsed({} as never), 'ERR_INVALID_ARG_TYPE', 'a CudaEvent');
    for (const each of [stream, begin, end, untimed, buffer]) each.dispose();
  });

  test('refuses wrong arguments, and every call after dispose()', async () => {
    const stream = new Stream();
    const [event, other] = [new CudaEvent(), new CudaEvent()];
    for (const wrong of [null, undefined, 1, {}, stream]) {
      const wait = () => {
        stream.wait(wrong as never);
      };
      expectError(wait, 'ERR_INVALID_ARG_TYPE', 'a CudaEvent');
    }
    expectError(() => new CudaEvent({ timing: 1 as never }), 'ERR_INVALID_ARG_TYPE', 'a boolean');
    expectError(
      () => new CudaEvent({ time: true } as never),
      'ERR_INVALID_ARG_VALUE',
      "Unknown option 'time'. The options are device, timing",
    );
    event[Symbol.dispose]();
    event.dispose();
    const code = 'ERR_DISPOSED';
    expectError(() => event.query(), code);
    expectError(() => event.elapsed(other), code);
    expectError(() => other.elapsed(event), code);
    expectError(() => {
      event.record(stream);
    }, code);
    expectError(() => {
      event.synchronize();
    }, code);
    expectError(() => {
      stream.wait(event);
    }, code);
    await expectRejection(event.synchronizeAsync(), code);
    for (const each of [stream, other]) each.dispose();
  });
});

onGpus('streams of two GPUs', () => {
  test('wait for each other', async () => {
    const array = countingArray('float32', elements);
    const streams = [new Stream({ device: 'cuda:0' }), new Stream({ device: 'cuda:1' })] as const;
    const event = new CudaEvent({ device: 'cuda:0' });
    const from = new DeviceBuffer(elements, 'float32', { device: 'cuda:0' });
    const to = new DeviceBuffer(elements, 'float32', { device: 'cuda:1' });
    from.copyFrom(array, { stream: streams[0] });
    event.record(streams[0]);
    streams[1].wait(event);
    to.copyFrom(from, { stream: streams[1] });
    expectBytes(await to.toHostAsync({ stream: streams[1] }), array);
    for (const each of [...streams, event, from, to]) each.dispose();
  });

  test('cannot be used for each other', () => {
    const stream = new Stream({ device: 'cuda:1' });
    const buffer = new DeviceBuffer(1, 'float32');
    const event = new CudaEvent();
    const code = 'ERR_INVALID_ARG_VALUE';
    expectError(() => buffer.fill(0, { stream }), code, "on 'cuda:0'");
    expectError(
      () => {
        event.record(stream);
      },
      code,
      "on 'cuda:0'",
    );
    const other = new CudaEvent({ device: 'cuda:1' });
    Stream.default().synchronize();
    event.record();
    other.record(stream);
    expectError(() => event.elapsed(other), code, 'on the same device');
    for (const each of [stream, buffer, event, other]) each.dispose();
  });

  test('include one default stream for each device', () => {
    expect(Stream.default('cuda:1')).not.toBe(Stream.default('cuda:0'));
    expect(Stream.default('cuda:1').device).toBe('cuda:1');
    expectError(() => Stream.default('cuda:99'), 'ERR_INVALID_ARG_VALUE', "'cuda:0'");
  });
});
