// The types of the installed package for old and new TypeScript, libs and module settings, with the
// declarations of libraries checked, too.

import { symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { checkout, makeApplication, removeFolders, run, tools } from './application';

let folder = '';

beforeAll(() => {
  folder = makeApplication({ 'app.ts': uses, 'using.ts': disposals });
  symlinkSync(checkout, path.join(folder, 'checkout'));
  symlinkSync(tools, path.join(folder, 'tools'));
});
afterAll(removeFolders);

const uses = `
import {
  createPlan, CudaError, CudaEvent, DeviceBuffer, devices, fromFloat16, getNumThreads, Graph,
  HostBuffer, rmsNorm, RMSNorm, Stream, toFloat16,
  type AnyInput, type ErrorCode, type Float16ArrayLike, type RmsNormOptions, type TensorLike,
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
createPlan({ rows: getNumThreads(), weight: x }).forward(x, y);
export const z: Float32Array = new RMSNorm(8).forward(x);
export const names: string[] = devices().map(({ name }) => name);
export function gpu(stream: Stream, event: CudaEvent): Graph {
  const buffer: DeviceBuffer<'float32'> = DeviceBuffer.from(x, { stream });
  const input: AnyInput = buffer.subarray(1);
  const bits: Uint16Array = new HostBuffer(4, 'bfloat16').array;
  const pointer: bigint = buffer.pointer;
  event.record(stream);
  stream.dispose();
  return Graph.capture(stream, () => [input, bits, pointer]);
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

const modules = {
  node10: 'commonjs',
  node16: 'node16',
  nodenext: 'nodenext',
  bundler: 'esnext',
} as const;

/** The compiler, its lib, the module resolution, whether Node.js's own types are there. */
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
])('%s, lib %j, %s, types of Node.js: %p', (compiler, lib, moduleResolution, hasNode) => {
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
  // Of other packages some do not compile for such libs.
  const faults = stdout
    .split('\n')
    .filter((line) => /fused-rmsnorm|^(app|using)\.ts|^error/.test(line));
  expect(faults).toEqual([]);
});
