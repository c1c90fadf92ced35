// Tests the types of the installed package with old and new versions of TypeScript, libs and module
// settings. Checks the declarations of libraries, too.

import { symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { checkout, makeApplication, removeFolders, run, tools } from './application';

let folder = '';

beforeAll(() => {
  folder = makeApplication({
    ...{ 'app.ts': uses, 'using.ts': disposals, 'foreign.ts': foreign },
    'wrong.ts': [wrongHead, ...Object.keys(wrong)].join('\n'),
  });
  symlinkSync(checkout, path.join(folder, 'checkout'));
  symlinkSync(tools, path.join(folder, 'tools'));
});
afterAll(removeFolders);

const uses = `
import {
  allocate, createPlan, CudaError, CudaEvent, DeviceBuffer, devices, fromFloat16, getNumThreads, Graph,
  HostBuffer, rmsNorm, RMSNorm, Stream, toFloat16,
  type AnyInput, type ErrorCode, type Float16ArrayLike, type FloatArray, type Plan,
  type RmsNormOptions, type TensorLike,
} from 'fused-rmsnorm';

const x = new Float32Array(8);
const options: RmsNormOptions = { eps: 1e-6, out: x };
export const y: Float32Array = rmsNorm(x, x, options);
declare const maybe: { readonly eps?: number; readonly out: Float32Array | undefined };
export const again: Float32Array = rmsNorm(x, x, { eps: maybe.eps, out: maybe.out });
export const { sum }: { sum: Float32Array | null } = rmsNorm.forward(x, x, { residual: maybe.out });
export const dims: number[] = rmsNorm({ data: x, dims: [1, 8] }, x).dims;
export const { dx, dweight }: Record<'dx' | 'dweight', Float32Array> = rmsNorm.backward(y, x, x);
export const promise: Promise<Float32Array> = rmsNorm.async(x, x);
export const tensor: TensorLike<Float32Array> = rmsNorm({ data: x, dims: [1, 8] }, x);
export const float16 = (array: Float16ArrayLike): Float16ArrayLike => rmsNorm(array, x);
export const bits: Uint16Array = toFloat16(fromFloat16(new Uint16Array(8)));
export const into = (array: Float16ArrayLike): Float16ArrayLike => toFloat16(x, array);
const plan = createPlan({ rows: getNumThreads(), weight: x });
plan.forward(x, y);
export const own: Float32Array = plan.run(allocate(8));
export const later: Promise<Float32Array> = plan.runAsync(x);
export const gradients: Readonly<Record<'dx' | 'dweight', Float32Array>> =
  plan.runBackward(y, x, null);
export const plans: Plan[] = [plan, createPlan({ rows: 1, hiddenSize: 8, dtype: 'bfloat16' })];
const double = createPlan({ rows: 1, weight: allocate(8, 'float64') }).runBackward(x, x, null);
export const [dx64, dweight64]: Float64Array[] = [double.dx, double.dweight];
export const bfloat16: Uint16Array = createPlan({ rows: 1, dtype: 'bfloat16', weight: x }).run(allocate(8, 'bfloat16'));
export const none: null = createPlan({ rows: 1, hiddenSize: 8 }).runBackward(x, x, null).dweight;
export const anyOf = (array: FloatArray, some: RmsNormOptions): FloatArray => rmsNorm(array, x, some);
export const sameKind = <A extends FloatArray>(array: A, w: A) =>
  rmsNorm(array, w, { dtype: 'float16' });
export const tensorBits = rmsNorm({ data: new Uint16Array(8), dims: [8], type: 'float16' }, x);
export const z: Float32Array = new RMSNorm(8).forward(x);
export const names: string[] = devices().map(({ name }) => name);
export function gpu(stream: Stream, event: CudaEvent): Graph {
  const buffer: DeviceBuffer<'float32'> = DeviceBuffer.from(x, { stream });
  const fromPlan: DeviceBuffer<'float32'> = createPlan({ rows: 1, weight: buffer }).run(buffer);
  const input: AnyInput = buffer.subarray(1);
  const bits: Uint16Array = new HostBuffer(4, 'bfloat16').array;
  const pointer: bigint = buffer.pointer;
  event.record(stream);
  stream.dispose();
  return Graph.capture(stream, () => [input, bits, pointer, fromPlan]);
}
export const codeOf = (error: unknown): ErrorCode | null =>
  error instanceof CudaError ? error.code : null;
`;

const disposals = `
import { CudaEvent, DeviceBuffer, HostBuffer, Stream, type Graph } from 'fused-rmsnorm';

export function gpu(captured: Graph): unknown[] {
  using buffer = new DeviceBuffer(4, 'float32');
  using host = new HostBuffer(4, 'float16');
  using stream = new Stream();
  using event = new CudaEvent();
  using graph = captured;
  const disposables: Disposable[] = [buffer, host, stream, event, graph];
  return disposables;
}
`;

/** Uses the results of onnxruntime's sessions, and a tensor as transformers.js declares it. */
const foreign = `
import { rmsNorm } from 'fused-rmsnorm';
import { Tensor, type InferenceSession } from './checkout/onnxruntime-common/dist/cjs/index.js';

const weight = new Float32Array(8);
export async function pipeline(session: InferenceSession, x: Tensor) {
  const { y } = await session.run({ x });
  if (y?.type !== 'float32') throw new TypeError('not of float32');
  const normed = rmsNorm(y, weight, { out: y });
  const { dx } = rmsNorm.backward(y, y, weight);
  return session.run({ x: new Tensor(normed.data, normed.dims), dx: new Tensor('float16', dx.data, dx.dims) });
}

type AnyTypedArray =
  | Int8Array | Uint8Array | Uint8ClampedArray | Int16Array | Uint16Array | Int32Array
  | Uint32Array | Float32Array | Float64Array | BigInt64Array | BigUint64Array;
declare class TransformersTensor {
  constructor(type: string, data: AnyTypedArray | unknown[], dims: number[]);
  get dims(): number[];
  get type(): 'float32' | 'float16' | 'int64' | 'string';
  get data(): AnyTypedArray | unknown[];
}
export function states(hidden: TransformersTensor) {
  const { data, dims } = rmsNorm(hidden, weight);
  return new TransformersTensor('float32', data, dims);
}
`;

/** Wrong combinations, and words of the compiler's message for each. */
const wrong = {
  'rmsNorm(bits, bits)': 'a Uint16Array holds bits: set the option dtype',
  'rmsNorm.async(bits, null, { normalizedShape: 8 })': 'a Uint16Array holds bits',
  'rmsNorm.forward({ data: bits, dims: [8] }, x)': 'a Uint16Array holds bits',
  'rmsNorm(double, x)': 'weight must be a Float64Array, since x is one',
  'rmsNorm.backward(double, double, x)': 'weight must be a Float64Array, since x is one',
  'rmsNorm(x, double)': 'weight must be a Float32Array, since x is one',
  'rmsNorm({ data: x, dims: [8] }, double)': 'weight must be a Float32Array, since x is one',
  "rmsNorm(bits, double, { dtype: 'float16' })": 'weight must be a 16-bit array like x',
  'rmsNorm(buffer, x)': 'weight must be a DeviceBuffer, since x is one',
  'rmsNorm(x, x, { residual: x })': "Property 'sumOut' is missing",
  'rmsNorm(x, undefined)': "'undefined' is not assignable to parameter of type 'Weight'",
  'rmsNorm(x, x, { eps: 1, epsilon: 1 })': "'number' is not assignable to type 'NoSuchOption'",
  'rmsNorm(x, x, { rstdOut: x })': "'rstdOut' does not exist in type 'RmsNormOptions",
  "rmsNorm(x, x, { castOrder: 'gemma' })": `'"gemma"' is not assignable to type`,
  "rmsNorm.backward(x, x, x, null, { eps: '1' })": "'string' is not assignable to type 'number",
} as const;

const wrongHead = [
  "import { DeviceBuffer, rmsNorm } from 'fused-rmsnorm';",
  'const x = new Float32Array(8), double = new Float64Array(8), bits = new Uint16Array(8);',
  "const buffer = new DeviceBuffer(8, 'float32');",
].join(' ');
const modules = {
  node10: 'commonjs',
  node16: 'node16',
  nodenext: 'nodenext',
  bundler: 'esnext',
} as const;

/** The compiler, its lib, the module resolution, and whether Node.js's own types are there. */
type Setting = readonly [string, readonly string[], keyof typeof modules, boolean];

const own = 'checkout/typescript';
test.each<Setting>([
  ['tools/typescript-5.0', ['es2015'], 'node10', false],
  ['tools/typescript-5.0', ['es2022', 'dom'], 'node16', true],
  ['tools/typescript-5.2', ['es2018'], 'nodenext', false],
  ['tools/typescript-5.2', ['esnext'], 'bundler', true],
  [own, ['es2015', 'dom'], 'bundler', false],
  [own, ['es2022', 'esnext.disposable'], 'nodenext', false],
  [own, ['esnext', 'dom'], 'node16', true],
])(
  'the types compile with %s, lib %j, %s, types of Node.js: %p',
  (compiler, lib, moduleResolution, hasNode) => {
    const hasUsing = lib.some((name) => name.startsWith('esnext'));
    const config = {
      compilerOptions: {
        ...{ lib, moduleResolution, module: modules[moduleResolution] },
        ...{ target: 'es2022', strict: true, skipLibCheck: false, noEmit: true },
        ...{ exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true },
        ...{ typeRoots: ['checkout/@types'], types: hasNode ? ['node'] : [] },
      },
      files: ['app.ts', ...(hasUsing ? ['using.ts'] : [])],
    };
    writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify(config));
    const { stdout } = run(folder, process.execPath, [`${compiler}/bin/tsc`, '-p', '.']);
    // Some other packages do not compile with such libs.
    const faults = stdout
      .split('\n')
      .filter((line) => /fused-rmsnorm|^(app|using)\.ts|^error/.test(line));
    expect(faults).toEqual([]);
  },
);

/** Compiles a file under the strictest settings. Returns the messages for each line. */
function complaints(file: string): Map<number, string> {
  const config = {
    compilerOptions: {
      ...{ lib: ['esnext', 'dom'], module: 'nodenext', target: 'es2022', noEmit: true },
      ...{ strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true },
      ...{ typeRoots: ['checkout/@types'], types: ['node'] },
    },
    files: [file],
  };
  writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify(config));
  const { stdout } = run(folder, process.execPath, [`${own}/bin/tsc`, '-p', '.']);
  const found = new Map<number, string>();
  let line = 0;
  for (const text of stdout.split('\n')) {
    line = Number(/^\w+\.ts\((\d+),/.exec(text)?.[1] ?? line);
    if (text !== '') found.set(line, `${found.get(line) ?? ''}${text}\n`);
  }
  return found;
}

test('tensors of onnxruntime and transformers.js are accepted, and the results fit their classes', () => {
  expect([...complaints('foreign.ts').values()]).toEqual([]);
});

test('wrong combinations do not compile, and the message says why', () => {
  const found = complaints('wrong.ts');
  const texts = Object.values(wrong).map((_, i) => found.get(i + 2));
  expect(texts).toEqual(
    Object.values(wrong).map((words) => expect.stringContaining(words) as unknown),
  );
});
