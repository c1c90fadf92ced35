// What users give to modules, and get from them.

import type { CastOrder, RmsNormOptions } from './call/options';
import type { AnyInput, Output, TensorLike } from './call/tensor';
import type { DType, FloatArray } from './core/dtype';
import type { DeviceBuffer } from './gpu/device-buffer';
import type { DeviceName } from './gpu/devices';
import type { Stream } from './gpu/stream';
import type { ForwardResult } from './rms-norm-types';

/** What holds the weight of a module. */
export type WeightData = FloatArray | DeviceBuffer;

/** The array of a weight of dtype D that a module makes: the bits of 16-bit ones. */
export type WeightArray<D extends DType> = D extends 'float32'
  ? Float32Array
  : D extends 'float64'
    ? Float64Array
    : Uint16Array;

/** What holds the gradient of a weight in W: float32, or float64 beside float64; on its device. */
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
  /** Added to weight in float32. A weight that the module makes starts as 1 - weightOffset. Default 0. */
  readonly weightOffset?: number | undefined;
  /** Default `'llama'`. */
  readonly castOrder?: CastOrder | undefined;
  /**
   * The dtype of the weight, unless that is float32, and of 16-bit inputs that do not say another.
   * Default: that of `weight`, if it says one, which bits do not; else float32.
   */
  readonly dtype?: D | undefined;
  /**
   * (normalizedShape): the weight to begin with. The module keeps it, not a copy. With a DeviceBuffer
   * calls run on its GPU. Default: an array of ones, less `weightOffset`.
   */
  readonly weight?: W | TensorLike<W> | undefined;
  /** Whether there is a weight to learn. Default true. */
  readonly elementwiseAffine?: A | undefined;
  /**
   * Where calls on arrays run: see {@link CommonOptions.device}. Default `'cpu'`; that of the weight,
   * if it is a DeviceBuffer.
   */
  readonly device?: DeviceName | undefined;
  /** Where calls on DeviceBuffers are enqueued. Default: {@link Stream.default} of their device. */
  readonly stream?: Stream | undefined;
}

/** What {@link RMSNorm.toJSON} returns. */
export interface RMSNormJSON extends Required<
  Pick<RMSNormOptions, 'eps' | 'weightOffset' | 'castOrder' | 'dtype' | 'elementwiseAffine'>
> {
  /** The normalised dims: the last ones of every x. */
  readonly normalizedShape: readonly number[];
}

/** Options of {@link RMSNorm.forward}, {@link RMSNorm.vjp} and {@link RMSNorm.async}. */
export type RMSNormCallOptions = Pick<RmsNormOptions, 'out' | 'residual' | 'sumOut' | 'dtype'>;

/** y and the sum: what {@link RMSNorm.forward} returns where there is a residual. */
export interface RMSNormSum<X> {
  /** The norm of sum: of x's form, kind and length. `out`, if that was given. */
  y: Output<X>;
  /** x + residual: of x's form, kind and length. `sumOut`, if that was given. */
  sum: Output<X>;
}

/** What {@link RMSNorm.forward} returns: y, or y and sum where there is a residual. */
export type RMSNormResult<X, O> =
  O extends Record<'residual', AnyInput>
    ? RMSNormSum<X>
    : 'residual' extends keyof O
      ? Output<X> | RMSNormSum<X>
      : Output<X>;

/** Options of the backward of {@link RMSNorm.vjp}. */
export interface VjpBackwardOptions {
  /** The gradient that arrives through `sum`: of x's kind and length. Added to dx. */
  readonly dsum?: AnyInput | undefined;
  /** Receives dx, and is returned: of x's kind and length. May be dy, dsum, or the x of forward. */
  readonly dxOut?: AnyInput | undefined;
  /** Whether dx is computed. Default true. */
  readonly needsDx?: boolean | undefined;
}

/** What {@link RMSNorm.vjp} returns. */
export interface Vjp<X, O> {
  /** The normalised and scaled x: of x's form, kind and length. `out`, if that was given. */
  y: Output<X>;
  /** x + residual, of which y is the norm. `sumOut`, if that was given. null without a residual. */
  sum: ForwardResult<X, O>['sum'];
  /**
   * Adds the gradient of weight to `weightGrad`, and returns dx, which is the gradient of the
   * residual, too. Each call adds and returns, so that a second one adds again.
   *
   * @param dy - the gradient of y: of x's kind and length
   * @returns dx: of x's form, kind and length, or `dxOut`; null with `needsDx: false`
   * @throws as {@link RmsNorm.backward} does, and changes nothing then
   */
  backward: <const B extends VjpBackwardOptions = VjpBackwardOptions>(
    dy: AnyInput,
    options?: B,
  ) => B['needsDx'] extends false ? null : Output<X>;
}
