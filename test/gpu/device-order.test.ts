// Work on several streams, which a simulated GPU runs in any order that events allow. With events,
// results are the same under every seed; without them they are not.

import { hasSimulator, printedBy, simulator } from '../support/processes';

jest.setTimeout(120_000); // processes take long to start on a busy machine

const onSimulator = hasSimulator ? describe : describe.skip;

/**
 * Three streams, each with its own slice of the buffers. In every round, each stream fills its slice
 * and copies the slice of the next stream, which must hold the elements of this round. `meet` makes
 * every stream wait for all streams. Prints the number of wrong elements.
 */
const program = (meets: boolean, body = 'rounds();') => `
  const { DeviceBuffer, Stream, CudaEvent, Graph } = lib;
  const [slices, count, length] = [3, 6, 64];
  const streams = Array.from({ length: slices }, () => new Stream());
  const buffer = (slices) => new DeviceBuffer(slices * length, 'float32').fill(-1);
  const slice = (of, i) => of.subarray(i * length, (i + 1) * length);
  const [x, y, log] = [buffer(slices), buffer(slices), buffer(slices * count)];
  Stream.default().synchronize();
  const meet = () => {
    if (!${meets}) return;
    const recorded = streams.map((stream) => {
      const event = new CudaEvent({ timing: false });
      event.record(stream);
      return event;
    });
    for (const stream of streams) for (const event of recorded) stream.wait(event);
    for (const event of recorded) event.dispose();
  };
  const rounds = () => {
    for (let round = 0; round < count; ++round) {
      streams.forEach((stream, i) => slice(x, i).fill(10 * round + i, { stream }));
      meet();
      streams.forEach((stream, i) => {
        slice(y, i).copyFrom(slice(x, (i + 1) % slices), { stream });
        slice(log, slices * round + i).copyFrom(slice(y, i), { stream });
      });
      meet();
    }
  };
  ${body}
  for (const stream of streams) stream.synchronize();
  const wrong = log.toHost().filter((value, i) => {
    const [round, at] = [Math.floor(i / length / slices), Math.floor(i / length) % slices];
    return value !== 10 * round + ((at + 1) % slices);
  });
  print(wrong.length);
`;

const seeds = [1, 2, 3, 4, 5, 6];

async function wrongElements(text: string): Promise<unknown[]> {
  const counts = seeds.map(async (seed) => {
    const [count] = await printedBy(text, {
      RMSNORM_LIBCUDA: simulator,
      CUDASIM_SEED: String(seed),
      CUDASIM_PATIENCE_US: 'never',
    });
    return count;
  });
  return Promise.all(counts);
}

onSimulator('on a simulated GPU', () => {
  test('streams that wait for events run in one order', async () => {
    expect(await wrongElements(program(true))).toEqual(seeds.map(() => 0));
  });

  test('a graph keeps the order of the streams that it was captured from', async () => {
    const body = `
      const graph = Graph.capture(streams[0], () => {
        const begin = new CudaEvent();
        begin.record(streams[0]);
        for (const stream of streams.slice(1)) stream.wait(begin);
        rounds();
      });
      graph.launch(streams[1]);
    `;
    expect(await wrongElements(program(true, body))).toEqual(seeds.map(() => 0));
  });

  test('forward and backward may alternate on two streams', async () => {
    const text = `
      const { DeviceBuffer, Stream, CudaEvent, rmsNorm } = lib;
      const [rows, hiddenSize] = [20, 50];
      const values = (length, step) => Float32Array.from({ length }, (_, i) => Math.sin(i * step));
      const [one, two] = [new Stream(), new Stream()];
      const meet = (from, to) => {
        const event = new CudaEvent({ timing: false });
        event.record(from);
        to.wait(event);
        event.dispose();
      };
      const onDevice = (array, stream) => DeviceBuffer.from(array, { stream });
      const weight = values(hiddenSize, 3);
      const deviceWeight = onDevice(weight, one);
      const [x, y, dx] = [0, 1, 2].map(() => new DeviceBuffer(rows * hiddenSize, 'float32'));
      const rstd = new DeviceBuffer(rows, 'float32');
      const same = (buffer, array) => Buffer.from(buffer.toHost().buffer).equals(Buffer.from(array.buffer));
      const rounds = [];
      for (let round = 1; round <= 6; ++round) {
        const array = values(rows * hiddenSize, round);
        x.copyFrom(array, { stream: one });
        rmsNorm.forward(x, deviceWeight, { out: y, rstdOut: rstd, stream: one });
        meet(one, two);
        const { dweight } = rmsNorm.backward(y, x, deviceWeight, rstd, { dxOut: dx, stream: two });
        const copy = new DeviceBuffer(dx.length, 'float32');
        copy.copyFrom(dx, { stream: two });
        rounds.push({ array, copy, dweight });
        meet(two, one);
      }
      two.synchronize();
      const wrong = rounds.filter(({ array, copy, dweight }) => {
        const { y, rstd } = rmsNorm.forward(array, weight, { device: 'cpu' });
        const expected = rmsNorm.backward(y, array, weight, rstd, { device: 'cpu' });
        return !same(copy, expected.dx) || !same(dweight, expected.dweight);
      });
      print(wrong.length);
    `;
    expect(await wrongElements(text)).toEqual(seeds.map(() => 0));
  });

  test('streams that do not wait run in varying orders', async () => {
    const counts = await wrongElements(program(false));
    expect(counts.every((count) => Number(count) > 0)).toBe(true);
    expect(new Set(counts).size).toBeGreaterThan(1);
  });
});
