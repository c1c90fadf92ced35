import { accumulateInto, readBackward } from './call/backward';
import type { Call } from './call/call';
import { isDeviceBuffer } from './call/data';
import { allOutputs, readForward } from './call/forward';
import { readStoredWeight } from './call/stored-weight';
import { makeKnownOptions, noOptions } from './call/known-options';
import { checkDType } from './call/operands';
import { forwardRules } from './call/operations';
import {
  checkCastOrder,
  checkEps,
  checkWeightOffset,
  defaultEps,
  readDeviceFor,
  type CastOrder,
} from './call/options';
import type { Preset } from './call/read-call';
import { runCallAsync, runCall } from './call/run';
import { checkWeightShape, readNormalizedShape } from './call/shape';
import {
  checkStillAttached,
  resultOf,
  sizeOf,
  sourceOf,
  tensorOf,
  type AnyInput,
  type Argument,
  type TensorArgument,
} from './call/tensor';
import { toBFloat16, toFloat16 } from './convert';
import { rstdKind, zeros, type DType } from './core/dtype';
import { argumentError, requirementError } from './core/errors';
import { readHostArray } from './core/host-array';
import { knownOptions, readFlag } from './core/validate';
import { DeviceBuffer, ordinalOfBuffer } from './gpu/device-buffer';
import type { DeviceName } from './gpu/devices';
import { readStream, type Stream } from './gpu/stream';
import type {
  RMSNormCallOptions,
  RMSNormJSON,
  RMSNormOptions,
  RMSNormResult,
  Vjp,
  VjpBackwardOptions,
  WeightArray,
  WeightData,
  WeightGrad,
} from './module-options';

const constructorNames: ReadonlySet<string> = new Set([
  ...['eps', 'weightOffset', 'castOrder', 'dtype', 'weight', 'elementwiseAffine'],
  ...['device', 'stream'],
]);
const callOptions = makeKnownOptions(['out', 'residual', 'sumOut', 'dtype']);
const vjpBackwardNames: ReadonlySet<string> = new Set(['dsum', 'dxOut', 'needsDx']);
/** What `forward` and `async` of a module allocate besides y: only the sum, if there is a residual. */
const withoutRstd = { rstd: false, sum: true, scale: false };

/**
 * RMSNorm as a module, like PyTorch's `nn.RMSNorm`. It owns a weight and accumulates its gradient.
 *
 * ```ts
 * const norm = new RMSNorm(4096);
 * const y = norm.forward(x); // inference
 *
 * const { y, backward } = norm.vjp(x); // training
 * const dx = backward(dy); // norm.weightGrad holds the gradient of norm.weight
 * norm.zeroGrad();
 * ```
 *
 * The module stores nothing of a call. Each `backward` function holds what it needs in its closure. So
 * these functions may be called in any order, and a network may use one module several times.
 */
export class RMSNorm<
  D extends DType = 'float32',
  W extends WeightData = WeightArray<D>,
  A extends boolean = true,
> {
  /** The normalised dims: the last dims of every x. */
  readonly normalizedShape: readonly number[];
  /** Added to mean(x²) under the square root. */
  readonly eps: number;
  /** Added to weight in float32 (in float64 for float64 tensors). */
  readonly weightOffset: number;
  /** Where 16-bit results are rounded: see {@link CastOrder}. */
  readonly castOrder: CastOrder;
  /**
   * The dtype of the weight, and of `Uint16Array` inputs that do not state their own. If it is a 16-bit
   * dtype, a weight that was passed may be float32 instead.
   */
  readonly dtype: DType;
  /** Where calls on arrays run; with a DeviceBuffer as weight, its device, where all calls run. */
  readonly device: DeviceName;
  /**
   * The gradient of weight, to which each call of a `backward` adds. It is float32 (float64 for a float64
   * module) and on the device of the weight. It is null until the first such call. Set it to null to start
   * again from zero.
   */
  weightGrad: WeightGrad<W> | null = null;
  readonly #weight: WeightData | null;
  /** The options that the module sets for its calls. */
  readonly #preset: Preset;

  /**
   * Allocates a weight, unless `weight` is passed or `elementwiseAffine` is false.
   *
   * @param normalizedShape - the last dims of x; a number for a single dim
   * @throws TypeError and RangeError for invalid arguments; CudaError `ERR_CUDA_UNAVAILABLE` without a
   * GPU; Error `ERR_DISPOSED` for a disposed weight or stream
   */
  constructor(
    normalizedShape: number | readonly number[],
    options: RMSNormOptions<D, W, A> = noOptions as RMSNormOptions<D, W, A>,
  ) {
    const own = knownOptions(options, constructorNames);
    const { eps = defaultEps, weightOffset = 0, castOrder = 'llama', stream } = own;
    const { weight: weightOption, dtype: dtypeOption, device: deviceOption } = own;
    const shape = readNormalizedShape(normalizedShape);
    if (shape === null) {
      const expected = 'an integer >= 1, or an array of such integers';
      throw argumentError('ERR_INVALID_ARG_TYPE', 'normalizedShape', expected, normalizedShape);
    }
    if ((weightOption as unknown) === null) {
      const expected = 'an array or a DeviceBuffer; for no weight, set elementwiseAffine to false';
      throw argumentError('ERR_INVALID_ARG_TYPE', 'weight', expected, null);
    }
    const { weight, dtype } = readStoredWeight(weightOption, dtypeOption);
    checkEps(eps, dtype);
    checkWeightOffset(weightOffset, dtype);
    checkCastOrder(castOrder);
    const hasWeight = readFlag('elementwiseAffine', own.elementwiseAffine, true);
    if (weight !== undefined && !hasWeight) {
      const expected = 'omitted if elementwiseAffine is false';
      throw argumentError('ERR_INVALID_ARG_VALUE', 'weight', expected, weightOption);
    }
    const ordinal = readDeviceFor(deviceOption, dtype);
    if (weight !== undefined) {
      checkDType(forwardRules.weight, weight, dtype, 'the dtype');
      checkWeightShape(tensorOf(weight), sizeOf(shape), shape);
      this.#weight = storedData(tensorOf(weight));
    } else {
      this.#weight = hasWeight ? initialWeight(sizeOf(shape), 1 - weightOffset, dtype) : null;
    }
    const buffer = isDeviceBuffer(this.#weight) ? this.#weight : null;
    if (buffer !== null && deviceOption !== undefined && ordinalOfBuffer(buffer) !== ordinal) {
      const expected = `'${buffer.device}', the device of weight, or omitted`;
      throw argumentError('ERR_INVALID_ARG_VALUE', 'device', expected, deviceOption);
    }
    if (stream !== undefined) checkStream(stream, this.#weight);
    this.normalizedShape = Object.freeze(shape);
    this.eps = eps;
    this.weightOffset = weightOffset;
    this.castOrder = castOrder;
    this.dtype = dtype;
    this.device = buffer === null ? (deviceOption ?? 'cpu') : buffer.device;
    this.#preset = {
      ...{ eps, weightOffset, castOrder, stream },
      device: buffer === null ? deviceOption : undefined,
      // A single dim is passed as a number, which is compared faster than an array.
      normalizedShape: shape.length === 1 ? shape[0] : shape,
      uint16DType: dtype === 'float32' ? undefined : dtype,
    };
  }

  /**
   * The learned scale: the weight that was passed to the module, or the one that it made. To change it,
   * write into it: `norm.weight.set(values)`, or `copyFrom` of a DeviceBuffer. It cannot be replaced.
   * null with `elementwiseAffine: false`.
   *
   * @throws TypeError `ERR_INVALID_ARG_VALUE` on assignment
   */
  // eslint-disable-next-line @typescript-eslint/related-getter-setter-pairs -- to assign must not compile
  get weight(): A extends false ? null : W {
    return this.#weight as A extends false ? null : W;
  }
  /** @internal */
  set weight(value: never) {
    const expected = 'changed in place (weight.set, or copyFrom of a DeviceBuffer), not replaced';
    throw argumentError('ERR_INVALID_ARG_VALUE', 'weight', expected, value);
  }

  /**
   * Normalises x for inference: nothing is stored for a backward. The dims of x, if it has any, must
   * end in `normalizedShape`. With a `residual`, y is the norm of sum = x + residual.
   *
   * @returns y, as {@link rmsNorm} returns it; with a residual `{ y, sum }`
   * @throws the errors of {@link rmsNorm}
   */
  forward<X extends AnyInput, const O extends RMSNormCallOptions = Pick<RMSNormCallOptions, 'out'>>(
    x: X,
    options: O & RMSNormCallOptions = noOptions as O,
  ): RMSNormResult<X, O> {
    const call = this.#read(x, options);
    runCall(call);
    return forwardResult(call) as RMSNormResult<X, O>;
  }

  /**
   * {@link RMSNorm.forward} off the event loop, under the rules of {@link RmsNorm.async}. The rules for
   * arrays apply to the module's weight, too.
   */
  async async<
    X extends AnyInput,
    const O extends RMSNormCallOptions = Pick<RMSNormCallOptions, 'out'>,
  >(x: X, options: O & RMSNormCallOptions = noOptions as O): Promise<RMSNormResult<X, O>> {
    const call = this.#read(x, options);
    await runCallAsync(call);
    return forwardResult(call) as RMSNormResult<X, O>;
  }

  /**
   * Normalises x for training: returns y and its backward, the vector-Jacobian product of the norm.
   *
   * The function `backward` reads rstd, the weight and x itself, not a copy of x. With a residual it reads
   * the sum instead of x. Do not change the tensors that it reads before it has run.
   *
   * ```ts
   * const { y, sum, backward } = norm.vjp(x, { residual });
   * const dx = backward(dy, { dsum }); // the gradient of x, and of residual
   * ```
   *
   * @param options - those of {@link RMSNorm.forward}. Without a residual, `out` must not be x
   * @throws the errors of {@link rmsNorm}
   */
  vjp<X extends AnyInput, const O extends RMSNormCallOptions = Pick<RMSNormCallOptions, 'out'>>(
    x: X,
    options: O & RMSNormCallOptions = noOptions as O,
  ): Vjp<X, O> {
    const call = readForward(x, this.#weight, options, callOptions, allOutputs, this.#preset);
    const { out } = call;
    if (call.residual === undefined && out !== undefined && isSameMemory(out, call.x as Argument)) {
      const requirement = 'not share memory with x, which backward needs';
      throw requirementError('ERR_INVALID_ARG_VALUE', 'out', requirement, sourceOf(out));
    }
    runCall(call);
    const { dtype } = call;
    const saved = {
      x: (call.sumOut ?? call.x) as Argument,
      rstd: resultOf(call.rstdOut),
      dtype,
    };
    const result = {
      y: resultOf(call.out),
      sum: resultOf(call.sumOut),
      backward: (dy: unknown, own: VjpBackwardOptions = noOptions as VjpBackwardOptions) =>
        this.#backward(saved, dy, own),
    };
    return result as Vjp<X, O>;
  }

  /**
   * Fills `weightGrad` with zeros in place, unless it is null. On a GPU the fill is enqueued.
   *
   * @throws TypeError `ERR_INVALID_ARG_TYPE` if `weightGrad` was set to a value that is not an
   * array or a DeviceBuffer; Error `ERR_DISPOSED`
   */
  zeroGrad(): void {
    const grad: unknown = this.weightGrad ?? null;
    if (grad === null) return;
    if (isDeviceBuffer(grad)) grad.fill(0, this.#streamOptions());
    else (readHostArray('weightGrad', grad, weightGradTypes).data as Float32Array).fill(0);
  }

  /**
   * The shape and the options of the module, without `device`, `stream` and the weight, which is its state.
   * To make a module of them: `const { normalizedShape, ...options } = norm.toJSON()`, then
   * `new RMSNorm(normalizedShape, options)`.
   */
  toJSON(): RMSNormJSON {
    const { normalizedShape, eps, weightOffset, castOrder, dtype } = this;
    const elementwiseAffine = this.#weight !== null;
    return { normalizedShape, eps, weightOffset, castOrder, dtype, elementwiseAffine };
  }

  #read(x: unknown, options: object): Call {
    return readForward(x, this.#weight, options, callOptions, withoutRstd, this.#preset);
  }

  #backward(saved: Saved, dy: unknown, options: VjpBackwardOptions): unknown {
    const { dsum, dxOut, needsDx } = knownOptions(options, vjpBackwardNames);
    const { rstd, dtype } = saved;
    const backwardOptions = { dtype, dsum, dxOut, needsDx };
    const x = checkStillAttached('x', saved.x);
    const call = readBackward(dy, x, this.#weight, rstd, backwardOptions, this.#preset);
    if (this.#weight !== null) {
      // weightGrad is read only now: reading the arguments can run code of the caller, and that code can run
      // another backward, which sets weightGrad.
      const weightGrad = this.weightGrad ?? this.#makeWeightGrad(this.#weight);
      accumulateInto(call, weightGrad);
      runCall(call);
      this.weightGrad = weightGrad as WeightGrad<W>;
    } else {
      runCall(call);
    }
    return resultOf(call.dxOut);
  }

  #makeWeightGrad(weight: WeightData): WeightGrad<WeightData> {
    if (!isDeviceBuffer(weight)) {
      return zeros(rstdKind(this.dtype), weight.length) as Float32Array | Float64Array;
    }
    const { length, device } = weight;
    return new DeviceBuffer(length, 'float32', { device }).fill(0, this.#streamOptions());
  }

  #streamOptions() {
    const stream = this.#preset.stream as Stream | undefined;
    return stream === undefined ? {} : { stream };
  }
}

/** What a backward needs from its forward. The module itself stores nothing of a call. */
interface Saved {
  /** x; with a residual, the sum. */
  readonly x: Argument;
  readonly rstd: unknown;
  readonly dtype: DType;
}

function forwardResult({ out, sumOut }: Call): unknown {
  const y = resultOf(out);
  return sumOut === undefined ? y : { y, sum: resultOf(sumOut) };
}

/** The array or buffer that `weight` returns: what the caller passed, or the data of a passed tensor. */
function storedData({ data, dims, wrap, source }: TensorArgument): WeightData {
  if (dims === null) return source as WeightData;
  const weight = data as WeightData;
  return ArrayBuffer.isView(weight) && wrap !== null ? wrap(weight) : weight;
}

/** The types that weightGrad can have, for error messages. */
const weightGradTypes = 'a Float32Array, Float64Array or DeviceBuffer';

/** Refuses a stream of a module that is not of the weight's device. An array as weight allows no stream. */
function checkStream(stream: Stream, weight: WeightData | null): void {
  if (isDeviceBuffer(weight)) readStream(stream, ordinalOfBuffer(weight));
  else if (weight !== null) {
    const expected = 'omitted unless weight is a DeviceBuffer';
    throw argumentError('ERR_INVALID_ARG_VALUE', 'stream', expected, stream);
  }
}

/** Whether two arguments begin at the same address. Every call refuses any other overlap by itself. */
function isSameMemory(a: Argument, b: Argument): boolean {
  if (ArrayBuffer.isView(a) && ArrayBuffer.isView(b)) {
    return a === b || (a.buffer === b.buffer && a.byteOffset === b.byteOffset);
  }
  const [memory, byte] = beginOf(tensorOf(a));
  const [otherMemory, otherByte] = beginOf(tensorOf(b));
  return memory === otherMemory && byte === otherByte;
}

/** The memory of an argument (an ArrayBuffer or a device), and the address of its first byte there. */
function beginOf({ data, view }: TensorArgument): [unknown, number] {
  const offset = ((view?.offset ?? 0) * data.byteLength) / data.length;
  if (ArrayBuffer.isView(data)) return [data.buffer, data.byteOffset + offset];
  return [data.device, Number(data.pointer) + offset];
}

/** A new weight in which each element is `value`. */
function initialWeight(length: number, value: number, dtype: DType): WeightArray<DType> {
  if (dtype === 'float64') return new Float64Array(length).fill(value);
  const weight = new Float32Array(length).fill(value);
  if (dtype === 'float32') return weight;
  return dtype === 'float16' ? toFloat16(weight) : toBFloat16(weight);
}
