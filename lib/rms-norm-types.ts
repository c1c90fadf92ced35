// What users call the operator by, and what it returns.

import type { GoesWith, KeepsSum, Names, NoOthers, SaysDType } from './argument-types';
import type {
  BackwardOptions,
  CommonOptions,
  ForwardOptions,
  RmsNormOptions,
} from './call/options';
import type { AnyInput, Output, QuantizedOutput, Rstd, Scale } from './call/tensor';
import type { QuantizedDType, RstdArray } from './core/dtype';
import type { DeviceBuffer } from './gpu/device-buffer';

/** What `rmsNorm.forward` returns. */
export interface ForwardResult<X, O = CommonOptions> {
  /** The normalised and scaled x: of x's form, kind and length. `out`, if that was given. */
  y: OutputOfForward<X, O>;
  /** 1 / sqrt(mean(x²) + eps) of each row: (rows). `rstdOut`, if that was given. */
  rstd: Rstd<X>;
  /**
   * x + residual, of which y is the norm and which backward takes for x: of x's form, kind and
   * length. `sumOut`, if that was given. null without a residual.
   */
  sum: O extends Record<'residual', AnyInput>
    ? Output<X>
    : 'residual' extends keyof O
      ? Output<X> | null
      : null;
  /** Of each row, that its codes are times: (rows). `scaleOut` or `scale`, if given. null without `quantize`. */
  scale: O extends Record<'quantize', QuantizedDType>
    ? O extends Record<'scale', number>
      ? number
      : Scale<X> | ('scale' extends keyof O ? number : never)
    : 'quantize' extends keyof O
      ? Scale<X> | number | null
      : null;
}

type OutputOfForward<X, O> =
  O extends Record<'quantize', infer Q extends QuantizedDType>
    ? QuantizedOutput<X, Q>
    : 'quantize' extends keyof O
      ? Output<X> | QuantizedOutput<X, QuantizedDType>
      : Output<X>;

/** What `rmsNorm.backward` returns: null for a gradient that was not computed. */
export interface BackwardResult<X, W, O> {
  /**
   * The gradient of x, and of forward's residual: of x's form, kind and length. `dxOut`, if that was
   * given.
   */
  dx: O extends { needsDx: false } ? null : Output<X>;
  /** The gradient of weight: of weight's form, kind and length. `dweightOut`, if that was given. */
  dweight: O extends { needsDweight: false } ? null : W extends null | undefined ? null : Output<W>;
  /** The gradient of gate: of x's form, kind and length. `dgateOut`, if that was given. */
  dgate: O extends { needsDx: false }
    ? null
    : O extends Record<'gate', AnyInput>
      ? Output<X>
      : 'gate' extends keyof O
        ? Output<X> | null
        : null;
}

type Weight = AnyInput | null;

/** {@link rmsNorm}, its other forms and its gradients. */
export interface RmsNorm {
  /**
   * RMSNorm: `y = x / sqrt(mean(x²) + eps) * weight` over each row of x, a row being as long as
   * weight.
   *
   * @param x - (…, normalizedShape), float32, float16, bfloat16 or float64; not changed unless it is an
   * output
   * @param weight - (normalizedShape), of x's dtype, or float32 beside 16 bits; null for ones
   * @param options - see {@link RmsNormOptions}
   * @returns y: `options.out` if given, else a new array of x's kind, or a tensor `{ data, dims }`
   * without gaps if x is a tensor
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` and RangeError
   * `ERR_OUT_OF_RANGE` for arguments that are not as described; nothing is written then.
   * {@link CudaError} if `device` is a GPU that is not to be had, or fails
   *
   * Runs on the CPU, on several threads if x is large enough, or on the GPU that `device` names; the
   * bits of a row depend on nothing but the row, weight and options. Outputs may not overlap anything
   * but where an option says so, nor may rows of an output overlap each other; tensors of the same
   * strides whose rows alternate do not overlap. Source: Zhang and Sennrich, "Root Mean Square Layer
   * Normalization".
   */
  <X extends AnyInput, W extends Weight = Weight, const O extends RmsNormOptions = object>(
    x: X & SaysDType<X, O>,
    weight: W & GoesWith<X, W>,
    options?: O & Names<RmsNormOptions> & NoOthers<O, RmsNormOptions> & KeepsSum<O>,
  ): Output<X>;

  /**
   * {@link rmsNorm} that also returns what backward needs, and the sum if there is a `residual`.
   *
   * ```ts
   * const { y, rstd, sum } = rmsNorm.forward(x, weight, { residual });
   * const { dx } = rmsNorm.backward(dy, sum, weight, rstd, { dsum });
   * // dx is the gradient of x, and that of residual.
   * ```
   *
   * With `quantize`, y is codes of 8 bits, and `scale` what each row's are times ({@link dequantize}).
   *
   * @returns y, rstd, sum and scale: new arrays, or the given `out`, `rstdOut`, `sumOut` and
   * `scaleOut`
   */
  forward<X extends AnyInput, W extends Weight = Weight, const O extends ForwardOptions = object>(
    this: void,
    x: X & SaysDType<X, O>,
    weight: W & GoesWith<X, W>,
    options?: O & Names<ForwardOptions> & NoOthers<O, ForwardOptions>,
  ): ForwardResult<X, O>;

  /**
   * The gradients of {@link rmsNorm}: `g = dy * weight`, `xhat = x * rstd`,
   * `dx = rstd * (g - xhat * mean(g * xhat))`, plus `dsum`, and `dweight`, the sum over the
   * rows of `dy * xhat`.
   *
   * @param dy - the gradient of y: of x's kind and length
   * @param x - the x of forward; its `sum`, if it had a residual
   * @param weight - the weight of forward
   * @param rstd - (rows), from forward; null to recompute it from x with `eps`, to the same bits
   * @param options - those of forward, and see {@link BackwardOptions}
   * @returns dx and dweight: new arrays of the kinds of x and weight, or those given to receive them
   * @throws as {@link rmsNorm} does
   *
   * Both gradients come from one pass over x and dy. Their bits do not depend on the number of
   * threads.
   */
  backward<X extends AnyInput, W extends Weight = Weight, const O extends BackwardOptions = object>(
    this: void,
    dy: AnyInput,
    x: X & SaysDType<X, O>,
    weight: W & GoesWith<X, W>,
    rstd?: RstdArray | DeviceBuffer | null,
    options?: O & Names<BackwardOptions> & NoOthers<O, BackwardOptions>,
  ): BackwardResult<X, W, O>;

  /**
   * {@link rmsNorm} off the event loop: the same arguments and results, as a promise, which also
   * carries the errors.
   *
   * Arrays on a `SharedArrayBuffer`, such as those of {@link allocate}, are used in place. Of all others
   * a copy is made at the call, so that their buffers may be changed, transferred and resized
   * meanwhile, or, once the calls in flight of this thread hold 128 MiB of copies and new results, when
   * there is room again. So leave all arrays alone until the promise settles, unless you know how much
   * is in flight. `out` is written when the promise settles; an array that is gone when it is needed
   * rejects with `ERR_INVALID_ARG_VALUE`.
   *
   * It pays where computing takes much longer than starting a call does, which is some 10 µs, and most
   * on allocated memory: the thread of JavaScript is free all the while then.
   */
  async<X extends AnyInput, W extends Weight = Weight, const O extends RmsNormOptions = object>(
    this: void,
    x: X & SaysDType<X, O>,
    weight: W & GoesWith<X, W>,
    options?: O & Names<RmsNormOptions> & NoOthers<O, RmsNormOptions> & KeepsSum<O>,
  ): Promise<Output<X>>;

  /** {@link RmsNorm.forward} off the event loop, under the rules of {@link RmsNorm.async}. */
  forwardAsync<
    X extends AnyInput,
    W extends Weight = Weight,
    const O extends ForwardOptions = object,
  >(
    this: void,
    x: X & SaysDType<X, O>,
    weight: W & GoesWith<X, W>,
    options?: O & Names<ForwardOptions> & NoOthers<O, ForwardOptions>,
  ): Promise<ForwardResult<X, O>>;

  /**
   * {@link RmsNorm.backward} off the event loop, under the rules of {@link RmsNorm.async}. Of two calls
   * in flight that accumulate into one `dweightOut` the sum of one is lost: await the first.
   */
  backwardAsync<
    X extends AnyInput,
    W extends Weight = Weight,
    const O extends BackwardOptions = object,
  >(
    this: void,
    dy: AnyInput,
    x: X & SaysDType<X, O>,
    weight: W & GoesWith<X, W>,
    rstd?: RstdArray | DeviceBuffer | null,
    options?: O & Names<BackwardOptions> & NoOthers<O, BackwardOptions>,
  ): Promise<BackwardResult<X, W, O>>;
}
