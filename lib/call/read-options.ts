import { isAnythingInherited } from '../core/caller-values';
import { knownOptions, refuseName } from '../core/validate';
import type { BackwardOptions, CommonOptions, ForwardOptions } from './options';

/** The options of a call without any, which need no check. Not to be read: it inherits. */
export const noOptions: CommonOptions = {};

const common = [
  ...(['eps', 'weightOffset', 'castOrder', 'normalizedShape'] as const),
  ...(['dtype', 'device', 'stream'] as const),
] as const;
const forward = ['out', 'residual', 'sumOut'] as const;
const rstdOut = ['rstdOut'] as const;
const backward = [
  ...(['needsDx', 'needsDweight', 'dxOut', 'dweightOut', 'accumulate', 'dsum'] as const),
] as const;
const optionNames = [...common, ...forward, ...rstdOut, ...backward] as const;

type OptionName = (typeof optionNames)[number];

const bits = Object.fromEntries(optionNames.map((name, i) => [name, 1 << i])) as Readonly<
  Record<OptionName, number>
>;

/** The options that a function knows. */
export interface KnownOptions {
  readonly names: ReadonlySet<string>;
  readonly bits: number;
}

/** `names`: as they are listed in messages. */
export function makeKnownOptions(names: readonly OptionName[]): KnownOptions {
  return { names: new Set(names), bits: names.reduce((sum, name) => sum | bits[name], 0) };
}

export const rmsNormOptions = makeKnownOptions([...common, ...forward]);
export const forwardOptions = makeKnownOptions([...common, ...forward, ...rstdOut]);
export const backwardOptions = makeKnownOptions([...common, ...backward]);

type AllOptions = ForwardOptions & BackwardOptions;

/** Options that have been read, each once, and not checked. */
export type GivenOptions = { -readonly [K in OptionName]: AllOptions[K] | undefined };

function noneGiven(): GivenOptions {
  return {
    eps: undefined,
    weightOffset: undefined,
    castOrder: undefined,
    normalizedShape: undefined,
    dtype: undefined,
    device: undefined,
    stream: undefined,
    out: undefined,
    residual: undefined,
    sumOut: undefined,
    rstdOut: undefined,
    needsDx: undefined,
    needsDweight: undefined,
    dxOut: undefined,
    dweightOut: undefined,
    accumulate: undefined,
    dsum: undefined,
  };
}

/** Whether for-in finds the options that an object has, and nothing that it has not. */
function isOrdinary(options: unknown): options is object {
  try {
    if (typeof options !== 'object' || options === null) return false;
    return options.constructor === Object && !isAnythingInherited();
  } catch {
    // A proxy that was revoked.
    return false;
  }
}

/** A copy of other options, which for-in goes through as fast as through ordinary ones. */
function copyOf(options: object, names: ReadonlySet<string>): object {
  const own = knownOptions(options, names) as Record<string, unknown>;
  const copy = Object.setPrototypeOf({}, null) as Record<string, unknown>;
  for (const name of names) copy[name] = own[name];
  return copy;
}

/**
 * A copy of the options of a call, each of them read once. Refuses what is no object of options, and
 * names that the function does not know: a misspelt one would do nothing.
 *
 * A loop with one statement for each name takes no longer where objects of many shapes come by, as
 * reading `options.eps` and the others would.
 */
export function readOptions(options: object, known: KnownOptions): GivenOptions {
  const given = noneGiven();
  if (options === noOptions) return given;
  const values: Partial<AllOptions> = isOrdinary(options) ? options : copyOf(options, known.names);
  let read = 0;
  for (const name in values) {
    // Of any type: it is checked where it is used.
    const option = name as OptionName;
    const value = values[option] as never;
    // prettier-ignore
    switch (option) {
      case 'eps': read |= bits.eps; given.eps = value; break;
      case 'weightOffset': read |= bits.weightOffset; given.weightOffset = value; break;
      case 'castOrder': read |= bits.castOrder; given.castOrder = value; break;
      case 'normalizedShape': read |= bits.normalizedShape; given.normalizedShape = value; break;
      case 'dtype': read |= bits.dtype; given.dtype = value; break;
      case 'device': read |= bits.device; given.device = value; break;
      case 'stream': read |= bits.stream; given.stream = value; break;
      case 'out': read |= bits.out; given.out = value; break;
      case 'residual': read |= bits.residual; given.residual = value; break;
      case 'sumOut': read |= bits.sumOut; given.sumOut = value; break;
      case 'rstdOut': read |= bits.rstdOut; given.rstdOut = value; break;
      case 'needsDx': read |= bits.needsDx; given.needsDx = value; break;
      case 'needsDweight': read |= bits.needsDweight; given.needsDweight = value; break;
      case 'dxOut': read |= bits.dxOut; given.dxOut = value; break;
      case 'dweightOut': read |= bits.dweightOut; given.dweightOut = value; break;
      case 'accumulate': read |= bits.accumulate; given.accumulate = value; break;
      case 'dsum': read |= bits.dsum; given.dsum = value; break;
      default: refuseOther(options, option, known.names);
    }
  }
  if ((read & ~known.bits) !== 0) refuseUnknown(options, known.names);
  return given;
}

/** Refuses a name that is none of an option: the type says that each of these has its case. */
function refuseOther(options: object, name: never, names: ReadonlySet<string>): void {
  refuseName(options, name, names);
}

/** Refuses names of other functions' options. */
function refuseUnknown(options: object, names: ReadonlySet<string>): void {
  for (const name in options) if (!names.has(name)) refuseName(options, name, names);
}
