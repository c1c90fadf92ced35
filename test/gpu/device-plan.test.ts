// Plans of calls on memory of a GPU.

import { createPlan, DeviceBuffer, rmsNorm, Stream } from '../../lib';
import { makeCase } from '../support/cases';
import { expectBytes, expectError, onGpu, onGpus } from '../support/gpu';

const c = makeCase({ dtype: 'float32', rows: 20, hiddenSize: 100, weightOffset: 1 });
const { rows, hiddenSize, residual, dsum } = c;
const { weightOffset } = c.options;
const x = c.x as Float32Array;
const dy = c.dy as Float32Array;
const weight = c.weight as Float32Array;
const empty = (length: number) => new DeviceBuffer(length, 'float32');

onGpu('a plan on a GPU', () => {
  test('gives the bits of the CPU on its stream', async () => {
    const stream = new Stream();
    const on = (array: ArrayBufferView) => DeviceBuffer.from(array as Float32Array, { stream });
    const plan = createPlan({ rows, weight: on(weight), weightOffset, stream });
    const [y, sum, rstd, dx, dweight] = [x.length, x.length, rows, x.length, hiddenSize].map(empty);
    plan.forward(on(x), y as DeviceBuffer, rstd, on(residual), sum);
    const expected = rmsNorm.forward(x, weight, { weightOffset, residual });
    expectBytes((y as DeviceBuffer).toHost({ stream }), expected.y);
    expectBytes((sum as DeviceBuffer).toHost({ stream }), expected.sum);
    expectBytes((rstd as DeviceBuffer).toHost({ stream }), expected.rstd);

    plan.backward(on(dy), on(x), null, dx as DeviceBuffer, dweight as DeviceBuffer, on(dsum));
    const gradients = rmsNorm.backward(dy, x, weight, null, { weightOffset, dsum });
    expectBytes(await (dx as DeviceBuffer).toHostAsync({ stream }), gradients.dx);
    expectBytes(await (dweight as DeviceBuffer).toHostAsync({ stream }), gradients.dweight);
  });

  test('works without a weight if its device is named', () => {
    const plan = createPlan({ rows, hiddenSize, device: 'cuda' });
    const y = empty(x.length);
    plan.forward(DeviceBuffer.from(x), y);
    expectBytes(y.toHost(), rmsNorm(x, null, { normalizedShape: hiddenSize }));
  });

  test('owns outputs on its device and uses them in turn', async () => {
    const stream = new Stream();
    const on = (array: ArrayBufferView) => DeviceBuffer.from(array as Float32Array, { stream });
    const plan = createPlan({ rows, weight: on(weight), weightOffset, stream, accumulate: true });
    const y = rmsNorm(x, weight, { weightOffset });
    const results = [plan.run(on(x)), await plan.runAsync(on(x)), plan.run(on(x))];
    for (const result of results) expectBytes(result.toHost({ stream }), y);
    expect(results[2]).toBe(results[0]);
    expect(results[1]).not.toBe(results[0]);
    expect(results[0]?.device).toBe('cuda:0');

    const expected = rmsNorm.backward(dy, x, weight, null, { weightOffset });
    for (let i = 1; i < 4; ++i) {
      const { dx, dweight } = plan.runBackward(on(dy), on(x), null);
      expectBytes(dx.toHost({ stream }), expected.dx);
      // The sum of i calls, each of which adds in float32.
      const sum = expected.dweight.map((value) =>
        Array.from({ length: i - 1 }).reduce<number>((s) => Math.fround(s + value), value),
      );
      expectBytes(dweight.toHost({ stream }), sum);
    }
  });

  test('still works after its results have been disposed of', async () => {
    const plan = createPlan({ rows, weight: DeviceBuffer.from(weight), outputs: 1 });
    const on = DeviceBuffer.from(x);
    const y = rmsNorm(x, weight);
    const gradients = rmsNorm.backward(x, x, weight);
    for (let i = 0; i < 3; ++i) {
      const results = [plan.run(on), plan.runBackward(on, on, null).dweight];
      expectBytes(results[0]?.toHost() as Float32Array, y);
      expectBytes(results[1]?.toHost() as Float32Array, gradients.dweight);
      for (const result of results) result.dispose();
      const later = await plan.runAsync(on);
      expectBytes(later.toHost(), y);
      later.dispose();
    }
  });

  test('refuses disposed objects and tensors of another device or kind', () => {
    const on = DeviceBuffer.from(weight);
    const plan = createPlan({ rows: 1, weight: on });
    const y = empty(hiddenSize);
    const refuses = (call: () => void, code: string, text: string) => {
      expectError(call, code, text);
    };
    refuses(
      () => {
        plan.forward(y, weight as never);
      },
      'ERR_INVALID_ARG_TYPE',
      "'out' must be a DeviceBuffer",
    );
    refuses(
      () => {
        plan.forward(y, empty(1));
      },
      'ERR_OUT_OF_RANGE',
      "'out' must have 100 elements",
    );
    refuses(
      () => {
        plan.forward({} as never, y);
      },
      'ERR_INVALID_ARG_TYPE',
      "'x'",
    );
    const host = createPlan({ rows: 1, weight });
    refuses(
      () => {
        host.forward(y as never, weight);
      },
      'ERR_INVALID_ARG_TYPE',
      "'x'",
    );
    on.dispose();
    refuses(
      () => {
        plan.forward(y, y);
      },
      'ERR_DISPOSED',
      "'weight'",
    );

    const stream = new Stream();
    const streamed = createPlan({ rows: 1, hiddenSize, stream, device: 'cuda' });
    stream.dispose();
    refuses(
      () => {
        streamed.forward(y, y);
      },
      'ERR_DISPOSED',
      "'stream'",
    );
    refuses(() => createPlan({ rows, weight, stream }), 'ERR_INVALID_ARG_VALUE', "'stream'");
  });

  test('refuses a weight that is not on the device of the option', () => {
    const refuses = (options: object, text: string) => {
      expectError(() => createPlan({ rows, ...options }), 'ERR_INVALID_ARG_VALUE', text);
    };
    const onDevice = "'weight' must be a DeviceBuffer on 'cuda:0', where the plan runs. Received ";
    const onHost = "'weight' must be an array on the CPU, where the plan runs. Received ";
    refuses({ weight, device: 'cuda' }, `${onDevice}Float32Array(100)`);
    refuses({ weight, device: 'cuda:0' }, `${onDevice}Float32Array(100)`);
    refuses({ weight: DeviceBuffer.from(weight), device: 'cpu' }, `${onHost}DeviceBuffer {`);
  });
});

onGpus('plans on several GPUs', () => {
  test('refuse buffers of another GPU', () => {
    const there = new DeviceBuffer(hiddenSize, 'float32', { device: 'cuda:1' });
    expectError(
      () => createPlan({ rows: 1, weight: there, device: 'cuda:0' }),
      'ERR_INVALID_ARG_VALUE',
      "'weight' must be a DeviceBuffer on 'cuda:0', where the plan runs",
    );
    const plan = createPlan({ rows: 1, hiddenSize, device: 'cuda:0' });
    expectError(() => {
      plan.forward(there, there);
    }, 'ERR_INVALID_ARG_VALUE');
  });
});
