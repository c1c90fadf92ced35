import { readNormalizedShape, statedType } from './arguments';
import { type DeviceName } from './devices';
import { checkDTypeName, type DType, type FloatArray } from './dtype';
import { toBFloat16, toFloat16 } from './convert';
import { argumentError, codedError } from './errors';
import { checkOptions, readFlag, readSettings, type CastOrder } from './options';
import { rmsNorm } from './rms-norm';
import { likeOperand, readOperand, sizeOf, type Input, type Output } from './tensor';

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

/** Options of one call of {@link RMSNorm}'s methods. */
export interface RMSNormCallOptions {
  /** Receives the result, and is returned. */
  readonly out?: Input;
  /** The dtype of a `Uint16Array` input, where the module's is float32. */
  readonly dtype?: DType;
}

const constructorNames: ReadonlySet<string> = new Set([
  ...['eps', 'weightOffset', 'castOrder', 'dtype', 'elementwiseAffine', 'device'],
]);
const callNames: ReadonlySet<string> = new Set(['out', 'dtype']);

/** What backward needs of the last forward. */
interface Saved {
  readonly x: Input;
  readonly rstd: Float32Array;
  readonly dtype: DType | undefined;
}

/**
 * RMSNorm as a module, after PyTorch's `nn.RMSNorm`: it owns a weight and accumulates its gradient.
 *
 * ```ts
 * const norm = new RMSNorm(4096);
 * const y = norm.forward(x);
 * const dx = norm.backward(dy); // norm.weightGrad holds the gradient of norm.weight
 * norm.zeroGrad();
 * ```
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
   * `weightOffset`): a `Float32Array`, or the bits in a `Uint16Array` for a 16-bit dtype. Change it
   * in place. null without `elementwiseAffine`.
   */
  readonly weight: Float32Array | Uint16Array | null;
  /**
   * The sum of weight's gradients of all backwards since {@link RMSNorm.zeroGrad}, in float32
   * whatever the dtype. null before the first.
   */
  weightGrad: Float32Array | null = null;

  #saved: Saved | null = null;

  /**
   * @param normalizedShape - the last dims of x, or the one
   * @throws TypeError and RangeError for arguments that are not as described
   */
  constructor(normalizedShape: number | readonly number[], options: RMSNormOptions = {}) {
    checkOptions(options, constructorNames);
    const shape = readNormalizedShape(normalizedShape);
    if (shape === null) {
      const expected = 'a whole number from 1 up, or an array of them';
      throw argumentError('ERR_INVALID_ARG_TYPE', 'normalizedShape', expected, normalizedShape);
    }
    const { dtype = 'float32' } = options;
    checkDTypeName(dtype);
    const settings = readSettings(options);
    this.normalizedShape = [...shape];
    this.eps = settings.eps;
    this.weightOffset = settings.weightOffset;
    this.castOrder = settings.castOrder;
    this.dtype = dtype;
    this.device = options.device ?? 'cpu';
    const hasWeight = readFlag('elementwiseAffine', options.elementwiseAffine, true);
    this.weight = hasWeight ? initialWeight(sizeOf(shape), 1 - settings.weightOffset, dtype) : null;
  }

  /**
   * y of x, which must end in `normalizedShape` if it has dims. Keeps x, not a copy of it, and rstd
   * for backward: x must not change until then. With x itself as `out` nothing is kept.
   *
   * @returns y, as {@link rmsNorm} does
   * @throws as {@link rmsNorm} does
   */
  forward<X extends Input>(x: X, options: RMSNormCallOptions = {}): Output<X> {
    checkOptions(options, callNames);
    const dtype = this.#dtypeOf(x, options.dtype);
    const { y, rstd } = rmsNorm.forward(x, this.weight, {
      ...this.#options(dtype),
      ...(options.out === undefined ? {} : { out: options.out }),
    });
    this.#saved = isSameMemory(options.out, x) ? null : { x, rstd, dtype };
    return y;
  }

  /**
   * dx of the last forward; adds the gradient of weight to `weightGrad`, which is made if null.
   *
   * @param dy - the gradient of y: of x's kind and length
   * @returns dx: of dy's form, or `out`
   * @throws Error `ERR_INVALID_STATE` if there was no forward, or one whose `out` was x; and as
   * {@link rmsNorm.backward} does
   */
  backward<D extends Input>(dy: D, options: Pick<RMSNormCallOptions, 'out'> = {}): Output<D> {
    checkOptions(options, callNames);
    if (this.#saved === null) {
      throw codedError('ERR_INVALID_STATE', 'backward needs a forward before it that kept its x');
    }
    const { x, rstd, dtype } = this.#saved;
    const needsDweight = this.weight !== null;
    const weightGrad = this.weightGrad ?? new Float32Array(sizeOf(this.normalizedShape));
    const { dx } = rmsNorm.backward(dy, x, this.weight, rstd, {
      ...this.#options(dtype),
      ...(options.out === undefined ? {} : { dxOut: options.out }),
      ...(needsDweight ? { dweightOut: weightGrad, accumulate: true } : {}),
    });
    if (needsDweight) this.weightGrad = weightGrad;
    if (options.out !== undefined) return dx as Output<D>;
    return likeOperand(readOperand('dy', dy), dataOf(dx)) as Output<D>;
  }

  /** Sets `weightGrad` to zeros, in place, if there is one. */
  zeroGrad(): void {
    this.weightGrad?.fill(0);
  }

  #options(dtype: DType | undefined) {
    return {
      eps: this.eps,
      weightOffset: this.weightOffset,
      castOrder: this.castOrder,
      normalizedShape: this.normalizedShape,
      device: this.device,
      ...(dtype === undefined ? {} : { dtype }),
    };
  }

  /** The dtype to state for x: the call's, or the module's if x is an array of bits. */
  #dtypeOf(x: Input, stated: DType | undefined): DType | undefined {
    if (stated !== undefined || this.dtype === 'float32') return stated;
    const operand = readOperand('x', x);
    const needsDtype = operand.kind === 'Uint16Array' && statedType(operand) === undefined;
    return needsDtype ? this.dtype : undefined;
  }
}

function dataOf(input: Input): FloatArray {
  return ArrayBuffer.isView(input) ? input : input.data;
}

/** Whether two inputs that do not partly overlap, which calls refuse, overlap at all. */
function isSameMemory(out: Input | undefined, x: Input): boolean {
  if (out === undefined) return false;
  const [a, b] = [dataOf(out), dataOf(x)];
  return a.buffer === b.buffer && a.byteOffset === b.byteOffset;
}

function initialWeight(length: number, value: number, dtype: DType): Float32Array | Uint16Array {
  const ones = new Float32Array(length).fill(value);
  if (dtype === 'float32') return ones;
  return dtype === 'float16' ? toFloat16(ones) : toBFloat16(ones);
}
