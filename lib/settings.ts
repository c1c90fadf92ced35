import { binding } from './binding';
import { adoptNativeError, argumentError } from './core/errors';

const maxThreads = 256;

/**
 * Threads that a call uses at most, its own included: `RMSNORM_NUM_THREADS`, else the processors
 * this process may run on, until {@link setNumThreads}. Small calls use fewer.
 *
 * The count is that of the process. A worker whose own `env` has another `RMSNORM_NUM_THREADS` when
 * it loads the package has a count of its own, for all calls that it makes.
 *
 * @throws Error `ERR_INVALID_ENVIRONMENT` if `RMSNORM_NUM_THREADS` is not a whole number from 1 to
 * 256
 */
export function getNumThreads(): number {
  return native(() => binding.numThreads());
}

/**
 * Sets what {@link getNumThreads} returns: for the whole process, or for this worker if it has a count
 * of its own. Results do not depend on it.
 *
 * @param count - a whole number from 1 to 256
 * @throws TypeError `ERR_INVALID_ARG_TYPE` and RangeError `ERR_OUT_OF_RANGE`
 */
export function setNumThreads(count: number): void {
  if (typeof count !== 'number') {
    throw argumentError('ERR_INVALID_ARG_TYPE', 'count', 'a number', count);
  }
  if (!Number.isInteger(count) || count < 1 || count > maxThreads) {
    const expected = `a whole number from 1 to ${String(maxThreads)}`;
    throw argumentError('ERR_OUT_OF_RANGE', 'count', expected, count);
  }
  native(() => {
    binding.setNumThreads(count);
  });
}

/** Names of the instruction sets this processor can run the CPU backend with, best first. */
export function cpuVariants(): string[] {
  return [...binding.cpuVariants()];
}

/**
 * The variant in use: `RMSNORM_CPU_VARIANT` of the process, else the best, until
 * {@link setCpuVariant}. The `env` of a worker does not change it.
 *
 * @throws Error `ERR_INVALID_ENVIRONMENT` if `RMSNORM_CPU_VARIANT` is none of {@link cpuVariants}
 */
export function getCpuVariant(): string {
  return native(() => binding.cpuVariant());
}

/**
 * Sets the variant, for the whole process. Results do not depend on it.
 *
 * @param name - one of {@link cpuVariants}
 * @throws TypeError `ERR_INVALID_ARG_VALUE` for any other
 */
export function setCpuVariant(name: string): void {
  const variants = cpuVariants();
  if (!variants.includes(name)) {
    const expected = variants.map((variant) => `'${variant}'`).join(' or ');
    throw argumentError('ERR_INVALID_ARG_VALUE', 'name', `${expected} on this processor`, name);
  }
  native(() => {
    binding.setCpuVariant(name);
  });
}

function native<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw adoptNativeError(error);
  }
}
