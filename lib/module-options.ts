// Types of the options and the results of modules.

import type { CastOrder, RmsNormOptions } from './call/options';
import type { AnyInput, Output, TensorLike } from './call/tensor';
import type { DType, FloatArray } from './core/dtype';
import type { DeviceBuffer } from './gpu/device-buffer';
import type { DeviceName } from './gpu/devices';
import type { Stream } from './gpu/stream';
import type { ForwardResult } from './rms-norm-types';

/** The memory of a module's weight. */
export type WeightData = FloatArray | DeviceBuffer;

/** The array that a module makes for a weight of dtype D: for 16-bit dtypes, an array of their bits. */
export type WeightArray<D extends DType> = D extends 'float32'
  ? Float32Array
  : D extends 'float64'
    ? Float64Array
    : Uint16Array;

/** The memory of the gradient of a weight in W: float32, or float64 for float64; on W's device. */
export type WeightGrad<W> = W extends DeviceBuffer
  ? DeviceBuffer<'float32'>
  : W extends Float64Array
    ? Float64Array
    : Float32Array;

/** Options of {@link RMSNorm}. */
export interface RMSNormOptions<
  D extends DType = DType,
  W extends WeightData = WeightData,
  A extends boolean = boolean,
> {
  /** Added to the mean square, inside the root. Default 1e-6. */
  readonly eps?: number | undefined;
  /**
   * Added to weight in float32 (in float64 for float64 tensors). A weight that the module makes starts
   * as 1 - weightOffset. Default 0.
   */
  readonly weightOffset?: number | undefined;
  /** Where 16-bit results are rounded. Default `'llama'`. */
  readonly castOrder?: CastOrder | undefined;
  /**
   * The dtype of the weight, which may be float32 beside 16-bit inputs, and of 16-bit inputs that do
   * not state their own. Default: the dtype of `weight`, or float32 without one. Required with a
   * `Uint16Array` as weight, whose bits can be of either 16-bit dtype.
   */
  readonly dtype?: D | undefined;
  /**
   * (normalizedShape): the initial weight. The module uses it in place, without a copy. With a
   * DeviceBuffer, calls run on its GPU. Default: an array of `1 - weightOffset`.
   */
  readonly weight?: W | TensorLike<W> | undefined;
  /** Whether the module has a weight to learn. Default true. */
  readonly elementwiseAffine?: A | undefined;
  /**
   * Where calls on arrays run: see {@link CommonOptions.device}. Default: the device of the weight if
   * it is a DeviceBuffer, else `'cpu'`.
   */
  readonly device?: DeviceName | undefined;
  /** Where calls on DeviceBuffers are enqueued. Default: {@link Stream.default} of their device. */
  readonly stream?: Stream | undefined;
}

/** The result of {@link RMSNorm.toJSON}. */
export interface RMSNormJSON extends Required<
  Pick<RMSNormOptions, 'eps' | 'weightOffset' | 'castOrder' | 'dtype' | 'elementwiseAffine'>
> {
  /** The normalised dims: the last dims of every x. */
  readonly normalizedShape: readonly number[];
}

/** Options of {@link RMSNorm.forward}, {@link RMSNorm.vjp} and {@link RMSNorm.async}. */
export type RMSNormCallOptions = Pick<RmsNormOptions, 'out' | 'residual' | 'sumOut' | 'dtype'>;

/** The result of {@link RMSNorm.forward} with a residual: y and the sum. */
export interface RMSNormSum<X> {
  /** The norm of sum. It has x's form, kind and length, and is `out` if that was passed. */
  y: Output<X>;
  /** x + residual. It has x's form, kind and length, and is `sumOut` if that was passed. */
  sum: Output<X>;
}

/** The result of {@link RMSNorm.forward}: y, or with a residual y and sum. */
export type RMSNormResult<X, O> =
  O extends Record<'residual', AnyInput>
    ? RMSNormSum<X>
    : 'residual' extends keyof O
      ? Output<X> | RMSNormSum<X>
      : Output<X>;

/** Options of the backward of {@link RMSNorm.vjp}. */
export interface VjpBackwardOptions {
  /** The gradient that arrives through `sum`, which is added to dx. It has x's kind and length. */
  readonly dsum?: AnyInput | undefined;
  /**
   * Receives dx, and is returned. It has x's kind and length, and may be dy, dsum or the x of forward.
   */
  readonly dxOut?: AnyInput | undefined;
  /** Whether dx is computed. Default true. */
  readonly needsDx?: boolean | undefined;
}

/** The result of {@link RMSNorm.vjp}. */
export interface Vjp<X, O> {
  /** The normalised and scaled x. It has x's form, kind and length, and is `out` if that was passed. */
  y: Output<X>;
  /** x + residual; y is its norm. It is `sumOut` if that was passed; null without a residual. */
  sum: ForwardResult<X, O>['sum'];
  /**
   * Adds the gradient of weight to `weightGrad`, and returns dx, which is also the gradient of the
   * residual. A second call adds again.
   *
   * @param dy - the gradient of y, of x's kind and length
   * @returns dx: `dxOut` if passed, else new, of x's form, kind and length; null with `needsDx: false`
   * @throws the errors of {@link RmsNorm.backward}; then nothing has changed
   */
  backward: <const B extends VjpBackwardOptions = VjpBackwardOptions>(
    dy: AnyInput,
    options?: B,
  ) => B['needsDx'] extends false ? null : Output<X>;
}
