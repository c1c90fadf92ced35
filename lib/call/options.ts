import { cpuOrdinal, readDevice, type DeviceName } from '../gpu/devices';
import type { DeviceBuffer } from '../gpu/device-buffer';
import type { Stream } from '../gpu/stream';
import type { CodeArray, DType, QuantizedDType, RstdArray } from '../core/dtype';
import { argumentError } from '../core/errors';
import { numberError } from '../core/validate';
import type { AnyInput, TensorLike } from './tensor';

/** Where a 16-bit result is rounded; T() rounds to the tensor's dtype. Equal for float32. */
export type CastOrder =
  /** `y = T(T(xhat) * w)`, as Meta's and Hugging Face's Llama. */
  | 'llama'
  /** `y = T(xhat * w)`: one rounding, as PyTorch's `rms_norm` and ONNX Runtime. */
  | 'float';

/** Where a gate is applied: see {@link GateOptions.gateOrder}. */
export type GateOrder =
  /** `y = norm(x) * weight * silu(gate)`, as Qwen3-Next, and Mamba-2 with `norm_before_gate`. */
  | 'after-norm'
  /** `y = norm(x * silu(gate)) * weight`, as Mamba-2. */
  | 'before-norm';

/** Options of a gate. */
export interface GateOptions {
  /** Its `silu` multiplies, as `gateOrder` says: of x's kind and length; not float64. */
  readonly gate?: AnyInput | undefined;
  /**
   * Where. With `'before-norm'`, rstd and the sum that `residual` makes are those of the call: the
   * norm is of x (or the sum) times `silu(gate)`. Default `'after-norm'`.
   */
  readonly gateOrder?: GateOrder | undefined;
}

/** Options of every function. */
export interface CommonOptions {
  /**
   * Added to the mean square, inside the root: not negative, and finite in float32 (float64 for
   * float64 tensors, as all that is said to be in float32 here). Default 1e-6.
   */
  readonly eps?: number | undefined;
  /** Added to weight in float32: 1 for Gemma's weights. Default 0. */
  readonly weightOffset?: number | undefined;
  /** Default `'llama'`. */
  readonly castOrder?: CastOrder | undefined;
  /**
   * The last dims of x, over which is normalised; their product is the hidden size. Default: the
   * shape of weight. Required without weight.
   */
  readonly normalizedShape?: number | readonly number[] | undefined;
  /** The dtype of `Uint16Array` tensors. Default: the `type` of x, if it is a tensor that has one. */
  readonly dtype?: DType | undefined;
  /**
   * Where the call runs. The results have the same bits everywhere. Arrays of the host are copied to
   * a GPU and back, so that a call on them is faster on the CPU. `'cpu'` for float64. Default
   * `'cpu'`.
   */
  readonly device?: DeviceName | undefined;
  /**
   * Where the call is enqueued, if x is a DeviceBuffer: of its device. Default: its
   * {@link Stream.default}.
   */
  readonly stream?: Stream | undefined;
}

/** Options of `rmsNorm` and `rmsNorm.async`. */
export interface RmsNormOptions extends CommonOptions, GateOptions {
  /** Receives y, and is returned: of x's kind and length. May be x or residual itself. */
  readonly out?: AnyInput | undefined;
  /**
   * Added to x first, of x's kind and length: the norm is of the sum, rounded to x's dtype, as at the
   * end of a block of a transformer. Needs a `sumOut`, but with `rmsNorm.forward`.
   */
  readonly residual?: AnyInput | undefined;
  /**
   * Receives x + residual, rounded to x's dtype: of x's kind and length. May be x or residual itself;
   * not `out`.
   */
  readonly sumOut?: AnyInput | undefined;
}

/** Options of `rmsNorm.forward` and `rmsNorm.forwardAsync`. */
export interface ForwardOptions extends Omit<RmsNormOptions, 'out'> {
  /**
   * Receives y, and is returned: of x's kind and length. May be x or residual itself. With `quantize`
   * it receives the codes: an `Int8Array` for int8, a `Uint8Array` of the bits for float8, a
   * DeviceBuffer of that dtype, or a tensor of one; then it may overlap nothing.
   */
  readonly out?:
    | AnyInput
    | CodeArray
    | DeviceBuffer<QuantizedDType>
    | TensorLike<CodeArray | DeviceBuffer<QuantizedDType>>
    | undefined;
  /** Receives rstd, and is returned: (rows), a `Float64Array` if x is one. */
  readonly rstdOut?: RstdArray | DeviceBuffer | undefined;
  /**
   * Quantises y to codes of 8 bits: `code = Q(y / scale)`, rounded to nearest even, and at most the
   * largest code, with a scale for each row: `scale = max|y| / largest`, the largest code standing for
   * 127 (int8), 448 (float8_e4m3) or 57344 (float8_e5m2). y is the product before its rounding to x's
   * dtype (`castOrder: 'float'`) or after it (`'llama'`): what a call without `quantize` gives, and one
   * that quantises after it, has these codes. A row of zeros has scale 0 and codes of 0; in a row with
   * a NaN scale is NaN, and codes are those of NaN (float8) or 0 (int8). Not for float64.
   */
  readonly quantize?: QuantizedDType | undefined;
  /**
   * With `quantize`: one scale for all rows, known beforehand, `code = Q(y * (1 / scale))` in float32.
   * Above 0. Default: each row has its own.
   */
  readonly scale?: number | undefined;
  /**
   * With `quantize`: what a row's own scale is at most, so that outliers saturate. vLLM's `scale_ub`
   * bounds `max|y|` instead, and is this times the largest code. Default: Infinity.
   */
  readonly scaleMax?: number | undefined;
  /** With `quantize`: receives the rows' own scales, and is returned: (rows), float32. */
  readonly scaleOut?: Float32Array | DeviceBuffer | undefined;
}

/** Options of `rmsNorm.backward` and `rmsNorm.backwardAsync`. */
export interface BackwardOptions extends CommonOptions, GateOptions {
  /** Whether dx is computed. Default true. */
  readonly needsDx?: boolean | undefined;
  /** Whether dweight is computed. Default: whether there is a weight. */
  readonly needsDweight?: boolean | undefined;
  /** Receives dx, and is returned: of x's kind and length. May be dy, x or dsum itself. */
  readonly dxOut?: AnyInput | undefined;
  /**
   * The gradient that arrives through forward's `sum`, which is x here: of x's kind and
   * length. Added to dx, in float32 and before its one rounding; dx is then the gradient of forward's
   * x and of its `residual`, which are the same.
   */
  readonly dsum?: AnyInput | undefined;
  /**
   * Receives the gradient of `gate`, and is returned: of x's kind and length. May be gate itself. It is
   * computed where there is a gate and dx is.
   */
  readonly dgateOut?: AnyInput | undefined;
  /** Receives dweight, and is returned: of weight's length; of x's dtype, or float32 beside 16 bits. */
  readonly dweightOut?: AnyInput | undefined;
  /** Adds to what `dweightOut` holds. Default false. */
  readonly accumulate?: boolean | undefined;
}

export const defaultEps = 1e-6;

/** What tensors of a dtype are computed in. */
function arithmeticOf(dtype: DType): 'float32' | 'float64' {
  return dtype === 'float64' ? 'float64' : 'float32';
}

function isFiniteIn(dtype: DType, value: number): boolean {
  return Number.isFinite(dtype === 'float64' ? value : Math.fround(value));
}

/** `dtype`: of the tensors, here and below. */
export function checkEps(eps: unknown, dtype: DType): asserts eps is number {
  if (typeof eps === 'number' && eps >= 0 && isFiniteIn(dtype, eps)) return;
  throw numberError('eps', `a number from 0 up, finite in ${arithmeticOf(dtype)}`, eps);
}

export function checkWeightOffset(offset: unknown, dtype: DType): asserts offset is number {
  if (typeof offset === 'number' && isFiniteIn(dtype, offset)) return;
  throw numberError('weightOffset', `a number, finite in ${arithmeticOf(dtype)}`, offset);
}

export function checkGateOrder(order: unknown): asserts order is GateOrder {
  if (order === 'after-norm' || order === 'before-norm') return;
  const expected = "'after-norm' or 'before-norm'";
  throw argumentError('ERR_INVALID_ARG_VALUE', 'gateOrder', expected, order);
}

export function checkCastOrder(order: unknown): asserts order is CastOrder {
  if (order === 'llama' || order === 'float') return;
  throw argumentError('ERR_INVALID_ARG_VALUE', 'castOrder', "'llama' or 'float'", order);
}

/** The ordinal of the option `device`. */
export function readDeviceFor(name: unknown, dtype: DType): number {
  if (name === undefined || name === 'cpu') return cpuOrdinal;
  const device = readDevice(name);
  if (dtype !== 'float64' || device === cpuOrdinal) return device;
  const expected = "'cpu' for float64, which is computed there alone";
  throw argumentError('ERR_INVALID_ARG_VALUE', 'device', expected, name);
}
