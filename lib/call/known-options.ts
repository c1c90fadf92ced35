import { isPrototypePolluted } from '../core/caller-values';
import { knownOptions, refuseName } from '../core/validate';
import type { BackwardOptions, CommonOptions, ForwardOptions } from './options';

/**
 * The value of `options` in a call without options. Functions compare it by identity. Do not read its
 * properties: it inherits the properties that other code has added to Object.prototype.
 */
export const noOptions: CommonOptions = {};

const common = [
  ...(['eps', 'weightOffset', 'castOrder', 'normalizedShape'] as const),
  ...(['dtype', 'device', 'stream'] as const),
] as const;
const gated = ['gate', 'gateOrder'] as const;
const forward = ['out', 'residual', 'sumOut'] as const;
const rstdOut = ['rstdOut'] as const;
const quantized = ['quantize', 'scale', 'scaleMax', 'scaleOut'] as const;
const backward = [
  ...([
    'needsDx',
    'needsDweight',
    'dxOut',
    'dweightOut',
    'accumulate',
    'dsum',
    'dgateOut',
  ] as const),
] as const;
const optionNames = [
  ...[...common, ...forward, ...gated, ...rstdOut, ...quantized, ...backward],
] as const;

export type OptionName = (typeof optionNames)[number];

/** The bit of each option. A set of options is the sum of their bits. */
export const optionBits = Object.fromEntries(
  optionNames.map((name, i) => [name, 1 << i]),
) as Readonly<Record<OptionName, number>>;

/** The options that a function accepts. */
export interface KnownOptions {
  /** The names of the options, in the order in which error messages list them. */
  readonly names: ReadonlySet<string>;
  /** The same options as a set: the sum of their {@link optionBits}. */
  readonly bits: number;
}

export function makeKnownOptions(names: readonly OptionName[]): KnownOptions {
  return { names: new Set(names), bits: names.reduce((sum, name) => sum | optionBits[name], 0) };
}

export const rmsNormOptions = makeKnownOptions([...common, ...forward, ...gated]);
export const forwardOptions = makeKnownOptions([
  ...[...common, ...forward, ...gated, ...rstdOut, ...quantized],
]);
export const backwardOptions = makeKnownOptions([...common, ...backward, ...gated]);

/** The set of quantisation options. */
export const quantizedBits = makeKnownOptions(quantized).bits;

/** The options of all functions together. */
export type AllOptions = Partial<ForwardOptions & BackwardOptions>;

/** Whether a value is a plain object of this realm, over which for-in finds only own properties. */
function isOrdinary(options: unknown): options is object {
  try {
    if (typeof options !== 'object' || options === null) return false;
    return options.constructor === Object && !isPrototypePolluted();
  } catch {
    // A revoked proxy.
    return false;
  }
}

/** A plain copy of options that are not a plain object: of a class, another realm or a proxy. */
function copyOptions(options: object, names: ReadonlySet<string>): AllOptions {
  const own = knownOptions(options, names) as Record<string, unknown>;
  const copy = Object.setPrototypeOf({}, null) as Record<string, unknown>;
  for (const name of names) copy[name] = own[name];
  return copy;
}

/**
 * An object over which for-in finds the options: `options` itself or a copy. Refuses a value that cannot
 * be an object of options.
 */
export function ordinaryOptions(options: object, { names }: KnownOptions): AllOptions {
  return isOrdinary(options) ? options : copyOptions(options, names);
}

/** Refuses an unknown name. The type `never` proves that the caller's switch has a case for each option. */
export function refuseUnknownName(options: object, name: never, { names }: KnownOptions): void {
  refuseName(options, name, names);
}

/** Refuses options that other functions have, but not this one. */
export function refuseUnsupported(options: object, { names }: KnownOptions): void {
  for (const name in options) if (!names.has(name)) refuseName(options, name, names);
}
