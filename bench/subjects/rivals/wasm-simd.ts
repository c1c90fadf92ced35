// Runs assembly/rms_norm.ts on WebAssembly's memory. Copies into it and out of it are not timed, as
// if all of a program's arrays were there.

import { readFile } from 'node:fs/promises';
import path from 'node:path';

import type { Arrays, Elements } from '../../cases/arrays';
import { eps, isBasic, matrices, type Case, type BasicOp } from '../../cases/cases';
import { answerIn } from '../../cases/verify';
import { packageRoot } from '../../environment/package';
import { timed } from '../../measure/measure';
import { float32, type LoadedRival, type PreparedRival, type Rival } from './rival';

/** The functions that assembly/rms_norm.ts exports: most arguments are addresses. */
type Functions = Readonly<Record<BasicOp, (...numbers: number[]) => void>>;

/** Only the declarations that are used here: TypeScript has them only in its `dom` library. */
declare const WebAssembly: {
  compile(bytes: Uint8Array): Promise<object>;
  Memory: new (pages: { initial: number }) => { readonly buffer: ArrayBuffer };
  instantiate(module: object, imports: object): Promise<{ readonly exports: object }>;
};

const pageBytes = 64 << 10;
const lineBytes = 64;
const maxBytes = 2 ** 32 - pageBytes;

export const wasmSimd: Rival = {
  name: 'wasm-simd',
  computes: 'rms-norm',
  description: 'hand-written WebAssembly SIMD on arrays in its own memory, one thread',
  packages: [],
  outputs: ['given'],
  supports: (one) => isBasic(one) && one.dtype === 'float32' && bytesOf(one) <= maxBytes,
  load,
};

/** Bytes of all arrays of a case, with room between them. */
function bytesOf({ op, rows, hiddenSize }: Case): number {
  return 4 * (matrices[op] * rows * hiddenSize + rows + 2 * hiddenSize) + 16 * lineBytes;
}

async function load(): Promise<LoadedRival> {
  const file = path.join(packageRoot, 'dist/bench/rivals/rms_norm.wasm');
  const module = await WebAssembly.compile(await readFile(file));
  return {
    version: process.version,
    prepare: (one, arrays) => prepare(module, one, arrays),
  };
}

async function prepare(module: object, one: Case, arrays: Arrays): Promise<PreparedRival> {
  const memory = new WebAssembly.Memory({ initial: Math.ceil(bytesOf(one) / pageBytes) });
  const instance = await WebAssembly.instantiate(module, { env: { memory } });
  const functions = instance.exports as Functions;

  let end = lineBytes; // of the memory in use; address 0 stays unused
  const allocate = (length: number): Float32Array => {
    const array = new Float32Array(memory.buffer, end, length);
    end = Math.ceil((end + array.byteLength) / lineBytes) * lineBytes;
    return array;
  };
  const copyOf = (elements: Elements): number => {
    const source = float32(elements);
    const array = allocate(source.length);
    array.set(source);
    return array.byteOffset;
  };

  const { op, rows, hiddenSize } = one;
  const [x, weight] = [copyOf(arrays.x), copyOf(arrays.weight)];
  const [dy, rstd, residual] = [copyOf(arrays.dy), copyOf(arrays.rstd), copyOf(arrays.residual)];
  const out = allocate(arrays.out.length);
  const dweight = allocate(arrays.dweight.length);
  const sum = allocate(arrays.sum.length);
  const { byteOffset: y } = out;
  const calls: Readonly<Record<BasicOp, () => void>> = {
    forward: () => {
      functions.forward(x, weight, y, rows, hiddenSize, eps);
    },
    backward: () => {
      functions.backward(dy, x, weight, rstd, y, dweight.byteOffset, rows, hiddenSize);
    },
    residual: () => {
      functions.residual(x, residual, weight, y, sum.byteOffset, rows, hiddenSize, eps);
    },
  };
  return {
    run: (repeats) => timed(repeats, calls[op as BasicOp]),
    results: () => answerIn(one, { ...arrays, out, dweight, sum }),
  };
}
