import { types } from 'node:util';

import { hasOfItsOwn, isRevoked, withoutInherited } from './caller-values';
import { argumentError, codedError, describe } from './errors';
import { nearestName } from './nearest-name';

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
 * Options as they are to be read: see {@link withoutInherited}. Refuses what is no object of options,
 * and names that no option has: a misspelt one would do nothing.
 */
export function knownOptions<O extends object>(options: O, names: ReadonlySet<string>): O {
  if (!isOptions(options)) throw optionsError(options);
  const own = withoutInherited(options, names);
  let isEmpty = true;
  for (const name in options) {
    const isKnown = names.has(name);
    if ((!isKnown || own !== options) && !hasOfItsOwn(options, name)) continue;
    if (!isKnown) refuseName(options, name, names);
    isEmpty = false;
  }
  if (isEmpty && isOther(options)) throw optionsError(options);
  return own;
}

/** Refuses a name that no option has, unless other code has given it to all objects. */
export function refuseName(options: object, name: string, names: ReadonlySet<string>): void {
  if (!hasOfItsOwn(options, name)) return;
  const near = nearestName(name, names);
  const hint = near === undefined ? '.' : `; did you mean '${near}'?`;
  const message = `Unknown option ${describe(name)}${hint} The options are ${[...names].join(', ')}`;
  throw codedError('ERR_INVALID_ARG_VALUE', message);
}

function optionsError(options: unknown): Error {
  return argumentError('ERR_INVALID_ARG_TYPE', 'options', 'an object', options);
}

/** An optional boolean. */
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

/** The error for a number that is not what `expected` says. */
export function numberError(name: string, expected: string, value: unknown): Error {
  const code = typeof value === 'number' ? 'ERR_OUT_OF_RANGE' : 'ERR_INVALID_ARG_TYPE';
  return argumentError(code, name, expected, value);
}
