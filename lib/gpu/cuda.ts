import type { CudaBinding } from '../../binding';
import { binding } from '../binding';
import { findDevices } from './devices';
import { adoptNativeError, argumentError } from '../core/errors';

type AnyFunction = (...args: unknown[]) => unknown;

/** Wraps a native function, so that its errors and those of its promises have this realm's classes. */
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

/** The native functions for GPU objects. */
export const cuda = Object.fromEntries(
  Object.entries(binding.cuda).map(([name, native]) => [
    name,
    withAdoptedErrors(native as AnyFunction),
  ]),
) as unknown as CudaBinding;

/** The name of a GPU in {@link devices}, such as `'cuda:1'`, or `'cuda'` for the first of these GPUs. */
export type CudaDeviceName = 'cuda' | `cuda:${number}`;

/** Options of objects that are made on a GPU. */
export interface CudaDeviceOptions {
  /** The GPU. Default: the first of {@link devices}. */
  readonly device?: CudaDeviceName | undefined;
}

/**
 * Frees memory that is cached for later allocations and copies: on every GPU, and page-locked memory of
 * the host. Memory that work in flight uses stays, so wait for the streams first to free all. Page-locked
 * memory that other worker threads cache for their own copies stays, too.
 *
 * Like `torch.cuda.empty_cache`, it makes room for other libraries and processes. Allocations of this
 * package do not need it. Does nothing without a GPU.
 *
 * ```ts
 * stream.synchronize();
 * emptyCache();
 * ```
 */
export function emptyCache(): void {
  cuda.emptyCache();
}

/** The ordinal of the GPU that the option `device` names. */
export function readOrdinal(value: unknown): number {
  const { list, error } = findDevices();
  if (error !== null) throw adoptNativeError(error);
  const name = value === undefined || value === 'cuda' ? 'cuda:0' : value;
  const ordinal = list.findIndex(({ device }) => device === name);
  if (ordinal >= 0) return ordinal;
  const known = list.map(({ device }) => `'${device}'`).join(', ');
  throw argumentError('ERR_INVALID_ARG_VALUE', 'device', `one of ${known}`, value);
}

/** Checks that a value is a bigint that fits an address of 64 bits. */
export function readPointer(value: unknown): bigint {
  if (typeof value !== 'bigint') {
    throw argumentError('ERR_INVALID_ARG_TYPE', 'pointer', 'a bigint', value);
  }
  if (BigInt.asUintN(64, value) === value) return value;
  throw argumentError('ERR_OUT_OF_RANGE', 'pointer', 'a bigint from 0 to 2^64 - 1', value);
}
