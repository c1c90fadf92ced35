import { addDWeightTo, readBackward } from './call/backward';
import type { Call } from './call/call';
import { isDeviceBuffer } from './call/data';
import { allOutputs, readForward } from './call/forward';
import { readKeptWeight } from './call/kept-weight';
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
import { runLater, runNow } from './call/run';
import { checkWeightShape, readNormalizedShape } from './call/shape';
import {
  recheck,
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
import { argumentError } from './core/errors';
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
/** A forward without a backward returns y and the sum. */
const withoutRstd = { rstd: false, sum: true, scale: false };

/**
 * RMSNorm as a module, after PyTorch's `nn.RMSNorm`: it owns a weight and accumulates its gradient.
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
 * The module itself keeps nothing of a call. What a backward needs is in its closure: backwards may
 * run in any order, and one module may be at several places of a network.
 */
export class RMSNorm<
  D extends DType = 'float32',
  W extends WeightData = WeightArray<D>,
  A extends boolean = true,
> {
  /** The normalised dims: the last ones of every x. */
  readonly normalizedShape: readonly number[];
  /** Added to the mean square, inside the root. */
  readonly eps: number;
  /** Added to weight in float32. */
  readonly weightOffset: number;
  /** Where 16-bit results are rounded. */
  readonly castOrder: CastOrder;
  /** The dtype of the weight, unless that is float32, and of 16-bit inputs that do not say another. */
  readonly dtype: DType;
  /** Where calls run. */
  readonly device: DeviceName;
  /**
   * The gradient of weight, added up by backwards: in float32, or float64 beside float64; on the
   * device of the weight. null until the first backward. May be set to null, to begin anew.
   */
  weightGrad: WeightGrad<W> | null = null;
  readonly #weight: WeightData | null;
  /** What the module says of its calls. */
  readonly #preset: Preset;

  /**
   * @param normalizedShape - the last dims of x, or the one
   * @throws TypeError and RangeError for arguments that are not as described; CudaError
   * `ERR_CUDA_UNAVAILABLE`; Error `ERR_DISPOSED` for a weight or a stream that is
   */
  constructor(
    normalizedShape: number | readonly number[],
    options: RMSNormOptions<D, W, A> = noOptions as RMSNormOptions<D, W, A>,
  ) {
    const own = knownOptions(options, constructorNames);
    const { eps = defaultEps, weightOffset = 0, castOrder = 'llama', stream } = own;
    const { weight: given, dtype: stated, device: named, elementwiseAffine } = own;
    const shape = readNormalizedShape(normalizedShape);
    if (shape === null) {
      const expected = 'a whole number from 1 up, or an array of them';
      throw argumentError('ERR_INVALID_ARG_TYPE', 'normalizedShape', expected, normalizedShape);
    }
    if ((given as unknown) === null) {
      const expected = 'an array or a DeviceBuffer; for none, set elementwiseAffine to false';
      throw argumentError('ERR_INVALID_ARG_TYPE', 'weight', expected, null);
    }
    const { weight, dtype } = readKeptWeight(given, stated);
    checkEps(eps, dtype);
    checkWeightOffset(weightOffset, dtype);
    checkCastOrder(castOrder);
    const hasWeight = readFlag('elementwiseAffine', elementwiseAffine, true);
    if (weight !== undefined && !hasWeight) {
      const expected = 'left out where elementwiseAffine is false';
      throw argumentError('ERR_INVALID_ARG_VALUE', 'weight', expected, given);
    }
    const ordinal = readDeviceFor(named, dtype);
    if (weight !== undefined) {
      checkDType(forwardRules.weight, weight, dtype, 'the dtype');
      checkWeightShape(tensorOf(weight), sizeOf(shape), shape);
      this.#weight = keptData(tensorOf(weight));
    } else {
      this.#weight = hasWeight ? initialWeight(sizeOf(shape), 1 - weightOffset, dtype) : null;
    }
    const buffer = isDeviceBuffer(this.#weight) ? this.#weight : null;
    if (buffer !== null && named !== undefined && ordinalOfBuffer(buffer) !== ordinal) {
      const expected = `'${buffer.device}', the device of weight, or left out`;
      throw argumentError('ERR_INVALID_ARG_VALUE', 'device', expected, named);
    }
    if (stream !== undefined) checkStream(stream, this.#weight);
    this.normalizedShape = Object.freeze(shape);
    this.eps = eps;
    this.weightOffset = weightOffset;
    this.castOrder = castOrder;
    this.dtype = dtype;
    this.device = buffer === null ? (named ?? 'cpu') : buffer.device;
    this.#preset = {
      ...{ eps, weightOffset, castOrder, stream },
      device: buffer === null ? named : undefined,
      // One dim as a number is compared in less time.
      normalizedShape: shape.length === 1 ? shape[0] : shape,
      bits: dtype === 'float32' ? undefined : dtype,
    };
  }

  /**
   * The learned scale: what the module was given, or made. To change it, write into it:
   * `norm.weight.set(values)`, or `copyFrom` of a DeviceBuffer. Another one cannot be put in its
   * place. null with `elementwiseAffine: false`.
   *
   * @throws TypeError `ERR_INVALID_ARG_VALUE` where it is assigned to
   */
  // eslint-disable-next-line @typescript-eslint/related-getter-setter-pairs -- to assign must not compile
  get weight(): A extends false ? null : W {
    return this.#weight as A extends false ? null : W;
  }
  /** @internal */
  set weight(value: never) {
    const expected = 'written into (weight.set, or copyFrom of a DeviceBuffer), not replaced';
    throw argumentError('ERR_INVALID_ARG_VALUE', 'weight', expected, value);
  }

  /**
   * y of x, which must end in `normalizedShape` if it has dims, for inference: nothing is kept. With a
   * residual y and sum, x + residual, of which y is the norm.
   *
   * @returns y, as {@link rmsNorm} does; with a residual `{ y, sum }`
   * @throws as {@link rmsNorm} does
   */
  forward<X extends AnyInput, const O extends RMSNormCallOptions = Pick<RMSNormCallOptions, 'out'>>(
    x: X,
    options: O & RMSNormCallOptions = noOptions as O,
  ): RMSNormResult<X, O> {
    const call = this.#read(x, options);
    runNow(call);
    return forwardResult(call) as RMSNormResult<X, O>;
  }

  /**
   * {@link RMSNorm.forward} off the event loop, under the rules of {@link RmsNorm.async}: weight, too,
   * is as it is at the call.
   */
  async async<
    X extends AnyInput,
    const O extends RMSNormCallOptions = Pick<RMSNormCallOptions, 'out'>,
  >(x: X, options: O & RMSNormCallOptions = noOptions as O): Promise<RMSNormResult<X, O>> {
    const call = this.#read(x, options);
    await runLater(call);
    return forwardResult(call) as RMSNormResult<X, O>;
  }

  /**
   * y of x, and its backward, for training: the vector-Jacobian product of the norm. The backward
   * keeps x, not a copy of it, and rstd; with a residual the sum in place of x. These and the weight
   * must not change until it has run.
   *
   * ```ts
   * const { y, sum, backward } = norm.vjp(x, { residual });
   * const dx = backward(dy, { dsum }); // the gradient of x, and of residual
   * ```
   *
   * @param options - as of {@link RMSNorm.forward}. Without a residual `out` may not be x
   * @throws as {@link rmsNorm} does
   */
  vjp<X extends AnyInput, const O extends RMSNormCallOptions = Pick<RMSNormCallOptions, 'out'>>(
    x: X,
    options: O & RMSNormCallOptions = noOptions as O,
  ): Vjp<X, O> {
    const call = readForward(x, this.#weight, options, callOptions, allOutputs, this.#preset);
    const { out } = call;
    if (call.residual === undefined && out !== undefined && isSameMemory(out, call.x as Argument)) {
      const expected = 'other memory than x, which backward needs';
      throw argumentError('ERR_INVALID_ARG_VALUE', 'out', expected, sourceOf(out));
    }
    runNow(call);
    const { dtype } = call;
    const saved = {
      x: (call.sumOut ?? call.x) as Argument,
      rstd: resultOf(call.rstdOut),
      dtype,
    };
    const result = {
      y: resultOf(call.out),
      sum: resultOf(call.sumOut),
      backward: (dy: unknown, given: VjpBackwardOptions = noOptions as VjpBackwardOptions) =>
        this.#backward(saved, dy, given),
    };
    return result as Vjp<X, O>;
  }

  /**
   * Sets `weightGrad` to zeros, in place, if there is one.
   *
   * @throws TypeError for what it was set to, if that is no array; Error `ERR_DISPOSED`
   */
  zeroGrad(): void {
    const grad: unknown = this.weightGrad ?? null;
    if (grad === null) return;
    if (isDeviceBuffer(grad)) grad.fill(0, this.#streamOptions());
    else (readHostArray('weightGrad', grad, sums).data as Float32Array).fill(0);
  }

  /**
   * What a constructor makes such a module from; the weight, which is its state, and the device are
   * not in it. `const { normalizedShape, ...options } = norm.toJSON()` takes it apart.
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
    const given = { dtype, dsum, dxOut, needsDx };
    const x = recheck('x', saved.x);
    const call = readBackward(dy, x, this.#weight, rstd, given, this.#preset);
    if (this.#weight !== null) {
      // Looked at now: what the arguments do when they are read may have been another backward.
      const sums = this.weightGrad ?? this.#makeWeightGrad(this.#weight);
      addDWeightTo(call, sums);
      runNow(call);
      this.weightGrad = sums as WeightGrad<W>;
    } else {
      runNow(call);
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

/** What a backward needs of its forward. */
interface Saved {
  /** The sum, if there was a residual. */
  readonly x: Argument;
  readonly rstd: unknown;
  readonly dtype: DType;
}

function forwardResult({ out, sumOut }: Call): unknown {
  const y = resultOf(out);
  return sumOut === undefined ? y : { y, sum: resultOf(sumOut) };
}

/** What was given for a weight; of a tensor, its data. */
function keptData({ data, dims, wrap, source }: TensorArgument): WeightData {
  if (dims === null) return source as WeightData;
  const weight = data as WeightData;
  return ArrayBuffer.isView(weight) && wrap !== null ? wrap(weight) : weight;
}

/** What weightGrad can be, in messages. */
const sums = 'a Float32Array, Float64Array or DeviceBuffer';

/** Checks the stream of a module: of the weight's device, if it is on one. */
function checkStream(stream: Stream, weight: WeightData | null): void {
  if (isDeviceBuffer(weight)) readStream(stream, ordinalOfBuffer(weight));
  else if (weight !== null) {
    const expected = 'left out where weight is not a DeviceBuffer';
    throw argumentError('ERR_INVALID_ARG_VALUE', 'stream', expected, stream);
  }
}

/** Whether two arguments that do not partly overlap, which calls refuse, overlap at all. */
function isSameMemory(a: Argument, b: Argument): boolean {
  if (ArrayBuffer.isView(a) && ArrayBuffer.isView(b)) {
    return a === b || (a.buffer === b.buffer && a.byteOffset === b.byteOffset);
  }
  const [memory, byte] = beginOf(tensorOf(a));
  const [otherMemory, otherByte] = beginOf(tensorOf(b));
  return memory === otherMemory && byte === otherByte;
}

/** The memory that an argument lies in, and its first byte there. */
function beginOf({ data, view }: TensorArgument): [unknown, number] {
  const offset = ((view?.offset ?? 0) * data.byteLength) / data.length;
  if (ArrayBuffer.isView(data)) return [data.buffer, data.byteOffset + offset];
  return [data.device, Number(data.pointer) + offset];
}

function initialWeight(length: number, value: number, dtype: DType): WeightArray<DType> {
  if (dtype === 'float64') return new Float64Array(length).fill(value);
  const ones = new Float32Array(length).fill(value);
  if (dtype === 'float32') return ones;
  return dtype === 'float16' ? toFloat16(ones) : toBFloat16(ones);
}
