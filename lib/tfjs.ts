/**
 * `fused-rmsnorm/tfjs`: {@link rmsNorm} on tensors of TensorFlow.js, with its gradients.
 *
 * @packageDocumentation
 */

import { customGrad, Tensor, tensor, type GradSaveFunc } from '@tensorflow/tfjs-core';

import { defaultEps, type CommonOptions } from './call/options';
import { readNormalizedShape } from './call/shape';
import { isRevoked } from './core/caller-values';
import { argumentError, codedError } from './core/errors';
import { knownOptions } from './core/validate';
import { rmsNorm as rmsNormOfArrays } from './rms-norm';

/** Options of {@link rmsNorm}. They mean the same as in `rmsNorm` of `'fused-rmsnorm'`. */
export type TfjsOptions = Pick<
  CommonOptions,
  'eps' | 'weightOffset' | 'normalizedShape' | 'device'
>;

const names: ReadonlySet<string> = new Set(['eps', 'weightOffset', 'normalizedShape', 'device']);

/**
 * RMSNorm of a float32 tensor, differentiable once: `tf.grads`, `tf.variableGrads` and optimizers get
 * dx and dweight from the package's own backward.
 *
 * ```ts
 * import * as tf from '@tensorflow/tfjs-core';
 * import '@tensorflow/tfjs-backend-cpu';
 * import { rmsNorm } from 'fused-rmsnorm/tfjs';
 *
 * const weight = tf.variable(tf.ones([4096]));
 * const y = rmsNorm(tf.randomNormal([8, 4096]), weight, { eps: 1e-6 });
 * ```
 *
 * The values of tensors are read with `dataSync`. A TensorFlow.js backend on a GPU blocks the thread there
 * until it has the values; a backend on the CPU does not wait. The call leaves one new tensor, the result.
 * TensorFlow.js stores x and weight for backward only while it computes a gradient.
 *
 * @param x - (…, normalizedShape), float32
 * @param weight - (normalizedShape), float32, for example a `tf.Variable`; null to multiply by 1
 * @param options - see {@link TfjsOptions}
 * @returns y: a new tensor of x's shape
 * @throws TypeError `ERR_INVALID_ARG_TYPE` if an argument is not a float32 tensor, `ERR_INVALID_ARG_VALUE`
 * for a disposed tensor; and the errors of the package's `rmsNorm`. Differentiating a gradient throws
 * `ERR_INVALID_STATE`
 */
export function rmsNorm<T extends Tensor>(
  x: T,
  weight: Tensor | null,
  options: TfjsOptions = {},
): T {
  // Backward must see the same options as forward, so each is read once, and a list of dims is copied.
  const known = knownOptions(options, names);
  const { eps = defaultEps, weightOffset = 0, device = 'cpu' } = known;
  const normalizedShape = readNormalizedShape(known.normalizedShape);
  const own = { eps, weightOffset, device, ...(normalizedShape && { normalizedShape }) };
  checkTensor('x', x);
  if (weight === null) return normalize(x, own)(x) as T;
  checkTensor('weight', weight);
  return normalize(x, own)(x, weight) as T;
}

/** Makes a TensorFlow.js function of x and, if there is one, weight: it returns y and has gradients. */
function normalize({ shape }: Tensor, options: TfjsOptions) {
  return customGrad((...inputs: (Tensor | GradSaveFunc)[]) => {
    const save = inputs.pop() as GradSaveFunc;
    const [x, weight] = inputs as [Tensor, Tensor | undefined];
    const { y, rstd } = rmsNormOfArrays.forward(read(x), weight ? read(weight) : null, options);
    save(inputs as Tensor[]);
    return {
      value: tensor(y.data, shape),
      gradFunc: (dy: Tensor, saved: Tensor[]) => gradients(dy, saved, rstd, options),
    };
  });
}

/** dx and, if there is a weight, dweight. */
function gradients(
  dy: Tensor,
  saved: readonly Tensor[],
  rstd: Float32Array,
  options: TfjsOptions,
): Tensor[] {
  const [x, weight] = saved as [Tensor, Tensor | undefined];
  const { dx, dweight } = rmsNormOfArrays.backward(
    read(dy),
    read(x),
    weight ? read(weight) : null,
    rstd,
    options,
  );
  return [dx, dweight].flatMap((gradient) =>
    gradient === null ? [] : [gradientTensor(gradient, [dy, ...saved])],
  );
}

/** Makes a tensor of a gradient. Differentiating it throws: TensorFlow.js would treat it as a constant. */
function gradientTensor(
  { data, dims }: { readonly data: Float32Array; readonly dims: readonly number[] },
  inputs: readonly Tensor[],
): Tensor {
  const result = customGrad(() => ({
    value: tensor(data, [...dims]),
    gradFunc: () => {
      throw codedError('ERR_INVALID_STATE', 'A gradient of rmsNorm cannot be differentiated');
    },
  }));
  return result(...inputs);
}

function read(value: Tensor) {
  return { data: value.dataSync<'float32'>(), dims: value.shape };
}

function checkTensor(name: string, value: unknown): void {
  if (isRevoked(value) || !(value instanceof Tensor)) {
    throw argumentError('ERR_INVALID_ARG_TYPE', name, 'a tf.Tensor', value);
  }
  if (value.dtype !== 'float32') {
    throw argumentError('ERR_INVALID_ARG_TYPE', name, 'a float32 tensor', value.dtype);
  }
  if (value.isDisposed) {
    throw argumentError(
      'ERR_INVALID_ARG_VALUE',
      name,
      'a tensor that has not been disposed',
      'disposed',
    );
  }
}
