// Arguments that do not go together: a parameter has the type `unknown` beside its own where all is
// well, else a sentence, which the compiler's message then quotes.

import type { AnyInput } from './call/tensor';
import type { Float16ArrayLike } from './core/dtype';
import type { DeviceBuffer } from './gpu/device-buffer';

/** What holds the elements of an argument. A union has all that it may be, and any has all. */
type Kind<T> = T extends { readonly data: infer A; readonly dims: unknown }
  ? Kind<A>
  : T extends DeviceBuffer
    ? 'DeviceBuffer'
    : T extends Float32Array
      ? 'Float32Array'
      : T extends Float64Array
        ? 'Float64Array'
        : T extends Uint16Array | Float16ArrayLike
          ? '16 bits'
          : never;

/** What weight may be beside x. */
interface WeightKinds {
  readonly DeviceBuffer: 'DeviceBuffer';
  readonly Float32Array: 'Float32Array';
  readonly Float64Array: 'Float64Array';
  readonly '16 bits': '16 bits' | 'Float32Array';
}

interface WeightSentences {
  readonly DeviceBuffer: 'weight must be a DeviceBuffer, since x is one';
  readonly Float32Array: 'weight must be a Float32Array, since x is one';
  readonly Float64Array: 'weight must be a Float64Array, since x is one';
  readonly '16 bits': 'weight must be of 16 bits as x is, or a Float32Array';
}

// Each begins with what is surely right, for calls in generic functions: of those the compiler decides
// nothing but whether one type is assignable to another.

/** For weight: that it is of a kind that goes with x. */
export type GoesWith<X, W> = [W] extends [X | null]
  ? unknown
  : [Kind<X>] extends [never]
    ? unknown
    : [Kind<W> & WeightKinds[Kind<X>]] extends [never]
      ? WeightSentences[Kind<X>]
      : unknown;

type Bits = Uint16Array | { readonly data: Uint16Array; readonly type?: undefined };
type NoBits = Float32Array | Float64Array | Float16ArrayLike | DeviceBuffer;

/** For x: that the dtype of bits is said. A tensor may say it itself. */
export type SaysDType<X, O> = 'dtype' extends keyof O
  ? unknown
  : [X] extends [NoBits]
    ? unknown
    : [X] extends [Bits]
      ? "a Uint16Array holds bits: say which by the option dtype, 'bfloat16' or 'float16'"
      : unknown;

interface NoSuchOption {
  readonly 'no option has this name': never;
}

/**
 * The names of options, which editors complete. The values are what O must have: TypeScript before 5.3
 * takes them for never undefined where they are said twice.
 */
export type Names<Options> = { readonly [Name in keyof Options]?: unknown };

/** For options: that they have no other names. */
export type NoOthers<O, Options> = string extends keyof O
  ? unknown
  : Readonly<Record<Exclude<keyof O, keyof Options>, NoSuchOption>>;

/** For options of a function that returns y alone: that the sum with a residual goes somewhere. */
export type KeepsSum<O> = 'sumOut' extends keyof O
  ? unknown
  : O extends { readonly residual: AnyInput }
    ? { readonly sumOut: AnyInput }
    : unknown;
