// Rows with a gate on a GPU: buffers, arrays and graphs give the bits of the CPU.

import { DeviceBuffer, Graph, rmsNorm, Stream, type DeviceDType, type GateOrder } from '../../lib';
import { makeCase, type WeightKind } from '../support/cases';
import { deviceDTypes, onGpu } from '../support/gpu';
import { expectSameBits, type HostArray } from '../support/support';

interface Shape {
  readonly rows: number;
  readonly hiddenSize: number;
}

/** Rows of one warp, of several warps, and rows too long for a block. */
const shapes: readonly Shape[] = [
  { rows: 0, hiddenSize: 8 },
  { rows: 3, hiddenSize: 1 },
  { rows: 40, hiddenSize: 128 },
  { rows: 17, hiddenSize: 111 },
  { rows: 2, hiddenSize: 4096 },
  { rows: 2, hiddenSize: 70_001 },
];

const orders: readonly GateOrder[] = ['after-norm', 'before-norm'];

const cases = shapes.flatMap((shape, s) =>
  deviceDTypes.flatMap((dtype, d) =>
    orders.map((gateOrder, o) => {
      const weightKind = (['none', 'same', 'float32'] as const)[(s + d + o) % 3] as WeightKind;
      const castOrder = (s + o) % 2 === 0 ? 'llama' : 'float';
      return { ...shape, dtype, gateOrder, weightKind, castOrder } as const;
    }),
  ),
);

const upload = (array: HostArray, dtype: DeviceDType, stream?: Stream): DeviceBuffer =>
  DeviceBuffer.from(array, {
    dtype: array instanceof Float32Array ? 'float32' : dtype,
    ...(stream && { stream }),
  });

/** A case whose gate has the values of dsum. */
function gatedCase(of: Shape & { dtype: DeviceDType; weightKind?: WeightKind }) {
  const made = makeCase({ weightKind: 'same', ...of });
  return { ...made, gate: made.dsum };
}

onGpu('with a gate on a GPU', () => {
  test.each(cases)(
    '$rows x $hiddenSize $dtype, $gateOrder, weight $weightKind, $castOrder equal the CPU',
    ({ dtype, gateOrder, castOrder, ...of }) => {
      const c = gatedCase({ dtype, ...of });
      const { x, dy, weight, gate, residual } = c;
      const options = { ...c.options, gateOrder, castOrder };
      const [onX, onDy, onGate] = [x, dy, gate].map((array) => upload(array, dtype)) as [
        DeviceBuffer,
        DeviceBuffer,
        DeviceBuffer,
      ];
      const onWeight = weight && upload(weight, dtype);
      const expected = rmsNorm.forward(x, weight, { ...options, gate });
      const actual = rmsNorm.forward(onX, onWeight, { ...options, gate: onGate });
      expectSameBits(actual.y.toHost(), expected.y);
      expectSameBits(actual.rstd.toHost(), expected.rstd);
      const copied = rmsNorm.forward(x, weight, { ...options, gate, device: 'cuda' });
      expectSameBits(copied.y, expected.y);

      const summed = rmsNorm.forward(x, weight, { ...options, gate, residual });
      const onResidual = upload(residual, dtype);
      const onSum = rmsNorm.forward(onX, onWeight, {
        ...options,
        gate: onGate,
        residual: onResidual,
      });
      expectSameBits(onSum.y.toHost(), summed.y);
      expectSameBits(onSum.sum.toHost(), summed.sum);

      for (const rstd of [null, actual.rstd]) {
        const back = rmsNorm.backward(dy, x, weight, null, { ...options, gate, dsum: residual });
        const onBack = rmsNorm.backward(onDy, onX, onWeight, rstd, {
          ...options,
          gate: onGate,
          dsum: onResidual,
        });
        expectSameBits(onBack.dx.toHost(), back.dx);
        expectSameBits(onBack.dgate.toHost(), back.dgate);
        expectSameBits(onBack.dweight?.toHost() ?? null, back.dweight);
      }
      const back = rmsNorm.backward(dy, x, weight, null, { ...options, gate });
      const copiedBack = rmsNorm.backward(dy, x, weight, null, {
        ...options,
        gate,
        device: 'cuda',
      });
      expectSameBits(copiedBack.dx, back.dx);
      expectSameBits(copiedBack.dgate, back.dgate);
      expectSameBits(copiedBack.dweight, back.dweight);
    },
  );

  test.each(orders)('%s: in-place outputs, dweight alone and codes equal the CPU', (gateOrder) => {
    for (const dtype of deviceDTypes) {
      const { x, dy, weight, gate } = gatedCase({ dtype, rows: 12, hiddenSize: 100 });
      const options = { dtype, gateOrder } as const;
      const back = rmsNorm.backward(dy, x, weight, null, { ...options, gate });
      const [onX, onDy, onGate] = [x, dy, gate].map((array) => upload(array, dtype)) as [
        DeviceBuffer,
        DeviceBuffer,
        DeviceBuffer,
      ];
      const onWeight = weight && upload(weight, dtype);
      const alone = rmsNorm.backward(onDy, onX, onWeight, null, {
        ...options,
        gate: onGate,
        needsDx: false,
      });
      expectSameBits(alone.dweight?.toHost() ?? null, back.dweight);

      const codes = rmsNorm.forward(x, weight, { ...options, gate, quantize: 'int8' });
      const onCodes = rmsNorm.forward(onX, onWeight, {
        ...options,
        gate: onGate,
        quantize: 'int8',
      });
      expect(onCodes.y.toHost()).toEqual(codes.y);
      expect(onCodes.scale.toHost()).toEqual(codes.scale);

      const result = rmsNorm.backward(onDy, onX, onWeight, null, {
        ...options,
        gate: onGate,
        dgateOut: onGate,
        dxOut: onDy,
      });
      expect(result.dgate).toBe(onGate);
      expectSameBits(onDy.toHost(), back.dx);
      expectSameBits(onGate.toHost(), back.dgate);
    }
  });

  test('a graph replays forward and backward', () => {
    using stream = new Stream();
    const made = gatedCase({ dtype: 'bfloat16', rows: 20, hiddenSize: 512 });
    const { x, dy, weight, gate } = made;
    const [onX, onDy, onGate, onWeight] = [x, dy, gate, weight as HostArray].map((array) =>
      upload(array, 'bfloat16', stream),
    ) as [DeviceBuffer, DeviceBuffer, DeviceBuffer, DeviceBuffer];
    const y = new DeviceBuffer(x.length, 'bfloat16');
    const dgate = new DeviceBuffer(x.length, 'bfloat16');
    const graph = Graph.capture(stream, () => {
      rmsNorm(onX, onWeight, { out: y, gate: onGate, stream });
      rmsNorm.backward(onDy, onX, onWeight, null, { gate: onGate, dgateOut: dgate, stream });
    });
    for (const z of [gate, dy, gate]) {
      onGate.copyFrom(z, { stream });
      graph.launch(stream);
      const options = { dtype: 'bfloat16', gate: z } as const;
      expectSameBits(y.toHost({ stream }), rmsNorm(x, weight, options));
      const back = rmsNorm.backward(dy, x, weight, null, options);
      expectSameBits(dgate.toHost({ stream }), back.dgate);
    }
    graph.dispose();
  });
});
