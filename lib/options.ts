import { argumentError } from './errors';
import { readDevice, type DeviceName } from './devices';
import { type DType } from './dtype';
import { type Input } from './tensor';

/** Where a 16-bit result is rounded; T() rounds to the tensor's dtype. Equal for float32. */
export type CastOrder =
  /** `y = T(T(xhat) * w)`, as Meta's and Hugging Face's Llama. */
  | 'llama'
  /** `y = T(xhat * w)`: one rounding, as PyTorch's `rms_norm` and ONNX Runtime. */
  | 'float';

/** Options of every function. */
export interface CommonOptions {
  /** Added to the mean square, inside the root: finite in float32, not negative. Default 1e-6. */
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
   * a GPU and back, so that a call on them is faster on the CPU. Default `'cpu'`.
   */
  readonly device?: DeviceName;
}

/** Options of `rmsNorm` and `rmsNorm.async`. */
export interface RmsNormOptions extends CommonOptions {
  /** Receives y, and is returned: of x's kind and length. May be x itself. */
  readonly out?: Input;
}

/** Options of `rmsNorm.forward` and `rmsNorm.forwardAsync`. */
export interface ForwardOptions extends RmsNormOptions {
  /** Receives rstd, and is returned: (rows). */
  readonly rstdOut?: Float32Array;
}

/** Options of `rmsNorm.backward` and `rmsNorm.backwardAsync`. */
export interface BackwardOptions extends CommonOptions {
  /** Whether dx is computed. Default true. */
  readonly needsDx?: boolean;
  /** Whether dweight is computed. Default: whether there is a weight. */
  readonly needsDweight?: boolean;
  /** Receives dx, and is returned: of x's kind and length. May be dy or x itself. */
  readonly dxOut?: Input;
  /** Receives dweight, and is returned: of weight's length; float32 or of x's dtype. */
  readonly dweightOut?: Input;
  /** Adds to what `dweightOut` holds. Default false. */
  readonly accumulate?: boolean;
}

const commonNames = ['eps', 'weightOffset', 'castOrder', 'normalizedShape', 'dtype', 'device'];
export const rmsNormNames: ReadonlySet<string> = new Set([...commonNames, 'out']);
export const forwardNames: ReadonlySet<string> = new Set([...rmsNormNames, 'rstdOut']);
export const backwardNames: ReadonlySet<string> = new Set([
  ...commonNames,
  ...['needsDx', 'needsDweight', 'dxOut', 'dweightOut', 'accumulate'],
]);

/** Refuses options that are no object or that no function knows: a misspelt one would do nothing. */
export function checkOptions(options: unknown, names: ReadonlySet<string>): void {
  if (options === null || typeof options !== 'object') {
    throw argumentError('ERR_INVALID_ARG_TYPE', 'options', 'an object', options);
  }
  for (const name in options) {
    if (!names.has(name)) {
      throw argumentError(
        'ERR_INVALID_ARG_VALUE',
        'options',
        `of known names (${[...names].join(', ')})`,
        name,
      );
    }
  }
}

/** Options of every function, checked and complete. */
export interface Settings {
  readonly eps: number;
  readonly weightOffset: number;
  readonly castOrder: CastOrder;
  /** The option `device`, as native calls take it. */
  readonly device: number;
}

const defaultEps = 1e-6;

export function readSettings(options: CommonOptions): Settings {
  const { eps = defaultEps, weightOffset = 0 } = options;
  const castOrder: string = options.castOrder ?? 'llama';
  if (typeof eps !== 'number' || !(eps >= 0 && Math.fround(eps) < Infinity)) {
    throw numberError('eps', 'a number from 0 up, finite in float32', eps);
  }
  if (typeof weightOffset !== 'number' || !Number.isFinite(Math.fround(weightOffset))) {
    throw numberError('weightOffset', 'a number, finite in float32', weightOffset);
  }
  if (castOrder !== 'llama' && castOrder !== 'float') {
    throw argumentError('ERR_INVALID_ARG_VALUE', 'castOrder', "'llama' or 'float'", castOrder);
  }
  return { eps, weightOffset, castOrder, device: readDevice(options.device) };
}

export function readFlag(name: string, value: unknown, ifMissing: boolean): boolean {
  if (value === undefined) return ifMissing;
  if (typeof value === 'boolean') return value;
  throw argumentError('ERR_INVALID_ARG_TYPE', name, 'a boolean', value);
}

function numberError(name: string, expected: string, value: unknown): Error {
  const code = typeof value === 'number' ? 'ERR_OUT_OF_RANGE' : 'ERR_INVALID_ARG_TYPE';
  return argumentError(code, name, expected, value);
}
