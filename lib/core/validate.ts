import { types } from 'node:util';

import { hasUninherited, isRevoked, withoutInherited } from './caller-values';
import { argumentError, codedError, describe } from './errors';
import { nearestName } from './nearest-name';

/** Whether a value can be an object of options. */
function isOptions(value: unknown): value is object {
  if (value === null || typeof value !== 'object' || isRevoked(value)) return false;
  return !Array.isArray(value) && !ArrayBuffer.isView(value);
}

/** Whether a value is a Map, a Set or a promise. Without named properties it would pass for no options. */
function isCollectionOrPromise(value: object): boolean {
  return types.isMap(value) || types.isSet(value) || types.isPromise(value);
}

/**
 * The options to read: see {@link withoutInherited}. Refuses a value that is not an object of options,
 * and unknown names, since a misspelt option would do nothing.
 */
export function knownOptions<O extends object>(options: O, names: ReadonlySet<string>): O {
  if (!isOptions(options)) throw optionsError(options);
  const own = withoutInherited(options, names);
  let isEmpty = true;
  for (const name in options) {
    const isKnown = names.has(name);
    if ((!isKnown || own !== options) && !hasUninherited(options, name)) continue;
    if (!isKnown) refuseName(options, name, names);
    isEmpty = false;
  }
  if (isEmpty && isCollectionOrPromise(options)) throw optionsError(options);
  return own;
}

/** Refuses an unknown name, unless other code has added it to Object.prototype. */
export function refuseName(options: object, name: string, names: ReadonlySet<string>): void {
  if (!hasUninherited(options, name)) return;
  const near = nearestName(name, names);
  const hint = near === undefined ? '.' : `; did you mean '${near}'?`;
  const message = `Unknown option ${describe(name)}${hint} The options are ${[...names].join(', ')}`;
  throw codedError('ERR_INVALID_ARG_VALUE', message);
}

function optionsError(options: unknown): Error {
  return argumentError('ERR_INVALID_ARG_TYPE', 'options', 'an object', options);
}

/** Reads an optional boolean. */
export function readFlag(name: string, value: unknown, ifMissing: boolean): boolean {
  if (value === undefined) return ifMissing;
  if (typeof value === 'boolean') return value;
  throw argumentError('ERR_INVALID_ARG_TYPE', name, 'a boolean', value);
}

/** Reads an integer that is at least `least`. */
export function readCount(name: string, value: unknown, least: number): number {
  if (typeof value !== 'number') {
    throw argumentError('ERR_INVALID_ARG_TYPE', name, 'a number', value);
  }
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw argumentError('ERR_OUT_OF_RANGE', name, `an integer >= ${String(least)}`, value);
}

/** The error for a value that is not the number that `expected` describes. */
export function numberError(name: string, expected: string, value: unknown): Error {
  const code = typeof value === 'number' ? 'ERR_OUT_OF_RANGE' : 'ERR_INVALID_ARG_TYPE';
  return argumentError(code, name, expected, value);
}
