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

/** The array that a module makes for a weight of dtype D: for 16-bit dtypes, a `Uint16Array` of bits. */
export type WeightArray<D extends DType> = D extends 'float32'
  ? Float32Array
  : D extends 'float64'
    ? Float64Array
    : Uint16Array;

/**
 * The type of the gradient of a weight of type W: float32, or float64 for a float64 weight. It is on the
 * device of the weight.
 */
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
  /**
   * Added to mean(x²) under the square root. Not negative, and finite in float32 (in float64 for float64
   * tensors). Default 1e-6.
   */
  readonly eps?: number | undefined;
  /**
   * Added to weight in float32 (in float64 for float64 tensors). A weight that the module makes starts
   * as 1 - weightOffset. Default 0.
   */
  readonly weightOffset?: number | undefined;
  /** Where 16-bit results are rounded: see {@link CastOrder}. Default `'llama'`. */
  readonly castOrder?: CastOrder | undefined;
  /**
   * The dtype of a weight that the module makes, and of `Uint16Array` inputs that do not state their own. A
   * `weight` that is passed has this dtype, or is float32 if this is a 16-bit dtype.
   *
   * Default: the dtype of `weight`, or float32 without a weight. Required if `weight` is a `Uint16Array`,
   * whose bits can be of either 16-bit dtype.
   */
  readonly dtype?: D | undefined;
  /**
   * (normalizedShape): the initial weight. The module uses it in place, without a copy. With a
   * DeviceBuffer, calls run on its GPU. Default: a new array with the value `1 - weightOffset` everywhere.
   */
  readonly weight?: W | TensorLike<W> | undefined;
  /** Whether the module has a weight to learn. Default true. */
  readonly elementwiseAffine?: A | undefined;
  /**
   * Where calls on arrays run: see {@link CommonOptions.device}. Default: the device of the weight if
   * it is a DeviceBuffer, else `'cpu'`.
   */
  readonly device?: DeviceName | undefined;
  /**
   * The stream on which calls on DeviceBuffers are enqueued. Only if `weight` is a DeviceBuffer, or the
   * module has no weight. Default: {@link Stream.default} of their device.
   */
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
  /** The norm of `sum`: `out` if passed, else new, of x's class and length, and a tensor if x is one. */
  y: Output<X>;
  /** x + residual: `sumOut` if passed, else new, of x's class and length, and a tensor if x is one. */
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
  /** The gradient of `sum`, which is added to dx. It has x's dtype, length and device. */
  readonly dsum?: AnyInput | undefined;
  /**
   * Receives dx, and is returned. It has x's dtype, length and device. May be dy, dsum or the x of `vjp`
   * itself; with a residual, also the sum.
   */
  readonly dxOut?: AnyInput | undefined;
  /** Whether dx is computed. Default true. */
  readonly needsDx?: boolean | undefined;
}

/** The result of {@link RMSNorm.vjp}. */
export interface Vjp<X, O> {
  /**
   * The normalised and scaled x: `out` if passed, else new, of x's class and length, and a tensor if x is
   * one.
   */
  y: Output<X>;
  /** x + residual, of which y is the norm. It is `sumOut` if passed, and null without a residual. */
  sum: ForwardResult<X, O>['sum'];
  /**
   * Adds the gradient of weight to `weightGrad`, and returns dx, which is also the gradient of the
   * residual. A second call adds again.
   *
   * @param dy - the gradient of y, of x's dtype, length and device
   * @returns dx: `dxOut` if passed, else new, of x's class and length, and a tensor if x is one; null with
   * `needsDx: false`
   * @throws the errors of {@link RmsNorm.backward}; if an argument is invalid, nothing has changed
   */
  backward: <const B extends VjpBackwardOptions = VjpBackwardOptions>(
    dy: AnyInput,
    options?: B,
  ) => B['needsDx'] extends false ? null : Output<X>;
}
