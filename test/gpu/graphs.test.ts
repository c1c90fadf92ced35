// Work that is captured into a graph, and launched.

import { CudaEvent, DeviceBuffer, Graph, HostBuffer, Stream } from '../../lib';
import {
  countingArray,
  expectBytes,
  expectError,
  expectRejection,
  onGpu,
  onGpus,
} from '../support/gpu';

const elements = 500;
const filled = (value: number) => new Float32Array(elements).fill(value);

onGpu('a Graph', () => {
  test('runs when it is launched, not when it is captured', async () => {
    const stream = new Stream();
    const input = new HostBuffer(elements, 'float32');
    const [a, b] = [new DeviceBuffer(elements, 'float32'), new DeviceBuffer(elements, 'float32')];
    b.fill(7, { stream });
    const graph = Graph.capture(stream, () => {
      a.copyFrom(input, { stream });
      b.copyFrom(a, { stream });
    });
    expect(graph.device).toBe('cuda:0');
    input.array.fill(1);
    expectBytes(b.toHost({ stream }), filled(7));
    for (let i = 2; i < 6; ++i) {
      input.array.fill(i);
      graph.launch(stream);
      await stream.synchronizeAsync();
      expectBytes(b.toHost({ stream }), filled(i));
    }
    for (const each of [graph, stream, input, a, b]) each.dispose();
  });

  test('copies arrays as they were during the capture', () => {
    const stream = new Stream();
    const array = countingArray('float32', elements);
    const buffer = new DeviceBuffer(elements, 'float32');
    const graph = Graph.capture(stream, () => {
      buffer.copyFrom(array, { stream });
    });
    const expected = array.slice();
    array.fill(0);
    buffer.fill(0, { stream });
    graph.launch(stream);
    expectBytes(buffer.toHost({ stream }), expected);
    for (const each of [graph, stream, buffer]) each.dispose();
  });

  test('keeps its memory, and lives until its launches are done', async () => {
    const stream = new Stream();
    const array = countingArray('float32', elements);
    const result = new HostBuffer(elements, 'float32');
    const [a, b] = [new DeviceBuffer(elements, 'float32'), new DeviceBuffer(elements, 'float32')];
    const graph = Graph.capture(stream, () => {
      a.copyFrom(array, { stream });
      b.copyFrom(a, { stream });
      b.copyTo(result, { stream });
    });
    a.dispose();
    b.dispose();
    const others = Array.from({ length: 8 }, () => new DeviceBuffer(elements, 'float32').fill(9));
    graph.launch(stream);
    graph.dispose();
    graph.dispose();
    await stream.synchronizeAsync();
    expectBytes(result.array, array);
    for (const each of [stream, result, ...others]) each.dispose();
  });

  test('can be launched on any stream of its device', () => {
    const stream = new Stream();
    const buffer = new DeviceBuffer(elements, 'float32').fill(0);
    const graph = Graph.capture(stream, () => buffer.fill(3, { stream }));
    Stream.default().synchronize();
    stream.dispose();
    graph.launch();
    expectBytes(buffer.toHost(), filled(3));
    for (const each of [graph, buffer]) each.dispose();
  });

  test('includes streams that wait for the captured one', () => {
    const [stream, other] = [new Stream(), new Stream()];
    const [fork, join] = [new CudaEvent(), new CudaEvent()];
    const [a, b] = [new DeviceBuffer(elements, 'float32'), new DeviceBuffer(elements, 'float32')];
    a.fill(0, { stream });
    b.fill(0, { stream: other });
    const graph = Graph.capture(stream, () => {
      a.fill(1, { stream });
      fork.record(stream);
      other.wait(fork);
      b.copyFrom(a, { stream: other });
      expectError(() => other.query(), 'ERR_INVALID_STATE', 'being captured');
      join.record(other);
      stream.wait(join);
    });
    stream.synchronize();
    expectBytes(b.toHost({ stream: other }), filled(0));
    expectError(() => fork.query(), 'ERR_INVALID_STATE', 'during a capture');
    expectError(
      () => {
        other.wait(fork);
      },
      'ERR_INVALID_STATE',
      'has ended',
    );
    graph.launch(stream);
    expectBytes(b.toHost({ stream }), filled(1));
    for (const each of [graph, stream, other, fork, join, a, b]) each.dispose();
  });

  test('is refused unless its stream waits for every stream that takes part', () => {
    const [stream, other] = [new Stream(), new Stream()];
    const fork = new CudaEvent();
    const buffer = new DeviceBuffer(elements, 'float32');
    const capture = () =>
      Graph.capture(stream, () => {
        fork.record(stream);
        other.wait(fork);
        buffer.fill(1, { stream: other });
      });
    expectError(capture, 'ERR_CUDA_STREAM_CAPTURE_UNJOINED');
    buffer.fill(2, { stream: other }); // both streams work as before
    other.synchronize();
    expectBytes(buffer.toHost({ stream }), filled(2));
    for (const each of [stream, other, fork, buffer]) each.dispose();
  });

  test('refuses every wait during its capture', async () => {
    const stream = new Stream();
    const event = new CudaEvent();
    const buffer = new DeviceBuffer(elements, 'float32').fill(4);
    Stream.default().synchronize();
    const rejections: Promise<unknown>[] = [];
    const code = 'ERR_INVALID_STATE';
    const graph = Graph.capture(stream, () => {
      expectError(() => buffer.toHost({ stream }), code, 'being captured');
      expectError(() => {
        stream.synchronize();
      }, code);
      expectError(() => stream.query(), code);
      expectError(() => Graph.capture(stream, () => undefined), code);
      for (const promise of [
        stream.synchronizeAsync(),
        buffer.toHostAsync({ stream }),
        buffer.copyToAsync(new DeviceBuffer(elements, 'float32'), { stream }),
      ]) {
        rejections.push(expectRejection(promise, code));
      }
      event.record(stream);
      expectError(() => {
        event.synchronize();
      }, code);
      rejections.push(expectRejection(event.synchronizeAsync(), code));
    });
    await Promise.all(rejections);
    graph.launch(stream);
    expectBytes(buffer.toHost({ stream }), filled(4));
    for (const each of [graph, stream, event, buffer]) each.dispose();
  });

  test('passes on what the callback throws, and abandons the capture', () => {
    const stream = new Stream();
    const buffer = new DeviceBuffer(elements, 'float32').fill(5);
    Stream.default().synchronize();
    const failure = new Error('of the callback');
    const capture = () =>
      Graph.capture(stream, () => {
        buffer.fill(6, { stream });
        throw failure;
      });
    expect(capture).toThrow(failure);
    stream.synchronize();
    expectBytes(buffer.toHost({ stream }), filled(5));
    expectError(
      () => Graph.capture(stream, () => Promise.resolve()),
      'ERR_INVALID_ARG_TYPE',
      'a synchronous function',
    );
    expect(stream.query()).toBe(true);
    for (const each of [stream, buffer]) each.dispose();
  });

  test('is refused if its stream is disposed of during the capture', () => {
    const stream = new Stream();
    const buffer = new DeviceBuffer(elements, 'float32');
    const capture = () =>
      Graph.capture(stream, () => {
        buffer.fill(6, { stream });
        stream.dispose();
      });
    expectError(capture, 'ERR_DISPOSED');
    buffer.dispose();
  });

  test('may contain no work', () => {
    const stream = new Stream();
    const graph = Graph.capture(stream, () => undefined);
    graph.launch(stream);
    stream.synchronize();
    for (const each of [graph, stream]) each.dispose();
  });

  test('cannot be launched during a capture', () => {
    const stream = new Stream();
    const graph = Graph.capture(stream, () => undefined);
    const launch = () =>
      Graph.capture(stream, () => {
        graph.launch(stream);
      });
    expectError(launch, 'ERR_INVALID_STATE');
    for (const each of [graph, stream]) each.dispose();
  });

  test('refuses wrong arguments, and launches after dispose()', () => {
    const stream = new Stream();
    const graph = Graph.capture(stream, () => undefined);
    graph[Symbol.dispose]();
    expectError(() => {
      graph.launch(stream);
    }, 'ERR_DISPOSED');
    expectError(() => Graph.capture(stream, null as never), 'ERR_INVALID_ARG_TYPE', 'a function');
    expectError(() => Graph.capture({} as never, () => 0), 'ERR_INVALID_ARG_TYPE', 'a Stream');
    expectError(() => new (Graph as never as new () => Graph)(), 'ERR_INVALID_ARG_TYPE');
    stream.dispose();
    expectError(() => Graph.capture(stream, () => 0), 'ERR_DISPOSED');
  });
});

onGpus('graphs of two GPUs', () => {
  test('cannot be launched on the other GPU', () => {
    const stream = new Stream();
    const graph = Graph.capture(stream, () => undefined);
    expectError(
      () => {
        graph.launch(Stream.default('cuda:1'));
      },
      'ERR_INVALID_ARG_VALUE',
      "on 'cuda:0'",
    );
    for (const each of [graph, stream]) each.dispose();
  });
});
