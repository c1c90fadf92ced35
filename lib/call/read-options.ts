import { areNamesInherited } from '../core/caller-values';
import { knownOptions, refuseName } from '../core/validate';
import type { BackwardOptions, CommonOptions, ForwardOptions } from './options';

/** The options of a call without any, which need no check. Not to be read: it inherits. */
export const noOptions: CommonOptions = {};

const optionNames = [
  ...([
    'eps',
    'weightOffset',
    'castOrder',
    'normalizedShape',
    'dtype',
    'device',
    'stream',
  ] as const),
  ...(['out', 'residual', 'sumOut', 'rstdOut'] as const),
  ...(['needsDx', 'needsDweight', 'dxOut', 'dweightOut', 'accumulate', 'dsum'] as const),
] as const;

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

const commonNames = optionNames.slice(0, 7);
const forwardOnly = optionNames.slice(7, 10);
const backwardOnly = optionNames.slice(11);
export const rmsNormOptions = makeKnownOptions([...commonNames, ...forwardOnly]);
export const forwardOptions = makeKnownOptions([...commonNames, ...forwardOnly, 'rstdOut']);
export const backwardOptions = makeKnownOptions([...commonNames, ...backwardOnly]);

type AllOptions = ForwardOptions & BackwardOptions;

/** Options that have been read, each once, and not checked. */
export type GivenOptions = { -readonly [K in OptionName]: AllOptions[K] | undefined };

/** A copy. Spelled out: with a spread a call takes several times as long. */
function copyGiven(options: Readonly<Partial<GivenOptions>>): GivenOptions {
  return {
    eps: options.eps,
    weightOffset: options.weightOffset,
    castOrder: options.castOrder,
    normalizedShape: options.normalizedShape,
    dtype: options.dtype,
    device: options.device,
    stream: options.stream,
    out: options.out,
    residual: options.residual,
    sumOut: options.sumOut,
    rstdOut: options.rstdOut,
    needsDx: options.needsDx,
    needsDweight: options.needsDweight,
    dxOut: options.dxOut,
    dweightOut: options.dweightOut,
    accumulate: options.accumulate,
    dsum: options.dsum,
  };
}

const nothing: Readonly<GivenOptions> = copyGiven(Object.create(null) as GivenOptions);

/** Whether for-in finds the options that an object has, and nothing that it has not. */
function isOrdinary(options: unknown): options is object {
  try {
    if (typeof options !== 'object' || options === null) return false;
    return options.constructor === Object && !areNamesInherited();
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
 * A copy of the options of a call, over those that hold where it has none. Refuses what is no object
 * of options, and names that the function does not know: a misspelt one would do nothing.
 *
 * A loop with one statement for each name takes no longer where objects of many shapes come by, as
 * reading `options.eps` and the others would.
 */
export function readOptions(
  options: object,
  known: KnownOptions,
  defaults: Readonly<GivenOptions> = nothing,
): Readonly<GivenOptions> {
  if (options === noOptions) return defaults;
  const values: Partial<AllOptions> = isOrdinary(options) ? options : copyOf(options, known.names);
  const given = copyGiven(defaults);
  let read = 0;
  for (const name in values) {
    // prettier-ignore
    switch (name as OptionName) {
      case 'eps': read |= bits.eps; given.eps = values.eps; break;
      case 'weightOffset': read |= bits.weightOffset; given.weightOffset = values.weightOffset; break;
      case 'castOrder': read |= bits.castOrder; given.castOrder = values.castOrder; break;
      case 'normalizedShape': read |= bits.normalizedShape; given.normalizedShape = values.normalizedShape; break;
      case 'dtype': read |= bits.dtype; given.dtype = values.dtype; break;
      case 'device': read |= bits.device; given.device = values.device; break;
      case 'stream': read |= bits.stream; given.stream = values.stream; break;
      case 'out': read |= bits.out; given.out = values.out; break;
      case 'residual': read |= bits.residual; given.residual = values.residual; break;
      case 'sumOut': read |= bits.sumOut; given.sumOut = values.sumOut; break;
      case 'rstdOut': read |= bits.rstdOut; given.rstdOut = values.rstdOut; break;
      case 'needsDx': read |= bits.needsDx; given.needsDx = values.needsDx; break;
      case 'needsDweight': read |= bits.needsDweight; given.needsDweight = values.needsDweight; break;
      case 'dxOut': read |= bits.dxOut; given.dxOut = values.dxOut; break;
      case 'dweightOut': read |= bits.dweightOut; given.dweightOut = values.dweightOut; break;
      case 'accumulate': read |= bits.accumulate; given.accumulate = values.accumulate; break;
      case 'dsum': read |= bits.dsum; given.dsum = values.dsum; break;
      default: refuseName(options, name, known.names);
    }
  }
  if ((read & ~known.bits) !== 0) refuseUnknown(options, known.names);
  return given;
}

/** Refuses names of other functions' options. */
function refuseUnknown(options: object, names: ReadonlySet<string>): void {
  for (const name in options) if (!names.has(name)) refuseName(options, name, names);
}
