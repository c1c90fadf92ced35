// Types that refuse arguments which do not fit together. If arguments fit, such a type is `unknown`, and
// intersecting a parameter's type with it changes nothing. Else it is a sentence, which no argument is,
// and which the compiler's error quotes.

import type { AnyInput } from './call/tensor';
import type { Float16ArrayLike } from './core/dtype';
import type { DeviceBuffer } from './gpu/device-buffer';

/** The kind of memory of an argument's elements. A union has the kinds of its members; any has all. */
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

/** The kinds that weight may have, by the kind of x. */
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
  readonly '16 bits': 'weight must be a 16-bit array like x, or a Float32Array';
}

// Each type below first accepts the case that is certainly valid. In generic functions that is all the
// compiler can decide: whether one type is assignable to another.

/** For weight: its kind must fit the kind of x. */
export type WeightFits<X, W> = [W] extends [X | null]
  ? unknown
  : [Kind<X>] extends [never]
    ? unknown
    : [Kind<W> & WeightKinds[Kind<X>]] extends [never]
      ? WeightSentences[Kind<X>]
      : unknown;

type Bits = Uint16Array | { readonly data: Uint16Array; readonly type?: undefined };
type NoBits = Float32Array | Float64Array | Float16ArrayLike | DeviceBuffer;

/** For x: 16-bit elements must state their dtype, by the option or by the tensor's own `type`. */
export type StatesDType<X, O> = 'dtype' extends keyof O
  ? unknown
  : [X] extends [NoBits]
    ? unknown
    : [X] extends [Bits]
      ? "a Uint16Array holds bits: set the option dtype to 'bfloat16' or 'float16'"
      : unknown;

interface NoSuchOption {
  readonly 'no option has this name': never;
}

/**
 * The names of options, which editors complete. The constraint of O alone states the types of the
 * values: where two types state them, TypeScript before 5.3 drops `undefined`.
 */
export type OptionNamesOf<Options> = { readonly [Name in keyof Options]?: unknown };

/** For options: there must be no other names. */
export type NoUnknownOptions<O, Options> = string extends keyof O
  ? unknown
  : Readonly<Record<Exclude<keyof O, keyof Options>, NoSuchOption>>;

/** For options of a function that returns only y: a residual needs a `sumOut` for the sum. */
export type HasSumOut<O> = 'sumOut' extends keyof O
  ? unknown
  : O extends { readonly residual: AnyInput }
    ? { readonly sumOut: AnyInput }
    : unknown;
