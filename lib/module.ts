import { readBackward } from './call/backward';
import type { Operand } from './call/call';
import { readForward } from './call/forward';
import { makeKnownOptions, noOptions } from './call/known-options';
import {
  checkCastOrder,
  checkEps,
  checkWeightOffset,
  defaultEps,
  readDeviceFor,
  type CastOrder,
} from './call/options';
import type { Preset } from './call/read-call';
import { runNow } from './call/run';
import { readNormalizedShape } from './call/shape';
import {
  dataOf,
  outputLike,
  recheck,
  sizeOf,
  sourceOf,
  tensorOf,
  type Argument,
  type Input,
  type Output,
  type TensorArgument,
} from './call/tensor';
import { toBFloat16, toFloat16 } from './convert';
import { checkDTypeName, rstdKind, zeros, type DType } from './core/dtype';
import { argumentError, codedError } from './core/errors';
import { knownOptions, readFlag } from './core/validate';
import type { DeviceName } from './gpu/devices';

/** Options of {@link RMSNorm}. */
export interface RMSNormOptions {
  /** Added to the mean square, inside the root. Default 1e-6. */
  readonly eps?: number;
  /** Added to weight in float32. The weight starts as 1 - weightOffset. Default 0. */
  readonly weightOffset?: number;
  /** Default `'llama'`. */
  readonly castOrder?: CastOrder;
  /** The dtype of the weight, and of 16-bit inputs unless they state another. Default float32. */
  readonly dtype?: DType;
  /** Whether there is a weight to learn. Default true. */
  readonly elementwiseAffine?: boolean;
  /** Where calls run; weight and gradients stay in arrays of the host. Default `'cpu'`. */
  readonly device?: DeviceName;
}

/** Options of {@link RMSNorm.forward}. */
export interface RMSNormCallOptions {
  /** Receives y, and is returned. May be x or residual itself. */
  readonly out?: Input;
  /** Added to x first, of x's kind and length: y is the norm of the sum. */
  readonly residual?: Input;
  /** Receives x + residual, and is returned. May be x or residual itself; not `out`. */
  readonly sumOut?: Input;
  /** The dtype of a `Uint16Array` input, where the module's is float32. */
  readonly dtype?: DType;
}

/** Options of {@link RMSNorm.backward}. */
export interface RMSNormBackwardOptions {
  /** Receives dx, and is returned. May be dy or dsum itself. */
  readonly out?: Input;
  /** The gradient that arrives through forward's `sum`; added to dx. */
  readonly dsum?: Input;
}

/** What {@link RMSNorm.forward} returns where there is a residual. */
export interface RMSNormSum<X> {
  /** The norm of sum: of x's form, kind and length; the option `out`, if that was given. */
  y: Output<X>;
  /** x + residual: of x's form, kind and length; the option `sumOut`, if that was given. */
  sum: Output<X>;
}

/** What {@link RMSNorm.forward} returns: y, or y and sum where there is a residual. */
export type RMSNormResult<X, O> =
  O extends Required<Pick<RMSNormCallOptions, 'residual'>>
    ? RMSNormSum<X>
    : 'residual' extends keyof O
      ? Output<X> | RMSNormSum<X>
      : Output<X>;

const constructorNames: ReadonlySet<string> = new Set([
  ...['eps', 'weightOffset', 'castOrder', 'dtype', 'elementwiseAffine', 'device'],
]);
const forwardOptions = makeKnownOptions(['out', 'residual', 'sumOut', 'dtype']);
const backwardOptionNames: ReadonlySet<string> = new Set(['out', 'dsum']);

/** What backward needs of its forward. */
interface Saved {
  /** The sum, if there was a residual. */
  readonly x: Argument;
  /** Of a forward that was not expected to be kept there is none, and backward computes it again. */
  readonly rstd: Operand;
  readonly dtype: DType;
}

/** Why there is no forward that backward could be of. */
const obstacles = {
  none: 'there was none; call forward first',
  inPlace: 'the last one wrote y over its x, which backward needs; give it another out',
  several:
    'there were several since the last backward, of which a module keeps one; call zeroGrad ' +
    'before the one to differentiate, or use rmsNorm.forward and rmsNorm.backward',
  done: 'the last one has had its backward, and a second would add the same to weightGrad again',
} as const;

/**
 * RMSNorm as a module, after PyTorch's `nn.RMSNorm`: it owns a weight and accumulates its gradient.
 *
 * ```ts
 * const norm = new RMSNorm(4096);
 * const y = norm.forward(x);
 * const dx = norm.backward(dy); // norm.weightGrad holds the gradient of norm.weight
 * norm.zeroGrad();
 * ```
 *
 * A backward belongs to the one forward since the last backward. After several it throws
 * `ERR_INVALID_STATE`, since the module keeps what one of them needs; forwards before a
 * {@link RMSNorm.zeroGrad} do not count, once there is one after it. So modules can run any number of
 * forwards for inference, and then `zeroGrad`, forward and backward to train. A network that uses one
 * norm at several places calls {@link rmsNorm.forward} and {@link rmsNorm.backward}.
 */
export class RMSNorm {
  /** The normalised dims: the last ones of every x. */
  readonly normalizedShape: readonly number[];
  /** Added to the mean square, inside the root. */
  readonly eps: number;
  /** Added to weight in float32. */
  readonly weightOffset: number;
  /** Where 16-bit results are rounded. */
  readonly castOrder: CastOrder;
  /** The dtype of the weight, and of 16-bit inputs unless they state another. */
  readonly dtype: DType;
  /** Where calls run. */
  readonly device: DeviceName;
  /**
   * The learned scale, as many elements as `normalizedShape` has, at first ones (less
   * `weightOffset`): a `Float32Array`, a `Float64Array` for float64, or the bits in a `Uint16Array`
   * for a 16-bit dtype. Change it in place. null without `elementwiseAffine`.
   */
  readonly weight: Float32Array | Float64Array | Uint16Array | null;
  /**
   * The sum of weight's gradients of all backwards since {@link RMSNorm.zeroGrad}, in float32
   * whatever the dtype, but float64 for float64. null before the first.
   */
  weightGrad: Float32Array | Float64Array | null = null;

  /** What the module says of its calls. */
  readonly #preset: Preset;
  #forward: Saved | keyof typeof obstacles = 'none';
  /** Whether the next forward is the first that counts. */
  #isNewStep = true;

  /**
   * @param normalizedShape - the last dims of x, or the one
   * @throws TypeError and RangeError for arguments that are not as described
   */
  constructor(normalizedShape: number | readonly number[], options: RMSNormOptions = {}) {
    const own = knownOptions(options, constructorNames);
    const { eps = defaultEps, weightOffset = 0, castOrder = 'llama' } = own;
    const { dtype = 'float32', device = 'cpu', elementwiseAffine } = own;
    const shape = readNormalizedShape(normalizedShape);
    if (shape === null) {
      const expected = 'a whole number from 1 up, or an array of them';
      throw argumentError('ERR_INVALID_ARG_TYPE', 'normalizedShape', expected, normalizedShape);
    }
    checkDTypeName(dtype);
    this.normalizedShape = Object.freeze(shape);
    checkEps(eps, dtype);
    checkWeightOffset(weightOffset, dtype);
    checkCastOrder(castOrder);
    readDeviceFor(device, dtype);
    this.eps = eps;
    this.weightOffset = weightOffset;
    this.castOrder = castOrder;
    this.dtype = dtype;
    this.device = device;
    const hasWeight = readFlag('elementwiseAffine', elementwiseAffine, true);
    this.weight = hasWeight ? initialWeight(sizeOf(shape), 1 - weightOffset, dtype) : null;
    // One dim as a number is compared in less time.
    const given = shape.length === 1 ? shape[0] : shape;
    const bits = dtype === 'float32' ? undefined : dtype;
    this.#preset = { eps, weightOffset, castOrder, normalizedShape: given, device, bits };
  }

  /**
   * y of x, which must end in `normalizedShape` if it has dims. Keeps x, not a copy of it, and rstd
   * for backward: x and weight must not change until then. With x itself as `out` nothing is kept.
   *
   * With a residual, y and sum, x + residual, of which y is the norm. sum is kept in
   * place of x.
   *
   * ```ts
   * const { y, sum } = norm.forward(x, { residual });
   * const dx = norm.backward(dy, { dsum }); // the gradient of x, and of residual
   * ```
   *
   * @returns y, as {@link rmsNorm} does; with a residual `{ y, sum }`
   * @throws as {@link rmsNorm} does; backward then still belongs to the forward before
   */
  forward<X extends Input, const O extends RMSNormCallOptions = Pick<RMSNormCallOptions, 'out'>>(
    x: X,
    options: O = noOptions as O,
  ): RMSNormResult<X, O> {
    const makes = { rstd: this.#isFirst(), sum: true };
    const call = readForward(x, this.weight, options, forwardOptions, makes, this.#preset);
    runNow(call);
    const { out, sumOut, rstdOut, dtype } = call;
    const own = call.x as Argument;
    const isInPlace = sumOut === undefined && isSameMemory(out as Argument, own);
    this.#count(isInPlace ? 'inPlace' : { x: sumOut ?? own, rstd: rstdOut, dtype });
    const y = sourceOf(out as Argument);
    const result = sumOut === undefined ? y : { y, sum: sourceOf(sumOut) };
    return result as RMSNormResult<X, O>;
  }

  /**
   * dx of the forward since the last backward; adds the gradient of weight to `weightGrad`, which is
   * made if null.
   *
   * @param dy - the gradient of y: of x's kind and length
   * @returns dx, which is the gradient of forward's residual, too: of dy's form, or `out`
   * @throws Error `ERR_INVALID_STATE` if there was no forward since the last backward, or several of
   * them, or one whose `out` was x; and as {@link rmsNorm.backward} does: it can be called again then
   */
  backward<D extends Input>(dy: D, options: RMSNormBackwardOptions = {}): Output<D> {
    const { out, dsum } = knownOptions(options, backwardOptionNames);
    const saved = this.#forward;
    if (typeof saved === 'string') {
      throw codedError(
        'ERR_INVALID_STATE',
        `RMSNorm.backward must follow one forward, but ${obstacles[saved]}`,
      );
    }
    // Taken before getters of the arguments run, which may call this module.
    this.#forward = 'done';
    try {
      const dx = this.#gradients(dy, saved, out, dsum);
      this.#isNewStep = true;
      return dx;
    } catch (error) {
      if ((this.#forward as unknown) === 'done') this.#forward = saved;
      throw error;
    }
  }

  /** Sets `weightGrad` to zeros, in place, if there is one, and begins a step: see {@link RMSNorm}. */
  zeroGrad(): void {
    this.weightGrad?.fill(0);
    this.#isNewStep = true;
  }

  /**
   * Whether the next forward may have a backward. One in place cannot, so that the next one takes its
   * place.
   */
  #isFirst(): boolean {
    return this.#isNewStep || this.#forward === 'inPlace';
  }

  /** Counts a forward that was made. */
  #count(made: Saved | 'inPlace'): void {
    this.#forward = this.#isFirst() ? made : 'several';
    this.#isNewStep = false;
  }

  #gradients<D extends Input>(
    dy: D,
    { x, rstd, dtype }: Saved,
    out: Input | undefined,
    dsum: Input | undefined,
  ): Output<D> {
    const weightGrad = this.weight && (this.weightGrad ?? this.#makeWeightGrad());
    const options = {
      dtype,
      dxOut: out,
      dsum,
      dweightOut: weightGrad ?? undefined,
      accumulate: weightGrad !== null,
    };
    const own = recheck('x', x);
    const call = readBackward(dy, own, this.weight, rstd, options, this.#preset);
    runNow(call);
    this.weightGrad = weightGrad ?? this.weightGrad;
    const dx = call.dxOut as Argument;
    // Made in the form of x, where dy may have another.
    const result = out === undefined ? outputLike(call.dy as Argument, dataOf(dx)) : dx;
    return sourceOf(result) as Output<D>;
  }

  #makeWeightGrad(): Float32Array | Float64Array {
    const length = sizeOf(this.normalizedShape);
    return zeros(rstdKind(this.dtype), length) as Float32Array | Float64Array;
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

function initialWeight(
  length: number,
  value: number,
  dtype: DType,
): Float32Array | Float64Array | Uint16Array {
  if (dtype === 'float64') return new Float64Array(length).fill(value);
  const ones = new Float32Array(length).fill(value);
  if (dtype === 'float32') return ones;
  return dtype === 'float16' ? toFloat16(ones) : toBFloat16(ones);
}
