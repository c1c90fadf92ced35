// RMSNorm composed of TensorFlow.js's operations, on its CPU backends. Its build for Node.js has no
// gradients of these operations, so backward is composed of them, too. The measured calls leave
// their results in tensors.

import type { Tensor } from '@tensorflow/tfjs-core';

import type { Arrays } from '../../cases/arrays';
import { eps, isBasic, type Case } from '../../cases/cases';
import type { Answer } from '../../cases/verify';
import { timed } from '../../measure/measure';
import { float32, importInstalled, type PreparedRival, type Rival } from './rival';

type Tf = typeof import('@tensorflow/tfjs-core');

type Tensors = Readonly<Partial<Record<keyof Answer, Tensor>>>;

/** The backend has at most 4 GiB, enough for a dozen matrices of the largest case. */
export const tfjsWasm = rivalOf('wasm', 2 ** 25, () => import('@tensorflow/tfjs-backend-wasm'));

/** Larger cases take seconds a call. */
export const tfjsCpu = rivalOf('cpu', 2 ** 20, () => import('@tensorflow/tfjs-backend-cpu'));

function rivalOf(
  backend: 'wasm' | 'cpu',
  maxElements: number,
  loadBackend: () => Promise<unknown>,
): Rival {
  const name = `tfjs-${backend}`;
  const packages = ['@tensorflow/tfjs-core', `@tensorflow/tfjs-backend-${backend}`] as const;
  return {
    name,
    computes: 'rms-norm',
    description: `composed of TensorFlow.js operations, ${backend} backend, one thread`,
    packages,
    outputs: ['fresh'],
    supports: (one) =>
      isBasic(one) && one.dtype === 'float32' && one.rows * one.hiddenSize <= maxElements,
    load: async () => {
      const tf = await importInstalled(name, packages, async () => {
        const loaded = await import('@tensorflow/tfjs-core');
        loaded.env().set('IS_TEST', true); // no advertisements
        await loadBackend();
        return loaded;
      });
      await tf.setBackend(backend);
      return {
        version: tf.version_core,
        prepare: async (one, arrays) => {
          await tf.setBackend(backend);
          return prepare(tf, backend, one, arrays);
        },
      };
    },
  };
}

function prepare(tf: Tf, backend: string, one: Case, arrays: Arrays): PreparedRival {
  const inputs: Tensor[] = [];
  const compute = computation(tf, one, arrays, inputs);
  let results: Tensors = {};
  const call = () => {
    tf.dispose(results);
    results = tf.tidy(compute);
  };
  return {
    run: async (repeats) => {
      await tf.setBackend(backend); // another backend may have been used since
      return timed(repeats, call);
    },
    results: () =>
      Object.fromEntries(
        Object.entries(results).map(([name, tensor]) => [name, tensor.dataSync<'float32'>()]),
      ),
    dispose: () => {
      tf.dispose([inputs, results]);
    },
  };
}

/** Makes the function that computes a case. Adds the tensors it reads to `inputs`. */
function computation(
  tf: Tf,
  { op, rows, hiddenSize }: Case,
  arrays: Arrays,
  inputs: Tensor[],
): () => Tensors {
  const tensor = (
    name: Exclude<keyof Arrays, 'codes'>,
    shape: number[] = [rows, hiddenSize],
  ): Tensor => {
    const made = tf.tensor(float32(arrays[name]), shape);
    inputs.push(made);
    return made;
  };
  const x = tensor('x');
  const weight = tensor('weight', [hiddenSize]);
  const norm = (a: Tensor) =>
    tf.mul(tf.mul(a, tf.rsqrt(tf.add(tf.mean(tf.square(a), -1, true), eps))), weight);

  if (op === 'forward') return () => ({ y: norm(x) });
  if (op === 'residual') {
    const residual = tensor('residual');
    return () => {
      const sum = tf.add(x, residual);
      return { y: norm(sum), sum };
    };
  }
  const dy = tensor('dy');
  const rstd = tensor('rstd', [rows, 1]);
  return () => {
    const xhat = tf.mul(x, rstd);
    const g = tf.mul(dy, weight);
    const cbar = tf.mean(tf.mul(g, xhat), -1, true);
    const dx = tf.mul(rstd, tf.sub(g, tf.mul(xhat, cbar)));
    return { dx, dweight: tf.sum(tf.mul(dy, xhat), 0) };
  };
}
