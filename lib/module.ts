import { readNormalizedShape, rstdKind, statedType } from './arguments';
import { type DeviceName } from './devices';
import { checkDTypeName, zeros, type DType, type FloatArray, type RstdArray } from './dtype';
import { toBFloat16, toFloat16 } from './convert';
import { argumentError, codedError } from './errors';
import {
  checkOptions,
  noOptions,
  readFlag,
  readSettings,
  type CastOrder,
  type ForwardOptions,
} from './options';
import { rmsNorm, type ForwardResult } from './rms-norm';
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

/** Options of {@link RMSNorm.forward}. */
export interface RMSNormCallOptions {
  /** Receives y, and is returned. May be x or residual itself. */
  readonly out?: Input;
  /** Added to x first, of x's kind and length: y is the norm of the sum. */
  readonly residual?: Input;
  /** Receives x + residual, and is returned. May be x or residual itself; not `out`. */
  readonly residualOut?: Input;
  /** The dtype of a `Uint16Array` input, where the module's is float32. */
  readonly dtype?: DType;
}

/** Options of {@link RMSNorm.backward}. */
export interface RMSNormBackwardOptions {
  /** Receives dx, and is returned. May be dy or dresidualOut itself. */
  readonly out?: Input;
  /** The gradient that arrives through forward's `residualOut`; added to dx. */
  readonly dresidualOut?: Input;
}

/** What {@link RMSNorm.forward} returns where there is a residual. */
export interface RMSNormSum<X> {
  /** The norm of residualOut: of x's form, kind and length; the option `out`, if that was given. */
  y: Output<X>;
  /** x + residual: of x's form, kind and length; the option `residualOut`, if that was given. */
  residualOut: Output<X>;
}

/** What {@link RMSNorm.forward} returns: y, or y and residualOut where there is a residual. */
export type RMSNormResult<X, O> =
  O extends Required<Pick<RMSNormCallOptions, 'residual'>>
    ? RMSNormSum<X>
    : 'residual' extends keyof O
      ? Output<X> | RMSNormSum<X>
      : Output<X>;

const constructorNames: ReadonlySet<string> = new Set([
  ...['eps', 'weightOffset', 'castOrder', 'dtype', 'elementwiseAffine', 'device'],
]);
const forwardNames: ReadonlySet<string> = new Set(['out', 'residual', 'residualOut', 'dtype']);
const backwardNames: ReadonlySet<string> = new Set(['out', 'dresidualOut']);

/** What backward needs of the last forward. */
interface Saved {
  /** residualOut, if there was a residual. */
  readonly x: Input;
  readonly rstd: RstdArray;
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
   * `weightOffset`): a `Float32Array`, a `Float64Array` for float64, or the bits in a `Uint16Array`
   * for a 16-bit dtype. Change it in place. null without `elementwiseAffine`.
   */
  readonly weight: Float32Array | Float64Array | Uint16Array | null;
  /**
   * The sum of weight's gradients of all backwards since {@link RMSNorm.zeroGrad}, in float32
   * whatever the dtype, but float64 for float64. null before the first.
   */
  weightGrad: Float32Array | Float64Array | null = null;

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
    const settings = readSettings(options, dtype);
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
   * With a residual, y and residualOut, their sum, of which y is the norm. residualOut is kept in
   * place of x.
   *
   * ```ts
   * const { y, residualOut } = norm.forward(x, { residual });
   * const dx = norm.backward(dy, { dresidualOut }); // the gradient of x, and of residual
   * ```
   *
   * @returns y, as {@link rmsNorm} does; with a residual `{ y, residualOut }`
   * @throws as {@link rmsNorm} does
   */
  forward<X extends Input, const O extends RMSNormCallOptions = Pick<RMSNormCallOptions, 'out'>>(
    x: X,
    options: O = noOptions as O,
  ): RMSNormResult<X, O> {
    checkOptions(options, forwardNames);
    const { out, residual, residualOut } = options as RMSNormCallOptions;
    const dtype = this.#dtypeOf(x, options.dtype);
    const result = rmsNorm.forward(x, this.weight, {
      ...this.#options(dtype),
      ...(out === undefined ? {} : { out }),
      ...(residual === undefined ? {} : { residual }),
      ...(residualOut === undefined ? {} : { residualOut }),
    });
    const { y, rstd, residualOut: sum } = result as ForwardResult<X, ForwardOptions>;
    const isKept = sum !== null || !isSameMemory(out, x);
    this.#saved = isKept ? { x: sum ?? x, rstd, dtype } : null;
    return (sum === null ? y : { y, residualOut: sum }) as RMSNormResult<X, O>;
  }

  /**
   * dx of the last forward; adds the gradient of weight to `weightGrad`, which is made if null.
   *
   * @param dy - the gradient of y: of x's kind and length
   * @returns dx, which is the gradient of forward's residual, too: of dy's form, or `out`
   * @throws Error `ERR_INVALID_STATE` if there was no forward, or one whose `out` was x; and as
   * {@link rmsNorm.backward} does
   */
  backward<D extends Input>(dy: D, options: RMSNormBackwardOptions = {}): Output<D> {
    checkOptions(options, backwardNames);
    const { out, dresidualOut } = options;
    if (this.#saved === null) {
      throw codedError('ERR_INVALID_STATE', 'backward needs a forward before it that kept its x');
    }
    const { x, rstd, dtype } = this.#saved;
    const needsDweight = this.weight !== null;
    const weightGrad =
      this.weightGrad ??
      (zeros(rstdKind(this.dtype), sizeOf(this.normalizedShape)) as Float32Array | Float64Array);
    const { dx } = rmsNorm.backward(dy, x, this.weight, rstd, {
      ...this.#options(dtype),
      ...(out === undefined ? {} : { dxOut: out }),
      ...(dresidualOut === undefined ? {} : { dresidualOut }),
      ...(needsDweight ? { dweightOut: weightGrad, accumulate: true } : {}),
    });
    if (needsDweight) this.weightGrad = weightGrad;
    if (out !== undefined) return dx as Output<D>;
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
  return a.buffer === b.buffer && firstByte(out) === firstByte(x);
}

function firstByte(input: Input): number {
  const { byteOffset, byteLength, length } = dataOf(input);
  const offset = ArrayBuffer.isView(input) ? 0 : (input.offset ?? 0);
  return byteOffset + (offset * byteLength) / length;
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
