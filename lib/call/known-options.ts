import { isAnythingInherited } from '../core/caller-values';
import { knownOptions, refuseName } from '../core/validate';
import type { BackwardOptions, CommonOptions, ForwardOptions } from './options';

/** Stands for no options, which need no check. Do not read it: it inherits from Object.prototype. */
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

/** A bit for each option. */
export const optionBits = Object.fromEntries(
  optionNames.map((name, i) => [name, 1 << i]),
) as Readonly<Record<OptionName, number>>;

/** The options that a function accepts. */
export interface KnownOptions {
  readonly names: ReadonlySet<string>;
  readonly bits: number;
}

/** `names`: in the order in which messages list them. */
export function makeKnownOptions(names: readonly OptionName[]): KnownOptions {
  return { names: new Set(names), bits: names.reduce((sum, name) => sum | optionBits[name], 0) };
}

export const rmsNormOptions = makeKnownOptions([...common, ...forward, ...gated]);
export const forwardOptions = makeKnownOptions([
  ...[...common, ...forward, ...gated, ...rstdOut, ...quantized],
]);
export const backwardOptions = makeKnownOptions([...common, ...backward, ...gated]);

/** Bits of the quantisation options. */
export const quantizedBits = makeKnownOptions(quantized).bits;

/** Options of all functions. */
export type AllOptions = Partial<ForwardOptions & BackwardOptions>;

/** Whether for-in over an object finds its options and nothing inherited. */
function isOrdinary(options: unknown): options is object {
  try {
    if (typeof options !== 'object' || options === null) return false;
    return options.constructor === Object && !isAnythingInherited();
  } catch {
    // A revoked proxy.
    return false;
  }
}

/** A copy of other options. for-in reads it as fast as ordinary options. */
function copyOf(options: object, names: ReadonlySet<string>): AllOptions {
  const own = knownOptions(options, names) as Record<string, unknown>;
  const copy = Object.setPrototypeOf({}, null) as Record<string, unknown>;
  for (const name of names) copy[name] = own[name];
  return copy;
}

/**
 * An object over which for-in finds the options. Refuses a value that cannot be an object of options.
 */
export function ordinaryOptions(options: object, { names }: KnownOptions): AllOptions {
  return isOrdinary(options) ? options : copyOf(options, names);
}

/** Refuses an unknown name. The type `never` makes sure that each option has a case at the caller. */
export function refuseOther(options: object, name: never, { names }: KnownOptions): void {
  refuseName(options, name, names);
}

/** Refuses options that only other functions have. */
export function refuseUnknown(options: object, { names }: KnownOptions): void {
  for (const name in options) if (!names.has(name)) refuseName(options, name, names);
}
