// Modules whose weight is in GPU memory: they compute on the GPU, with the bits of the CPU.

import {
  CudaEvent,
  DeviceBuffer,
  devices,
  rmsNorm,
  RMSNorm,
  Stream,
  type DeviceDType,
} from '../../lib';
import { makeCase } from '../support/cases';
import { expectRefusal, value } from '../support/refusals';
import { errorOf, expectSameBits } from '../support/support';

const describeOnGpu = devices().length > 0 ? describe : describe.skip;
const dtypes: readonly DeviceDType[] = ['float32', 'float16', 'bfloat16'];

describeOnGpu.each(dtypes)('%s', (dtype) => {
  const settings = { weightOffset: 1, castOrder: 'float' } as const;
  const c = makeCase({ dtype, rows: 5, hiddenSize: 96, ...settings });
  const onDevice = (array: unknown) => DeviceBuffer.from(array as Uint16Array, { dtype });
  const make = () => new RMSNorm(96, { ...settings, weight: onDevice(c.weight) });

  test('forward, vjp and backward have the bits of the CPU', async () => {
    const norm = make();
    const options = { ...c.options, residual: c.dy } as const;
    const expected = rmsNorm.forward(c.x, c.weight, options);
    const ofSum = { ...c.options, dsum: c.x, dweightOut: new Float32Array(96) };
    const { dx } = rmsNorm.backward(c.dy, expected.sum, c.weight, expected.rstd, ofSum);

    const [x, dy] = [onDevice(c.x), onDevice(c.dy)];
    const { y, sum, backward } = norm.vjp(x, { residual: dy });
    expectSameBits(y.toHost(), expected.y);
    expectSameBits(sum.toHost(), expected.sum);
    expectSameBits(norm.forward(x).toHost(), rmsNorm(c.x, c.weight, c.options));
    expectSameBits((await norm.async(x)).toHost(), rmsNorm(c.x, c.weight, c.options));
    const ofDevice: DeviceBuffer = backward(dy, { dsum: x });
    expectSameBits(ofDevice.toHost(), dx);
    const grad: DeviceBuffer<'float32'> | null = norm.weightGrad;
    expectSameBits(grad?.toHost() ?? null, ofSum.dweightOut);

    backward(dy, { dsum: x });
    const twice = ofSum.dweightOut.map((once) => once + once);
    expectSameBits(norm.weightGrad?.toHost() ?? null, twice);
    norm.zeroGrad();
    expect(norm.weightGrad).toBe(grad);
    expectSameBits(grad?.toHost() ?? null, new Float32Array(96));
  });

  test('the weight is the buffer of the option, also if the option is a tensor', () => {
    const weight = onDevice(c.weight);
    for (const option of [weight, { data: weight, dims: [96] }]) {
      const norm = new RMSNorm(96, { ...settings, weight: option });
      const buffer: DeviceBuffer = norm.weight;
      expect(buffer).toBe(weight);
      expect(norm).toMatchObject({ dtype, device: weight.device });
    }
  });

  test('calls are enqueued on the stream of the module', () => {
    using stream = new Stream();
    const norm = new RMSNorm(96, { ...settings, weight: onDevice(c.weight), stream });
    const x = onDevice(c.x);
    using event = new CudaEvent();
    event.record(Stream.default());
    stream.wait(event);
    const { y, backward } = norm.vjp(x);
    const dx = backward(x);
    const { rstd } = rmsNorm.forward(c.x, c.weight, c.options);
    expectSameBits(y.toHost({ stream }), rmsNorm(c.x, c.weight, c.options));
    const expected = rmsNorm.backward(c.x, c.x, c.weight, rstd, c.options);
    expectSameBits(dx.toHost({ stream }), expected.dx);
    norm.zeroGrad();
    expectSameBits(norm.weightGrad?.toHost({ stream }) ?? null, new Float32Array(96));
  });

  test('refuses other devices, in-place outputs of vjp and a disposed weight', () => {
    const weight = onDevice(c.weight);
    const error = errorOf(() => new RMSNorm(96, { weight, device: 'cpu' }));
    expectRefusal(error, [value, 'device', `'${weight.device}', the device of weight`, "'cpu'"]);
    const norm = make();
    expect(errorOf(() => norm.forward(c.x)).code).toBe('ERR_INVALID_ARG_TYPE');
    const inPlace = onDevice(c.x);
    const refusal = errorOf(() => norm.vjp(inPlace, { out: inPlace.subarray(0) }));
    expect(refusal.message).toContain("'out' must not share memory with x");
    weight.dispose();
    expect(errorOf(() => new RMSNorm(96, { weight }).forward(inPlace)).code).toBe('ERR_DISPOSED');
  });
});
