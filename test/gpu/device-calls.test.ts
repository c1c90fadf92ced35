// The operator on buffers of a GPU: it gives the bits of the CPU for every form of arguments. Also
// streams, graphs, workspaces and refused arguments.

import {
  DeviceBuffer,
  Graph,
  HostBuffer,
  rmsNorm,
  Stream,
  type DeviceDType,
  type RmsNormOptions,
} from '../../lib';
import { makeCase, type WeightKind } from '../support/cases';
import {
  deviceDTypes,
  expectError,
  expectRejection,
  onEachGpu,
  onGpu,
  onGpus,
} from '../support/gpu';
import { bits, floats, range, type, value } from '../support/refusals';
import { expectSameBits, type HostArray } from '../support/support';

interface Shape {
  readonly rows: number;
  readonly hiddenSize: number;
}

function caseOf(dtype: DeviceDType, shape: Shape, weightKind: WeightKind = 'same') {
  const made = makeCase({ dtype, weightKind, ...shape });
  return {
    ...made,
    x: made.x,
    dy: made.dy,
    weight: made.weight,
  };
}

type Case = ReturnType<typeof caseOf>;

const upload = (
  array: HostArray,
  dtype: DeviceDType,
  options: { device?: `cuda:${number}`; stream?: Stream } = {},
): DeviceBuffer =>
  DeviceBuffer.from(array, {
    ...options,
    dtype: array instanceof Float32Array ? 'float32' : dtype,
  });

/** The tensors of a case, on a GPU. */
function there(c: Case, dtype: DeviceDType, options: Parameters<typeof upload>[2] = {}) {
  return {
    x: upload(c.x, dtype, options),
    dy: upload(c.dy, dtype, options),
    weight: c.weight && upload(c.weight, dtype, options),
  };
}

const shapes: Shape[] = [
  { rows: 0, hiddenSize: 8 },
  { rows: 1, hiddenSize: 1 },
  { rows: 3, hiddenSize: 111 },
  { rows: 17, hiddenSize: 64 },
  { rows: 40, hiddenSize: 500 },
  { rows: 2, hiddenSize: 5125 },
];

/** Rows too long for one block, which need a workspace. */
const longRows: Shape = { rows: 2, hiddenSize: 70_001 };

onGpu('on buffers of a GPU', () => {
  onEachGpu('$device, $computeCapability', ({ device }) => {
    test.each(
      [...shapes, longRows].flatMap((shape) => deviceDTypes.map((dtype) => ({ ...shape, dtype }))),
    )('$rows x $hiddenSize of $dtype equal the CPU', ({ dtype, ...shape }) => {
      for (const weightKind of ['none', 'same', 'float32'] as const) {
        const c = caseOf(dtype, shape, weightKind);
        const on = there(c, dtype, { device });
        const options = { ...c.options, eps: 1e-5, weightOffset: weightKind === 'same' ? 1 : 0 };
        const expected = rmsNorm.forward(c.x, c.weight, options);
        const deviceOptions = { ...options, dtype };
        const actual = rmsNorm.forward(on.x, on.weight, deviceOptions);
        expect([actual.y.device, actual.y.dtype, actual.rstd.dtype]).toEqual([
          device,
          dtype,
          'float32',
        ]);
        expectSameBits(actual.y.toHost(), expected.y);
        expectSameBits(actual.rstd.toHost(), expected.rstd);
        expectSameBits(rmsNorm(on.x, on.weight, deviceOptions).toHost(), expected.y);
        for (const rstd of [null, actual.rstd]) {
          const expectedBack = rmsNorm.backward(c.dy, c.x, c.weight, null, options);
          const back = rmsNorm.backward(on.dy, on.x, on.weight, rstd, deviceOptions);
          expectSameBits(back.dx.toHost(), expectedBack.dx);
          expectSameBits(back.dweight?.toHost() ?? null, expectedBack.dweight);
        }
      }
    });
  });

  const shape = { rows: 12, hiddenSize: 96 };
  const c = caseOf('float32', shape);
  const weight = c.weight as HostArray;
  const expected = rmsNorm.forward(c.x, weight);

  test('a residual works with provided and in-place outputs', () => {
    for (const dtype of deviceDTypes) {
      const made = caseOf(dtype, shape);
      const options = { dtype, residual: made.dy };
      const sum = rmsNorm.forward(made.x, made.weight, options);
      const on = there(made, dtype);
      const y = new DeviceBuffer(made.x.length, dtype);
      const result = rmsNorm.forward(on.x, on.weight, {
        residual: on.dy,
        out: y,
        sumOut: on.dy,
      });
      expect(result.y).toBe(y);
      expect(result.sum).toBe(on.dy);
      expectSameBits(y.toHost(), sum.y);
      expectSameBits(on.dy.toHost(), sum.sum);
      const back = rmsNorm.backward(made.x, sum.sum, made.weight, sum.rstd, {
        dtype,
        dsum: made.x,
      });
      const { dx, dweight } = rmsNorm.backward(on.x, on.dy, on.weight, result.rstd, {
        dsum: on.x,
        dxOut: on.x,
      });
      expect(dx).toBe(on.x);
      expectSameBits(on.x.toHost(), back.dx);
      expectSameBits((dweight as DeviceBuffer).toHost(), back.dweight);
    }
  });

  test('gradients add up in dweightOut', () => {
    const on = there(c, 'float32');
    const dweight = new DeviceBuffer(96, 'float32').fill(0);
    const sum = floats(96);
    for (let i = 0; i < 3; ++i) {
      const options = { accumulate: true, needsDx: false } as const;
      rmsNorm.backward(on.dy, on.x, on.weight, null, { ...options, dweightOut: dweight });
      rmsNorm.backward(c.dy, c.x, weight, null, { ...options, dweightOut: sum });
    }
    expectSameBits(dweight.toHost(), sum);
  });

  test('views may begin at any element', () => {
    for (const lead of [1, 3, 5]) {
      const padded = new Float32Array(c.x.length + 8);
      padded.set(c.x, lead);
      const whole = DeviceBuffer.from(padded);
      const x = whole.subarray(lead, lead + c.x.length);
      rmsNorm(x, upload(weight, 'float32'), { out: x });
      padded.set(expected.y, lead);
      expectSameBits(whole.toHost(), padded);
    }
  });

  test('tensors may have dims and strides', () => {
    const on = there(c, 'float32');
    const y = rmsNorm({ data: on.x, dims: [3, 4, 96] }, on.weight);
    expect(y.dims).toEqual([3, 4, 96]);
    expectSameBits(y.data.toHost(), expected.y);
    // Reads every other row of one matrix, and writes every other row of another.
    const dims = [6, 96];
    const strides = [192, 1];
    const out = new DeviceBuffer(c.x.length, 'float32').fill(7);
    const result = rmsNorm({ data: on.x, dims, strides, offset: 96 }, on.weight, {
      out: { data: out, dims, strides },
    });
    expect(result.data).toBe(out);
    const target = { data: floats(c.x.length).fill(7), dims, strides };
    rmsNorm({ data: c.x, dims, strides, offset: 96 }, weight, { out: target });
    expectSameBits(out.toHost(), target.data);
  });

  test('calls are enqueued on the stream of the option', async () => {
    const stream = new Stream();
    const on = there(c, 'float32', { stream });
    const out = new DeviceBuffer(c.x.length, 'float32');
    const host = new HostBuffer(c.x.length, 'float32');
    for (let i = 0; i < 5; ++i) {
      out.fill(i, { stream });
      rmsNorm(on.x, on.weight, { out, stream });
      out.copyTo(host, { stream });
      out.fill(-1, { stream });
      await stream.synchronizeAsync();
      expectSameBits(host.array, expected.y);
    }
  });

  test('asynchronous calls resolve when the results are there', async () => {
    const stream = new Stream();
    const on = there(c, 'float32', { stream });
    const [y, { rstd }, { dx, dweight }] = await Promise.all([
      rmsNorm.async(on.x, on.weight, { stream }),
      rmsNorm.forwardAsync(on.x, on.weight, { stream }),
      rmsNorm.backwardAsync(on.dy, on.x, on.weight, null, { stream }),
    ]);
    const back = rmsNorm.backward(c.dy, c.x, weight, null);
    expectSameBits(y.toHost(), expected.y);
    expectSameBits(rstd.toHost(), expected.rstd);
    expectSameBits(dx.toHost(), back.dx);
    expectSameBits((dweight as DeviceBuffer).toHost(), back.dweight);
  });

  test('tensors may be disposed of as soon as a call returns', () => {
    const stream = new Stream();
    for (let i = 0; i < 20; ++i) {
      const on = there(c, 'float32', { stream });
      const y = rmsNorm(on.x, on.weight, { stream });
      const back = rmsNorm.backward(on.dy, on.x, on.weight, null, { stream });
      for (const each of [on.x, on.dy, on.weight, back.dx, back.dweight]) each?.dispose();
      expectSameBits(y.toHost({ stream }), expected.y);
    }
  });

  test('a graph replays forward and backward, also with a workspace', () => {
    for (const size of [shape, longRows]) {
      const made = caseOf('float32', size);
      const next = caseOf('float32', size, 'same');
      const stream = new Stream();
      const on = there(made, 'float32', { stream });
      const y = new DeviceBuffer(made.x.length, 'float32');
      let gradients: { dx: DeviceBuffer; dweight: DeviceBuffer } | undefined;
      const graph = Graph.capture(stream, () => {
        const { rstd } = rmsNorm.forward(on.x, on.weight, { out: y, stream });
        const { dx, dweight } = rmsNorm.backward(on.dy, on.x, on.weight, rstd, { stream });
        gradients = { dx, dweight: dweight as DeviceBuffer };
        rstd.dispose();
      });
      const { dx, dweight } = gradients as NonNullable<typeof gradients>;
      for (const { x, dy } of [made, { x: next.dy, dy: next.x }, made]) {
        on.x.copyFrom(x, { stream });
        on.dy.copyFrom(dy, { stream });
        graph.launch(stream);
        graph.launch(stream);
        const there = rmsNorm.forward(x, made.weight);
        const back = rmsNorm.backward(dy, x, made.weight, there.rstd);
        expectSameBits(y.toHost({ stream }), there.y);
        expectSameBits(dx.toHost({ stream }), back.dx);
        expectSameBits(dweight.toHost({ stream }), back.dweight);
      }
      graph.dispose();
    }
  });

  test('arguments that do not fit together are refused', async () => {
    const on = there(c, 'float32');
    const half = upload(bits(96), 'bfloat16');
    const rstd = new DeviceBuffer(12, 'float32');
    const [short, gone] = [new DeviceBuffer(95, 'float32'), new DeviceBuffer(96, 'float32')];
    gone.dispose();
    const host = new HostBuffer(c.x.length, 'float32');
    const forwards: [unknown, unknown, object, string, string][] = [
      [on.x, c.weight, {}, type, "'weight' must be a DeviceBuffer, since x is one"],
      [c.x, on.weight, {}, type, "'weight' must be an array, since x is one"],
      [on.x, on.weight, { out: c.x }, type, "'out' must be a DeviceBuffer"],
      [c.x, c.weight, { out: on.x }, type, "'out' must be an array"],
      [on.x, on.weight, { residual: c.x, sumOut: on.x }, type, "'residual' must be a Dev"],
      [on.x, half, {}, type, "'weight' must be"],
      [on.x, on.weight, { out: half }, type, "'out' must be"],
      [on.x, short, {}, range, 'whole rows of 95'],
      [on.x, on.weight, { out: short }, range, "'out' must have 1152 elements"],
      [on.x, on.weight, { device: 'cpu' }, value, "'cuda:0', the device of x"],
      [on.x, on.weight, { dtype: 'bfloat16' }, value, "'float32', the type of x"],
      [on.x, on.weight, { stream: {} }, type, 'a Stream'],
      [c.x, c.weight, { stream: Stream.default() }, value, 'unless x is a DeviceBuffer'],
      [on.x, gone, {}, 'ERR_DISPOSED', "'weight' has been disposed of"],
      [host, on.weight, {}, type, "'x' must be"],
      [{ data: on.x, dims: [2, 96] }, on.weight, {}, range, "'x.dims' must be"],
    ];
    for (const [x, w, options, code, text] of forwards) {
      const args = [x as DeviceBuffer, w as DeviceBuffer, options as RmsNormOptions] as const;
      expectError(() => rmsNorm(...args), code, text);
      await expectRejection(rmsNorm.async(...args), code, text);
    }
    const backwards: [unknown, unknown, object, string, string][] = [
      [c.dy, null, {}, type, "'dy' must be a DeviceBuffer"],
      [on.dy, floats(12), {}, type, "'rstd' must be a DeviceBuffer"],
      [on.dy, half, {}, type, "'rstd' must be"],
      [on.dy, rstd, { dxOut: c.x }, type, "'dxOut' must be a DeviceBuffer"],
      [on.dy, rstd, { dweightOut: floats(96) }, type, "'dweightOut' must be a DeviceBuffer"],
      [on.dy, rstd, { dweightOut: on.x.subarray(0, 96) }, value, 'must not overlap'],
      [on.dy, rstd, { dxOut: rstd }, range, 'have 1152 elements'],
    ];
    for (const [dy, rstd, options, code, text] of backwards) {
      const args = [dy as DeviceBuffer, on.x, on.weight, rstd as DeviceBuffer, options] as const;
      expectError(() => rmsNorm.backward(...args), code, text);
      await expectRejection(rmsNorm.backwardAsync(...args), code, text);
    }
    const overlapping = upload(c.x, 'float32');
    expectError(
      () =>
        rmsNorm(overlapping.subarray(0, 960), on.weight, { out: overlapping.subarray(96, 1056) }),
      value,
      'must not overlap',
    );
  });
});

onGpus('on buffers of two GPUs', () => {
  test('all tensors must be on the same GPU', () => {
    const make = (device: `cuda:${number}`) => DeviceBuffer.from(floats(8), { device });
    const [x, weight] = [make('cuda:0'), make('cuda:1')];
    expectError(() => rmsNorm(x, weight), value, "'weight' must be on 'cuda:0', the device of x");
    const stream = Stream.default('cuda:1');
    expectError(() => rmsNorm(x, x, { stream }), value, "on 'cuda:0'");
    expectError(() => rmsNorm(x, make('cuda:0'), { device: 'cuda:1' }), value, 'the device of x');
    expect(rmsNorm(weight, make('cuda:1'), { device: 'cuda:1' }).device).toBe('cuda:1');
  });
});
