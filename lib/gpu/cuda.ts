import type { CudaBinding } from '../../binding';
import { binding } from '../binding';
import { findDevices } from './devices';
import { adoptNativeError, argumentError } from '../core/errors';

type AnyFunction = (...args: unknown[]) => unknown;

/** The same function, whose errors, and those of its promises, are of this realm's classes. */
function withAdoptedErrors(native: AnyFunction): AnyFunction {
  return (...args) => {
    try {
      const result = native(...args);
      if (!(result instanceof Promise)) return result;
      return result.catch((error: unknown) => {
        throw adoptNativeError(error);
      });
    } catch (error) {
      throw adoptNativeError(error);
    }
  };
}

/** The native functions over objects of GPUs. */
export const cuda = Object.fromEntries(
  Object.entries(binding.cuda).map(([name, native]) => [
    name,
    withAdoptedErrors(native as AnyFunction),
  ]),
) as unknown as CudaBinding;

/** The name of a GPU: of {@link devices}, or the first of them. */
export type CudaDeviceName = 'cuda' | `cuda:${number}`;

/** Options of what is made on a GPU. */
export interface CudaDeviceOptions {
  /** Default: the first of {@link devices}. */
  readonly device?: CudaDeviceName | undefined;
}

/**
 * Frees the memory that is kept for the next allocation or copy, of every GPU and page-locked, unless
 * work in flight uses it: wait for the streams first to free all. As `torch.cuda.empty_cache` it makes
 * room for other libraries and processes. Ours take what they need by themselves. Does nothing without
 * a GPU.
 *
 * ```ts
 * stream.synchronize();
 * emptyCache();
 * ```
 */
export function emptyCache(): void {
  cuda.emptyCache();
}

/** The ordinal of the option `device`. */
export function readOrdinal(value: unknown): number {
  const { list, error } = findDevices();
  if (error !== null) throw adoptNativeError(error);
  const name = value === undefined || value === 'cuda' ? 'cuda:0' : value;
  const ordinal = list.findIndex(({ device }) => device === name);
  if (ordinal >= 0) return ordinal;
  const known = list.map(({ device }) => `'${device}'`).join(', ');
  throw argumentError('ERR_INVALID_ARG_VALUE', 'device', `one of ${known}`, value);
}

/** A bigint that fits an address. */
export function readPointer(value: unknown): bigint {
  if (typeof value !== 'bigint') {
    throw argumentError('ERR_INVALID_ARG_TYPE', 'pointer', 'a bigint', value);
  }
  if (BigInt.asUintN(64, value) === value) return value;
  throw argumentError('ERR_OUT_OF_RANGE', 'pointer', 'a bigint from 0 to 2^64 - 1', value);
}
