// Types of the operator's functions and of their results.

import type {
  WeightFits,
  HasSumOut,
  OptionNamesOf,
  NoUnknownOptions,
  StatesDType,
} from './argument-types';
import type {
  BackwardOptions,
  CommonOptions,
  ForwardOptions,
  RmsNormOptions,
} from './call/options';
import type { AnyInput, Output, QuantizedOutput, Rstd, Scale } from './call/tensor';
import type { QuantizedDType, RstdArray } from './core/dtype';
import type { DeviceBuffer } from './gpu/device-buffer';

/** The result of `rmsNorm.forward`. */
export interface ForwardResult<X, O = CommonOptions> {
  /**
   * The normalised and scaled x: `out` if passed, else new, of x's class and length, and a tensor if x is
   * one. With `quantize`, its codes.
   */
  y: OutputOfForward<X, O>;
  /**
   * (rows): 1 / sqrt(mean(x²) + eps) of each row. With a residual, the sum takes the place of x here. It is
   * `rstdOut` if passed, else a new array or DeviceBuffer.
   */
  rstd: Rstd<X>;
  /**
   * x + residual, of which y is the norm: pass it to backward as x. It is `sumOut` if passed, else new, of
   * x's class and length, and a tensor if x is one. null without a residual.
   */
  sum: O extends Record<'residual', AnyInput>
    ? Output<X>
    : 'residual' extends keyof O
      ? Output<X> | null
      : null;
  /**
   * (rows): the number that each row's codes must be multiplied by. It is `scaleOut` if passed, and the
   * number `scale` if that was passed; null without `quantize`.
   */
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

/** The result of `rmsNorm.backward`. A gradient that was not computed is null. */
export interface BackwardResult<X, W, O> {
  /**
   * The gradient of x, and of forward's residual: `dxOut` if passed, else new, of x's class and length, and
   * a tensor if x is one. null if `needsDx` is false.
   */
  dx: O extends { needsDx: false } ? null : Output<X>;
  /**
   * The gradient of weight: `dweightOut` if passed, else new, of weight's class and length, and a tensor if
   * weight is one. null without a weight, or if `needsDweight` is false.
   */
  dweight: O extends { needsDweight: false } ? null : W extends null | undefined ? null : Output<W>;
  /**
   * The gradient of gate: `dgateOut` if passed, else new, of x's class and length, and a tensor if x is
   * one. null without a gate, or if `needsDx` is false.
   */
  dgate: O extends { needsDx: false }
    ? null
    : O extends Record<'gate', AnyInput>
      ? Output<X>
      : 'gate' extends keyof O
        ? Output<X> | null
        : null;
}

type Weight = AnyInput | null;

/** The type of {@link rmsNorm}: the function, its other forms and its gradients. */
export interface RmsNorm {
  /**
   * RMSNorm: `y = x / sqrt(mean(x²) + eps) * weight` over each row of x. A row is as long as weight. Without
   * `out`, y is allocated.
   *
   * Runs on the CPU, on several threads if x is large enough, or on the GPU that `device` names. The
   * bits of a row depend only on the row, weight and options.
   *
   * An output may overlap another tensor of the call only where the description of its option says so. The
   * rows of one output may not overlap each other. Two tensors of the same strides whose rows alternate in
   * one array do not count as overlapping.
   *
   * Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", NeurIPS 2019, equation 4.
   *
   * @param x - (…, normalizedShape), float32, float16, bfloat16 or float64; not changed unless it is also
   * passed as an output
   * @param weight - (normalizedShape), of x's dtype, or float32 if x is float16 or bfloat16; null to
   * multiply by 1
   * @param options - see {@link RmsNormOptions}
   * @returns y: `options.out` if passed, else a new array or DeviceBuffer of x's class, or a new contiguous
   * tensor `{ data, dims }` if x is a tensor
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` and RangeError
   * `ERR_OUT_OF_RANGE` for invalid arguments; then nothing is written. {@link CudaError} if `device`
   * names a GPU that is unavailable or fails
   */
  <X extends AnyInput, W extends Weight = Weight, const O extends RmsNormOptions = object>(
    x: X & StatesDType<X, O>,
    weight: W & WeightFits<X, W>,
    options?: O &
      OptionNamesOf<RmsNormOptions> &
      NoUnknownOptions<O, RmsNormOptions> &
      HasSumOut<O>,
  ): Output<X>;

  /**
   * {@link rmsNorm} that also returns what backward needs, and the sum if there is a `residual`.
   *
   * ```ts
   * const { y, rstd, sum } = rmsNorm.forward(x, weight, { residual });
   * const { dx } = rmsNorm.backward(dy, sum, weight, rstd, { dsum });
   * // dx is the gradient of x, and also the gradient of residual.
   * ```
   *
   * With `quantize`, y holds 8-bit codes, and `scale` the number that each row's codes must be multiplied
   * by: see {@link dequantize}.
   *
   * @param x - as for {@link rmsNorm}
   * @param weight - as for {@link rmsNorm}
   * @param options - see {@link ForwardOptions}
   * @returns y, rstd, sum and scale: new arrays, or `out`, `rstdOut`, `sumOut` and `scaleOut` if passed
   * @throws the errors of {@link rmsNorm}
   */
  forward<X extends AnyInput, W extends Weight = Weight, const O extends ForwardOptions = object>(
    this: void,
    x: X & StatesDType<X, O>,
    weight: W & WeightFits<X, W>,
    options?: O & OptionNamesOf<ForwardOptions> & NoUnknownOptions<O, ForwardOptions>,
  ): ForwardResult<X, O>;

  /**
   * The gradients of {@link rmsNorm}. With `g = dy * weight` and `xhat = x * rstd`:
   * `dx = rstd * (g - xhat * mean(g * xhat))`, plus `dsum`; `dweight` is the sum of `dy * xhat` over the
   * rows. The mean is taken over each row, and `weight` includes `weightOffset`.
   *
   * Both gradients are computed in one pass over x and dy. Their bits do not depend on the number of
   * threads. Outputs that are not passed are allocated.
   *
   * @param dy - the gradient of y, of x's dtype, length and device
   * @param x - the x of forward; if forward had a residual, its `sum`
   * @param weight - the weight of forward
   * @param rstd - (rows), from forward; null to recompute it from x with `eps`, to the same bits
   * @param options - see {@link BackwardOptions}; options that forward has, too, need the values of forward
   * @returns dx, dweight and, with a gate, dgate: new arrays of the classes of x and weight, or `dxOut`,
   * `dweightOut` and `dgateOut` if passed
   * @throws the errors of {@link rmsNorm}
   */
  backward<X extends AnyInput, W extends Weight = Weight, const O extends BackwardOptions = object>(
    this: void,
    dy: AnyInput,
    x: X & StatesDType<X, O>,
    weight: W & WeightFits<X, W>,
    rstd?: RstdArray | DeviceBuffer | null,
    options?: O & OptionNamesOf<BackwardOptions> & NoUnknownOptions<O, BackwardOptions>,
  ): BackwardResult<X, W, O>;

  /**
   * {@link rmsNorm} off the event loop: it takes the same arguments and returns a promise of the same
   * result. Errors reject the promise.
   *
   * Arrays over a `SharedArrayBuffer`, such as those of {@link allocate}, are used in place. All other
   * arrays are copied at the call, and their buffers may then be changed, transferred or resized.
   *
   * However, a call waits before it copies if the calls in flight of this thread would hold more than 128
   * MiB of copies and new results. So do not change, transfer or resize any array until the promise
   * settles, unless you know how much memory the calls in flight hold.
   *
   * An `out` that is not in shared memory is written when the promise settles. If an array has been
   * detached by the time it is needed, the promise rejects with `ERR_INVALID_ARG_VALUE`. A call on a
   * DeviceBuffer is enqueued, and its promise settles when its stream has completed it.
   *
   * Starting an asynchronous call takes about 10 µs, so it pays off if computing takes much longer. It pays
   * off most with arrays of {@link allocate}: nothing is copied, and the JavaScript thread stays free.
   */
  async<X extends AnyInput, W extends Weight = Weight, const O extends RmsNormOptions = object>(
    this: void,
    x: X & StatesDType<X, O>,
    weight: W & WeightFits<X, W>,
    options?: O &
      OptionNamesOf<RmsNormOptions> &
      NoUnknownOptions<O, RmsNormOptions> &
      HasSumOut<O>,
  ): Promise<Output<X>>;

  /** {@link RmsNorm.forward} off the event loop, under the rules of {@link RmsNorm.async}. */
  forwardAsync<
    X extends AnyInput,
    W extends Weight = Weight,
    const O extends ForwardOptions = object,
  >(
    this: void,
    x: X & StatesDType<X, O>,
    weight: W & WeightFits<X, W>,
    options?: O & OptionNamesOf<ForwardOptions> & NoUnknownOptions<O, ForwardOptions>,
  ): Promise<ForwardResult<X, O>>;

  /**
   * {@link RmsNorm.backward} off the event loop, under the rules of {@link RmsNorm.async}. If two calls
   * in flight accumulate into one `dweightOut`, what one of them adds is lost. So await the first of them
   * before the second.
   */
  backwardAsync<
    X extends AnyInput,
    W extends Weight = Weight,
    const O extends BackwardOptions = object,
  >(
    this: void,
    dy: AnyInput,
    x: X & StatesDType<X, O>,
    weight: W & WeightFits<X, W>,
    rstd?: RstdArray | DeviceBuffer | null,
    options?: O & OptionNamesOf<BackwardOptions> & NoUnknownOptions<O, BackwardOptions>,
  ): Promise<BackwardResult<X, W, O>>;
}
