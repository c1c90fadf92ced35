import { devices, rmsNorm, type CudaDevice } from 'fused-rmsnorm';

import { makeArrays, type Arrays } from './arrays';
import { caseName, minimumBytes, type Case } from './cases';
import { describeMachine } from './machine';
import { loadNative } from './native';
import { summarize } from './statistics';

/** How long and how often each contender is visited, as in `measure`. */
export interface Visits {
  readonly rounds: number;
  readonly time: number;
}

interface Request {
  readonly ordinal: number;
  readonly rows: number;
  readonly hiddenSize: number;
  readonly isBfloat16: boolean;
  readonly rounds: number;
  readonly batchMs: number;
  readonly isTimed: boolean;
}

interface Samples {
  readonly kernelMs: number[];
  readonly copyMs: number[];
  readonly sets: number;
  readonly launches: number;
}

interface Kernels {
  /** See native/kernels.h. */
  timeKernels(
    request: Request,
    x: Arrays['x'],
    dy: Arrays['dy'] | null,
    weight: Arrays['weight'],
    rstd: Float32Array,
    out: Arrays['out'],
    dweight: Arrays['dweight'],
  ): Samples | null;
}

const shapes = [
  [1, 4096],
  [32, 4096],
  [4096, 128],
  [512, 4096],
  [4096, 4096],
  [8192, 4096],
  [16384, 8192],
  [2048, 16384],
  [512, 65536],
] as const;

/** What a simulated device can run in a moment. */
const simulatedElements = 2 ** 17;

export function isSimulated({ name }: CudaDevice): boolean {
  return name.startsWith('cudasim');
}

/** The device that `--device` names, or why there is none. */
export function findDevice(name: string): CudaDevice | string {
  const list = devices();
  const wanted = name === 'cuda' ? 'cuda:0' : name;
  const known = ['cpu', ...list.map(({ device }) => device)];
  return (
    list.find(({ device }) => device === wanted) ??
    list.reason ??
    `--device must be one of ${known.join(', ')}. Received '${name}'`
  );
}

export function cudaCases(device: CudaDevice): Case[] {
  const cases: Case[] = [];
  for (const op of ['forward', 'backward'] as const) {
    for (const dtype of ['float32', 'bfloat16'] as const) {
      for (const [rows, hiddenSize] of shapes) {
        if (isSimulated(device) && rows * hiddenSize > simulatedElements) continue;
        cases.push({ op, rows, hiddenSize, dtype });
      }
    }
  }
  return cases;
}

/** What stands above the figures: what they depend on, and what they are of. */
export function cudaMachine(device: CudaDevice): Record<string, string | number | null> {
  const description = {
    ...describeMachine(),
    device: `${device.name} (${device.device}, compute capability ${device.computeCapability})`,
    driver: `for CUDA ${device.driverVersion}`,
  };
  if (isSimulated(device)) {
    const times = 'none, the device is simulated: bits are checked and launches counted, no more';
    return { ...description, times };
  }
  return {
    ...description,
    times:
      'of the kernels without copies, between events around a batch of launches: the smallest ' +
      'cases are bound by how fast the host launches',
    limit: 'a copy from device to device that reads and writes as many bytes, by turns',
  };
}

/** The case's row of the table; a line of text where there are no times to put into one. */
export function benchmarkCuda(one: Case, device: CudaDevice, visits: Visits): string {
  const { rows, hiddenSize, dtype } = one;
  const arrays = makeArrays(one);
  const expected = run(one, arrays, 'cpu');
  compare(one, expected, run(one, arrays, device.device), `the option device: '${device.device}'`);

  const actual = emptyOutputs(arrays);
  const isForward = one.op === 'forward';
  const rstd = isForward ? new Float32Array(rows) : (arrays.rstd as Float32Array);
  const dweight = isForward ? new Float32Array(hiddenSize) : actual.dweight;
  const samples = (loadNative() as unknown as Kernels).timeKernels(
    {
      ordinal: devices().findIndex((other) => other.device === device.device),
      ...{ rows, hiddenSize, rounds: visits.rounds, batchMs: visits.time },
      isBfloat16: dtype === 'bfloat16',
      isTimed: !isSimulated(device),
    },
    ...([arrays.x, one.op === 'backward' ? arrays.dy : null, arrays.weight] as const),
    ...([rstd, actual.out, dweight] as const),
  );
  if (samples === null) return `${caseName(one)}: left out, the device has too little memory`;
  compare(one, expected, actual, 'the kernels that were launched');
  if (isSimulated(device)) {
    return `${caseName(one)}: the bits of the CPU; kernels launched ${samples.launches} times`;
  }

  const ours = summarize(samples.kernelMs).median;
  const limit = summarize(samples.copyMs).median;
  const gb = (minimumBytes(one) / ours / 1e6).toFixed(0);
  const share = ((100 * limit) / ours).toFixed(0);
  return `${caseName(one)}: ${(1000 * ours).toFixed(1)} µs, ${gb} GB/s, ${share}% of a copy`;
}

type Outputs = Pick<Arrays, 'out' | 'dweight'>;

function emptyOutputs({ out, dweight }: Arrays): Outputs {
  return out instanceof Uint16Array
    ? { out: new Uint16Array(out.length), dweight: new Uint16Array(dweight.length) }
    : { out: new Float32Array(out.length), dweight: new Float32Array(dweight.length) };
}

/** Through the public API. */
function run({ op, dtype }: Case, arrays: Arrays, device: CudaDevice['device'] | 'cpu'): Outputs {
  const { x, dy, weight, rstd } = arrays;
  const outputs = emptyOutputs(arrays);
  if (op === 'forward') {
    rmsNorm(x, weight, { dtype, device, out: outputs.out });
    return outputs;
  }
  const { out: dxOut, dweight: dweightOut } = outputs;
  rmsNorm.backward(dy, x, weight, rstd, { dtype, device, dxOut, dweightOut });
  return outputs;
}

/** Throws unless every bit is the same: a benchmark of a wrong answer is worth nothing. */
function compare(one: Case, expected: Outputs, actual: Outputs, by: string): void {
  for (const name of ['out', 'dweight'] as const) {
    if (bytesOf(expected[name]).equals(bytesOf(actual[name]))) continue;
    throw new Error(`${caseName(one)} is wrong by ${by}: ${name} has not the bits of the CPU`);
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: Arrays['out']): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
