// What assembly/rms_norm.ts computes, in memory of WebAssembly: copies into it and out of it are not
// timed, as if all of a program's arrays lay there.

import { readFile } from 'node:fs/promises';
import path from 'node:path';

import type { Arrays, Elements } from '../../cases/arrays';
import { eps, matrices, type Case } from '../../cases/cases';
import { packageRoot } from '../../environment/package';
import { timed } from '../../measure/measure';
import type { LoadedRival, PreparedRival, Rival } from './rival';
import { float32 } from './support';

/** Addresses are numbers; what they point to is said in assembly/rms_norm.ts. */
interface Functions {
  forward(
    x: number,
    weight: number,
    y: number,
    rows: number,
    hiddenSize: number,
    eps: number,
  ): void;
  backward(
    dy: number,
    x: number,
    weight: number,
    rstd: number,
    dx: number,
    dweight: number,
    rows: number,
    hiddenSize: number,
  ): void;
  residual(
    x: number,
    residual: number,
    weight: number,
    y: number,
    sum: number,
    rows: number,
    hiddenSize: number,
    eps: number,
  ): void;
}

const pageBytes = 64 << 10;
const lineBytes = 64;
const maximumBytes = 2 ** 32 - pageBytes;

export const wasmSimd: Rival = {
  name: 'wasm-simd',
  computes: 'rms-norm',
  description: 'WebAssembly SIMD by hand, arrays in its own memory, one thread',
  packages: [],
  outputs: ['given'],
  supports: (one) => one.dtype === 'float32' && bytesOf(one) <= maximumBytes,
  load,
};

/** Of all arrays of a case, with room between them. */
function bytesOf({ op, rows, hiddenSize }: Case): number {
  return 4 * (matrices[op] * rows * hiddenSize + rows + 2 * hiddenSize) + 16 * lineBytes;
}

async function load(): Promise<LoadedRival> {
  const file = path.join(packageRoot, 'dist/bench/rivals/rms_norm.wasm');
  const module = await WebAssembly.compile(await readFile(file));
  return {
    version: process.version,
    prepare: (one, arrays) => prepare(module, one, arrays),
    close: () => Promise.resolve(),
  };
}

async function prepare(
  module: WebAssembly.Module,
  one: Case,
  arrays: Arrays,
): Promise<PreparedRival> {
  const memory = new WebAssembly.Memory({ initial: Math.ceil(bytesOf(one) / pageBytes) });
  const instance = await WebAssembly.instantiate(module, { env: { memory } });
  const functions = instance.exports as unknown as Functions;

  let end = lineBytes; // of what is in use; nothing is at address 0
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
  const x = copyOf(arrays.x);
  const weight = copyOf(arrays.weight);
  const out = allocate(rows * hiddenSize);
  const prepared = (call: () => void, results: PreparedRival['results']): PreparedRival => ({
    run: (repeats) => timed(repeats, call),
    results,
    dispose: () => undefined,
  });
  if (op === 'forward') {
    return prepared(
      () => {
        functions.forward(x, weight, out.byteOffset, rows, hiddenSize, eps);
      },
      () => ({ y: out }),
    );
  }
  if (op === 'backward') {
    const dy = copyOf(arrays.dy);
    const rstd = copyOf(arrays.rstd);
    const dweight = allocate(hiddenSize);
    return prepared(
      () => {
        const { byteOffset: dx } = out;
        functions.backward(dy, x, weight, rstd, dx, dweight.byteOffset, rows, hiddenSize);
      },
      () => ({ dx: out, dweight }),
    );
  }
  const residual = copyOf(arrays.residual);
  const sum = allocate(rows * hiddenSize);
  return prepared(
    () => {
      const { byteOffset: y } = out;
      functions.residual(x, residual, weight, y, sum.byteOffset, rows, hiddenSize, eps);
    },
    () => ({ y: out, sum }),
  );
}
