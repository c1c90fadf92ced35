// Types by which the compiler refuses arguments that do not fit together. The type of a parameter is
// intersected with such a type. If the arguments fit, it is `unknown`, and the intersection changes nothing.
// If not, it is a type that the argument does not have. Mostly that is a string literal type: a sentence,
// which the compiler's error quotes. For unknown or missing options it is an object type.

import type { AnyInput } from './call/tensor';
import type { Float16ArrayLike } from './core/dtype';
import type { DeviceBuffer } from './gpu/device-buffer';

/**
 * The kind of memory that holds an argument's elements. For a union type, the kinds of all its members; for
 * `any`, all kinds.
 */
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

// Each type below first accepts the arguments that are certainly valid, by one test of assignability. In a
// generic function, where X, W and O are type parameters, the compiler can decide no more than that.

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
 * The names of options, so that editors complete them. The values are `unknown` here, since the constraint
 * of the type parameter O states their types. If two types stated them, TypeScript before 5.3 would drop
 * `undefined`.
 */
export type OptionNamesOf<Options> = { readonly [Name in keyof Options]?: unknown };

/** For options: there must be no names that `Options` does not have. */
export type NoUnknownOptions<O, Options> = string extends keyof O
  ? unknown
  : Readonly<Record<Exclude<keyof O, keyof Options>, NoSuchOption>>;

/** For options of a function that returns only y: a residual needs a `sumOut` for the sum. */
export type HasSumOut<O> = 'sumOut' extends keyof O
  ? unknown
  : O extends { readonly residual: AnyInput }
    ? { readonly sumOut: AnyInput }
    : unknown;
