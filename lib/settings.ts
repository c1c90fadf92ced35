import { binding } from './binding';
import { adoptNativeError, argumentError } from './core/errors';

const maxThreads = 256;

/** What decides {@link getNumThreads}, as {@link getNumThreadsSource} says it. */
export type NumThreadsSource =
  | 'setNumThreads'
  | 'RMSNORM_NUM_THREADS'
  | 'affinity mask'
  | 'cgroup quota of 1 processor'
  | `cgroup quota of ${number} processors`
  | 'processors';

/**
 * Threads that a call uses at most, its own included. Small calls use fewer.
 *
 * The number is what {@link setNumThreads} set, else `RMSNORM_NUM_THREADS`, else the number of
 * processors that this process may use, found at the first call: those of its affinity mask, and on
 * Linux at most its cgroup's CPU quota, rounded up. {@link getNumThreadsSource} says which it is.
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
 * What {@link getNumThreads} comes from, for logs: `'setNumThreads'`, `'RMSNORM_NUM_THREADS'`,
 * `'affinity mask'`, a quota such as `'cgroup quota of 0.5 processors'`, or `'processors'` if nothing
 * allows fewer than the machine has.
 *
 * @throws Error `ERR_INVALID_ENVIRONMENT`, as {@link getNumThreads} does
 */
export function getNumThreadsSource(): NumThreadsSource {
  const [source, quota] = native(() => binding.numThreadsSource());
  if (source !== 'cgroup quota') return source;
  const processors = Number(quota.toFixed(3));
  return processors === 1
    ? 'cgroup quota of 1 processor'
    : `cgroup quota of ${processors} processors`;
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
