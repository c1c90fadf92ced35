import { cpuOrdinal, readDevice, type DeviceName } from '../gpu/devices';
import type { DeviceBuffer } from '../gpu/device-buffer';
import type { Stream } from '../gpu/stream';
import type { CodeArray, DType, QuantizedDType, RstdArray } from '../core/dtype';
import { argumentError } from '../core/errors';
import { numberError } from '../core/validate';
import type { AnyInput, TensorLike } from './tensor';

/**
 * Where a 16-bit result is rounded. T() rounds to the dtype of x, `xhat` is x * rstd in float32, and `w` is
 * weight + weightOffset. For float32 and float64 tensors both orders give the same result.
 */
export type CastOrder =
  /** `y = T(T(xhat) * w)`: two roundings, as in Meta's and Hugging Face's Llama. */
  | 'llama'
  /** `y = T(xhat * w)`: one rounding, as in PyTorch's `rms_norm` and ONNX Runtime. */
  | 'float';

/** Where a gate is applied: see {@link GateOptions.gateOrder}. */
export type GateOrder =
  /** `y = norm(x) * weight * silu(gate)`, as in Qwen3-Next, and in Mamba-2 with `norm_before_gate`. */
  | 'after-norm'
  /** `y = norm(x * silu(gate)) * weight`, as in Mamba-2. */
  | 'before-norm';

/** Options of a gate. */
export interface GateOptions {
  /**
   * A tensor whose `silu(gate) = gate / (1 + exp(-gate))` multiplies x or y: see `gateOrder`. It has x's
   * dtype, length and device. Not for float64.
   */
  readonly gate?: AnyInput | undefined;
  /**
   * Where the gate is applied: `'after-norm'`, the default, multiplies y by `silu(gate)`; `'before-norm'`
   * multiplies x. With `'before-norm'`, rstd is of the product, too. With a `residual`, the sum takes the
   * place of x, and `sumOut` receives the sum without the gate.
   */
  readonly gateOrder?: GateOrder | undefined;
}

/** Options of every function. Where float32 is mentioned, float64 tensors use float64. */
export interface CommonOptions {
  /** Added to mean(x²) under the square root. Not negative, and finite in float32. Default 1e-6. */
  readonly eps?: number | undefined;
  /** Added to weight in float32: 1 for Gemma's weights. Finite in float32. Default 0. */
  readonly weightOffset?: number | undefined;
  /** Where 16-bit results are rounded: see {@link CastOrder}. Default `'llama'`. */
  readonly castOrder?: CastOrder | undefined;
  /**
   * The last dims of x, over which x is normalised. Their product is the number of elements of a row.
   * Default: the shape of weight. Required if weight is null.
   */
  readonly normalizedShape?: number | readonly number[] | undefined;
  /**
   * The dtype of x and of all tensors of its shape. Needed only for an x in a `Uint16Array`, whose bits can
   * be of either 16-bit dtype. Default: the `type` of x if x is a tensor that has one, else the dtype of the
   * module if a module makes the call. For any other x this option may only repeat the dtype.
   */
  readonly dtype?: DType | undefined;
  /**
   * The device that the call runs on. The results have the same bits on every device. Host arrays are
   * copied to a GPU and back, so a call on them is faster on the CPU. Must be `'cpu'` for float64. Default
   * `'cpu'` for arrays. A call on a DeviceBuffer runs on the device of x; this option may only repeat that
   * device.
   */
  readonly device?: DeviceName | undefined;
  /**
   * The stream that the call is enqueued on. Only for an x in a DeviceBuffer, and of the same device.
   * Default: the {@link Stream.default} of that device.
   */
  readonly stream?: Stream | undefined;
}

/** Options of `rmsNorm` and `rmsNorm.async`. */
export interface RmsNormOptions extends CommonOptions, GateOptions {
  /** Receives y, and is returned. It has x's dtype, length and device. May be x or residual itself. */
  readonly out?: AnyInput | undefined;
  /**
   * Added to x before the norm, as at the end of a transformer block. It has x's dtype, length and device.
   * The norm is of the sum, rounded to x's dtype. `rmsNorm` and `rmsNorm.async` need a `sumOut` with it; the
   * other functions allocate and return the sum.
   */
  readonly residual?: AnyInput | undefined;
  /**
   * Receives x + residual, rounded to x's dtype. It has x's dtype, length and device. May be x or residual
   * itself, but not `out`. Only with a `residual`.
   */
  readonly sumOut?: AnyInput | undefined;
}

/** The memory of quantised codes. */
type CodeData = CodeArray | DeviceBuffer<QuantizedDType>;

/** Options of `rmsNorm.forward` and `rmsNorm.forwardAsync`. */
export interface ForwardOptions extends Omit<RmsNormOptions, 'out'> {
  /**
   * Receives y, and is returned. It has x's dtype, length and device. May be x or residual itself.
   *
   * With `quantize` it receives the codes, has their dtype, and may overlap nothing: an `Int8Array` for
   * int8, a `Uint8Array` of the bits for float8, a DeviceBuffer, or a tensor of one of these.
   */
  readonly out?: AnyInput | CodeData | TensorLike<CodeData> | undefined;
  /** Receives rstd, and is returned. Shape (rows). float64 if x is float64, else float32. */
  readonly rstdOut?: RstdArray | DeviceBuffer | undefined;
  /**
   * Quantises y to 8-bit codes: `code = Q(y / scale)`. Q rounds to nearest even and saturates at the
   * largest code. Each row has its own scale: `scale = max|y| / largest`. `largest` is the number that
   * the largest code stands for: 127 (int8), 448 (float8_e4m3) or 57344 (float8_e5m2).
   *
   * With `castOrder: 'llama'`, y is first rounded to x's dtype and then quantised. So quantising the y of a
   * call without `quantize` gives the same codes. With `castOrder: 'float'`, y is quantised without that
   * rounding.
   *
   * If all of y is 0 in a row, the row's scale and codes are 0. If y has a NaN in a row, the scale is NaN,
   * and all codes of the row are NaN (float8) or 0 (int8). Not for float64.
   */
  readonly quantize?: QuantizedDType | undefined;
  /**
   * With `quantize`: one scale for all rows, known beforehand. The codes are `Q(y * (1 / scale))` in
   * float32. Above 0; the scale and its inverse must be finite in float32. Default: each row has its
   * own scale.
   */
  readonly scale?: number | undefined;
  /**
   * With `quantize`: the upper bound of a row's own scale, so that outliers saturate. Above 0, and not
   * together with `scale`. vLLM's `scale_ub` bounds `max|y|` instead: it is `scaleMax` times the number
   * `largest` under `quantize`. Default: Infinity.
   */
  readonly scaleMax?: number | undefined;
  /** With `quantize`, but not `scale`: receives each row's scale, and is returned. (rows), float32. */
  readonly scaleOut?: Float32Array | DeviceBuffer | undefined;
}

/** Options of `rmsNorm.backward` and `rmsNorm.backwardAsync`. */
export interface BackwardOptions extends CommonOptions, GateOptions {
  /** Whether dx is computed. Default true. */
  readonly needsDx?: boolean | undefined;
  /** Whether dweight is computed. Default: true with a weight, false without. */
  readonly needsDweight?: boolean | undefined;
  /** Receives dx, and is returned. It has x's dtype, length and device. May be dy, x or dsum itself. */
  readonly dxOut?: AnyInput | undefined;
  /**
   * The gradient of forward's `sum`, which is the x of backward. It has x's dtype, length and device. It is
   * added to dx in float32, before the only rounding. dx is then the gradient of forward's x and also of
   * forward's `residual`: the two are equal.
   */
  readonly dsum?: AnyInput | undefined;
  /**
   * Receives the gradient of `gate`, and is returned. It has x's dtype, length and device. May be gate
   * itself. The gradient is computed if there is a gate and dx is computed.
   */
  readonly dgateOut?: AnyInput | undefined;
  /**
   * Receives dweight, and is returned. It has the length of weight. Its dtype is that of x; it may also be
   * float32 if x is float16 or bfloat16.
   */
  readonly dweightOut?: AnyInput | undefined;
  /** Whether dweight is added to the values in `dweightOut`, which must be passed. Default false. */
  readonly accumulate?: boolean | undefined;
}

export const defaultEps = 1e-6;

/** The type in which tensors of a dtype are computed. */
function arithmeticOf(dtype: DType): 'float32' | 'float64' {
  return dtype === 'float64' ? 'float64' : 'float32';
}

function isFiniteIn(dtype: DType, value: number): boolean {
  return Number.isFinite(dtype === 'float64' ? value : Math.fround(value));
}

/** In this function and those below, `dtype` is the dtype of x. */
export function checkEps(eps: unknown, dtype: DType): asserts eps is number {
  if (typeof eps === 'number' && eps >= 0 && isFiniteIn(dtype, eps)) return;
  throw numberError('eps', `a number >= 0 that is finite in ${arithmeticOf(dtype)}`, eps);
}

export function checkWeightOffset(offset: unknown, dtype: DType): asserts offset is number {
  if (typeof offset === 'number' && isFiniteIn(dtype, offset)) return;
  throw numberError('weightOffset', `a number that is finite in ${arithmeticOf(dtype)}`, offset);
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

/** The ordinal of the device that the option `device` names. */
export function readDeviceFor(name: unknown, dtype: DType): number {
  if (name === undefined || name === 'cpu') return cpuOrdinal;
  const device = readDevice(name);
  if (dtype !== 'float64' || device === cpuOrdinal) return device;
  const expected = "'cpu' for float64, which has no CUDA kernels";
  throw argumentError('ERR_INVALID_ARG_VALUE', 'device', expected, name);
}
