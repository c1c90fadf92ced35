import { types } from 'node:util';

import { hasOfItsOwn, isRevoked, withoutInherited } from '../core/caller-values';
import { argumentError } from '../core/errors';
import { readDevice, type DeviceName } from '../gpu/devices';
import type { DeviceBuffer } from '../gpu/device-buffer';
import { type DType, type RstdArray } from '../core/dtype';
import type { Stream } from '../gpu/stream';
import type { AnyInput } from './tensor';

/** Where a 16-bit result is rounded; T() rounds to the tensor's dtype. Equal for float32. */
export type CastOrder =
  /** `y = T(T(xhat) * w)`, as Meta's and Hugging Face's Llama. */
  | 'llama'
  /** `y = T(xhat * w)`: one rounding, as PyTorch's `rms_norm` and ONNX Runtime. */
  | 'float';

/** Options of every function. */
export interface CommonOptions {
  /**
   * Added to the mean square, inside the root: not negative, and finite in float32 (float64 for
   * float64 tensors, as all that is said to be in float32 here). Default 1e-6.
   */
  readonly eps?: number;
  /** Added to weight in float32: 1 for Gemma's weights. Default 0. */
  readonly weightOffset?: number;
  /** Default `'llama'`. */
  readonly castOrder?: CastOrder;
  /**
   * The last dims of x, over which is normalised; their product is the hidden size. Default: the
   * shape of weight. Required without weight.
   */
  readonly normalizedShape?: number | readonly number[];
  /** The dtype of `Uint16Array` tensors. Default: the `type` of x, if it is a tensor that has one. */
  readonly dtype?: DType;
  /**
   * Where the call runs. The results have the same bits everywhere. Arrays of the host are copied to
   * a GPU and back, so that a call on them is faster on the CPU. `'cpu'` for float64. Default
   * `'cpu'`.
   */
  readonly device?: DeviceName;
  /**
   * Where the call is enqueued, if x is a DeviceBuffer: of its device. Default: its
   * {@link Stream.default}.
   */
  readonly stream?: Stream;
}

/** Options of `rmsNorm` and `rmsNorm.async`. */
export interface RmsNormOptions extends CommonOptions {
  /** Receives y, and is returned: of x's kind and length. May be x or residual itself. */
  readonly out?: AnyInput;
  /**
   * Added to x first, of x's kind and length: the norm is of the sum, rounded to x's dtype, as at the
   * end of a block of a transformer. Needs a `sumOut`, but with `rmsNorm.forward`.
   */
  readonly residual?: AnyInput;
  /**
   * Receives x + residual, rounded to x's dtype: of x's kind and length. May be x or residual itself;
   * not `out`.
   */
  readonly sumOut?: AnyInput;
}

/** Options of `rmsNorm.forward` and `rmsNorm.forwardAsync`. */
export interface ForwardOptions extends RmsNormOptions {
  /** Receives rstd, and is returned: (rows), a `Float64Array` if x is one. */
  readonly rstdOut?: RstdArray | DeviceBuffer;
}

/** Options of `rmsNorm.backward` and `rmsNorm.backwardAsync`. */
export interface BackwardOptions extends CommonOptions {
  /** Whether dx is computed. Default true. */
  readonly needsDx?: boolean;
  /** Whether dweight is computed. Default: whether there is a weight. */
  readonly needsDweight?: boolean;
  /** Receives dx, and is returned: of x's kind and length. May be dy, x or dsum itself. */
  readonly dxOut?: AnyInput;
  /**
   * The gradient that arrives through forward's `sum`, which is x here: of x's kind and
   * length. Added to dx, in float32 and before its one rounding; dx is then the gradient of forward's
   * x and of its `residual`, which are the same.
   */
  readonly dsum?: AnyInput;
  /** Receives dweight, and is returned: of weight's length; of x's dtype, or float32 beside 16 bits. */
  readonly dweightOut?: AnyInput;
  /** Adds to what `dweightOut` holds. Default false. */
  readonly accumulate?: boolean;
}

/** The options of a call without any, which need no check. Not to be read: it inherits. */
export const noOptions: CommonOptions = {};

const commonNames = [
  'eps',
  'weightOffset',
  'castOrder',
  'normalizedShape',
  'dtype',
  'device',
  'stream',
];
export const rmsNormNames: ReadonlySet<string> = new Set([
  ...commonNames,
  ...['out', 'residual', 'sumOut'],
]);
export const forwardNames: ReadonlySet<string> = new Set([...rmsNormNames, 'rstdOut']);
export const backwardNames: ReadonlySet<string> = new Set([
  ...commonNames,
  ...['needsDx', 'needsDweight', 'dxOut', 'dweightOut', 'accumulate', 'dsum'],
]);

/** Whether a value can be an object of options. */
function isOptions(value: unknown): value is object {
  if (value === null || typeof value !== 'object' || isRevoked(value)) return false;
  return !Array.isArray(value) && !ArrayBuffer.isView(value);
}

/** Whether a value without names is a collection or a promise, which would pass for no options. */
function isOther(value: object): boolean {
  return types.isMap(value) || types.isSet(value) || types.isPromise(value);
}

/**
 * Options as they are to be read: see {@link withoutInherited}. Refuses those that are no object, or
 * that no function knows: a misspelt one would do nothing.
 */
export function knownOptions<O extends object>(options: O, names: ReadonlySet<string>): O {
  if (!isOptions(options)) throw optionsError(options);
  const own = withoutInherited(options, names);
  let isEmpty = true;
  for (const name in options) {
    const isKnown = names.has(name);
    if ((!isKnown || own !== options) && !hasOfItsOwn(options, name)) continue;
    if (!isKnown) {
      const expected = `of known names (${[...names].join(', ')})`;
      throw argumentError('ERR_INVALID_ARG_VALUE', 'options', expected, name);
    }
    isEmpty = false;
  }
  if (isEmpty && isOther(options)) throw optionsError(options);
  return own;
}

function optionsError(options: unknown): Error {
  return argumentError('ERR_INVALID_ARG_TYPE', 'options', 'an object', options);
}

/** Options that have been read: undefined for those that were not given. */
export type OwnOptions<O> = { readonly [K in keyof O]: O[K] | undefined };

/**
 * A copy of checked options, each of them read once. All names are spelled out, here and for backward:
 * with a spread of the common ones a call on 1x64 takes six times as long.
 */
export function readForwardOptions(options: ForwardOptions): OwnOptions<ForwardOptions> {
  const { eps, weightOffset, castOrder, normalizedShape, dtype, device, stream } = options;
  const { out, rstdOut, residual, sumOut } = options;
  return {
    eps,
    weightOffset,
    castOrder,
    normalizedShape,
    dtype,
    device,
    stream,
    out,
    rstdOut,
    residual,
    sumOut,
  };
}

/** As {@link readForwardOptions}. */
export function readBackwardOptions(options: BackwardOptions): OwnOptions<BackwardOptions> {
  const { eps, weightOffset, castOrder, normalizedShape, dtype, device, stream } = options;
  const { needsDx, needsDweight, dxOut, dsum, dweightOut, accumulate } = options;
  return {
    eps,
    weightOffset,
    castOrder,
    normalizedShape,
    dtype,
    device,
    stream,
    needsDx,
    needsDweight,
    dxOut,
    dsum,
    dweightOut,
    accumulate,
  };
}

/** What is read of {@link noOptions}. */
const nothing = Object.create(null) as CommonOptions;
export const noForwardOptions = readForwardOptions(nothing);
export const noBackwardOptions = readBackwardOptions(nothing);

/** Options of every function, checked and complete. */
export interface Settings {
  readonly eps: number;
  readonly weightOffset: number;
  readonly castOrder: CastOrder;
  /** The option `device`, as native calls take it. */
  readonly device: number;
}

export const defaultEps = 1e-6;

/** What tensors of a dtype are computed in. */
function arithmeticOf(dtype: DType): 'float32' | 'float64' {
  return dtype === 'float64' ? 'float64' : 'float32';
}

function isFiniteIn(dtype: DType, value: number): boolean {
  return Number.isFinite(dtype === 'float64' ? value : Math.fround(value));
}

/** `dtype`: of the tensors. */
export function readSettings(options: OwnOptions<CommonOptions>, dtype: DType): Settings {
  const { eps = defaultEps, weightOffset = 0, castOrder: order = 'llama', device: name } = options;
  const castOrder: string = order;
  if (typeof eps !== 'number' || !(eps >= 0 && isFiniteIn(dtype, eps))) {
    throw numberError('eps', `a number from 0 up, finite in ${arithmeticOf(dtype)}`, eps);
  }
  if (typeof weightOffset !== 'number' || !isFiniteIn(dtype, weightOffset)) {
    throw numberError('weightOffset', `a number, finite in ${arithmeticOf(dtype)}`, weightOffset);
  }
  if (castOrder !== 'llama' && castOrder !== 'float') {
    throw argumentError('ERR_INVALID_ARG_VALUE', 'castOrder', "'llama' or 'float'", castOrder);
  }
  const device = readDevice(name);
  if (dtype === 'float64' && device !== 0) {
    const expected = "'cpu' for float64, which is computed there alone";
    throw argumentError('ERR_INVALID_ARG_VALUE', 'device', expected, name);
  }
  return { eps, weightOffset, castOrder, device };
}

export function readFlag(name: string, value: unknown, ifMissing: boolean): boolean {
  if (value === undefined) return ifMissing;
  if (typeof value === 'boolean') return value;
  throw argumentError('ERR_INVALID_ARG_TYPE', name, 'a boolean', value);
}

/** A whole number, from `least` up. */
export function readCount(name: string, value: unknown, least: number): number {
  if (typeof value !== 'number') {
    throw argumentError('ERR_INVALID_ARG_TYPE', name, 'a number', value);
  }
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw argumentError('ERR_OUT_OF_RANGE', name, `a whole number from ${String(least)} up`, value);
}

function numberError(name: string, expected: string, value: unknown): Error {
  const code = typeof value === 'number' ? 'ERR_OUT_OF_RANGE' : 'ERR_INVALID_ARG_TYPE';
  return argumentError(code, name, expected, value);
}
