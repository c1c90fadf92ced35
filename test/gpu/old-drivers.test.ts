// Drivers older than the compiler, and GPUs for which it makes no machine code. They run the kernels'
// PTX and give the bits of the CPU. Each simulated driver has its own process.

import { readdirSync } from 'node:fs';
import path from 'node:path';

import { readKernelFile } from '../../bench/environment/kernel-file';
import { hasSimulator, printedBy, runProgram, simulator } from '../support/processes';

const root = path.join(__dirname, '../..');
const onSimulator = hasSimulator ? describe : describe.skip;

/** The first CUDA whose drivers read the PTX of an architecture. */
const readBy: Readonly<Record<number, number>> = {
  75: 10000,
  80: 11000,
  90: 11080,
  100: 12070,
  120: 12080,
};

/** The architectures that the kernels have PTX for. */
function ptxOf(folder: string): readonly number[] {
  const [name = ''] = readdirSync(folder).filter((each) => each.endsWith('.fatbin'));
  return readKernelFile(path.join(folder, name)).ptx.architectures;
}

function expectedImage(driver: number, capability: string): string {
  const most = Number(capability.replace('.', ''));
  const read = ptxOf(path.join(root, 'build/cuda')).filter(
    (architecture) => architecture <= most && (readBy[architecture] ?? NaN) <= driver,
  );
  return `compute_${Math.max(...read)}`;
}

/** `compare` calls kernels on the GPU, and adds results that differ from the CPU's to `differences`. */
const compute = `
  const images = () => require(${JSON.stringify(path.join(root, 'lib/binding'))}).binding.cuda.loadedImages(0);
  const values = (length, step) => Float32Array.from({ length }, (_, i) => Math.sin(i * step));
  const bits = { float16: lib.toFloat16, bfloat16: lib.toBFloat16, float32: (array) => array };
  const both = (dtype, rows, size, device) => {
    const [x, dy, weight] = [0.1, 0.7, 3].map((step, i) =>
      bits[dtype](values(i < 2 ? rows * size : size, step)));
    const { y, rstd } = lib.rmsNorm.forward(x, weight, { dtype, device });
    const { dx, dweight } = lib.rmsNorm.backward(dy, x, weight, rstd, { dtype, device });
    const gated = lib.rmsNorm(x, weight, { dtype, device, gate: dy });
    return { y, rstd, dx, dweight, gated };
  };
  const same = (a, b) => Buffer.from(a.buffer).equals(Buffer.from(b.buffer));
  const differences = [];
  const compare = (dtype, rows, size) => {
    const [expected, actual] = ['cpu', 'cuda'].map((device) => both(dtype, rows, size, device));
    for (const name of Object.keys(expected)) {
      if (!same(expected[name], actual[name])) differences.push([dtype, rows, size, name]);
    }
  };
`;

const environmentOf = (driver: number, capability: string) => ({
  RMSNORM_LIBCUDA: simulator,
  CUDASIM_DRIVER_VERSION: String(driver),
  CUDASIM_CC: capability,
});

onSimulator('a driver', () => {
  test.each([
    ...[
      [11000, '7.5'],
      [11000, '8.0'],
      [11000, '9.0'],
      [11040, '8.6'],
      [12020, '7.5'],
      [12020, '8.9'],
      [12020, '9.0'],
      [13000, '8.0'],
    ],
    // GPUs without machine code: Jetson Orin, Jetson Thor, and a future GPU.
    ...[
      [13000, '8.7'],
      [13000, '11.0'],
      [13000, '15.0'],
    ],
  ] as [number, string][])(
    'of CUDA %d with a GPU of %s computes as the CPU does',
    async (driver, capability) => {
      const program = `
        ${compute}
        for (const dtype of ['float32', 'float16', 'bfloat16']) {
          for (const [rows, size] of [[40, 96], [17, 1023], [2, 8192], [2, 40000]]) {
            compare(dtype, rows, size);
          }
        }
        const stream = new lib.Stream();
        const x = lib.DeviceBuffer.from(values(256, 0.3));
        const y = new lib.DeviceBuffer(256, 'float32');
        lib.Stream.default().synchronize();
        const graph = lib.Graph.capture(stream, () => {
          lib.rmsNorm(x, null, { out: y, normalizedShape: [64], stream });
        });
        graph.launch(stream);
        stream.synchronize();
        const captured = same(y.toHost(), lib.rmsNorm(values(256, 0.3), null, { normalizedShape: [64] }));
        print([differences, captured, images()]);
      `;
      const printed = await printedBy(program, environmentOf(driver, capability));
      const [[differences, captured, images]] = printed as [
        [unknown[], boolean, { file: string; image: string }[]],
      ];
      expect([differences, captured]).toEqual([[], true]);
      const files = [
        ...['forward_fast', 'forward', 'backward_fast', 'backward_steps', 'backward_rows'],
        ...['long_rows', 'forward_gated', 'reduce_dweight'],
      ];
      const image = expectedImage(driver, capability);
      expect(images).toEqual(files.map((file) => ({ file, image })));
    },
  );

  test('loads a file of kernels when a call needs it', async () => {
    const program = `
      ${compute}
      const x = values(100, 1);
      const loaded = () => images().filter(({ image }) => image !== '').map(({ file }) => file);
      print(loaded());
      lib.rmsNorm(x, null, { normalizedShape: [50], device: 'cuda' });
      print(loaded());
      lib.rmsNorm.backward(x, x, null, null, { normalizedShape: [50], device: 'cuda' });
      print(loaded());
    `;
    expect(await printedBy(program, environmentOf(12020, '8.0'))).toEqual([
      [],
      ['forward'],
      ['forward', 'backward_steps'],
    ]);
  });

  test.each([
    [11000, '7.0'],
    [13000, '7.2'],
  ])('of CUDA %d says that a GPU of %s is too old', async (driver, capability) => {
    const program = `
      try {
        lib.rmsNorm(new Float32Array(8), null, { normalizedShape: [8], device: 'cuda' });
      } catch ({ code, message }) {
        process.stdout.write(code + ': ' + message);
      }
    `;
    const { stdout, stderr } = await runProgram(program, environmentOf(driver, capability));
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^ERR_CUDA_NO_BINARY_FOR_GPU: The kernels cannot be loaded on 'cuda:0'/);
    expect(stdout).toContain(`compute capability ${capability}): `);
  });
});
