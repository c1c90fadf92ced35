import { binding } from './binding';
import { adoptNativeError, argumentError } from './core/errors';

const maxThreads = 256;

/** Where the value of {@link getNumThreads} comes from: see {@link getNumThreadsSource}. */
export type NumThreadsSource =
  | 'setNumThreads'
  | 'RMSNORM_NUM_THREADS'
  | 'affinity mask'
  | 'cgroup quota of 1 processor'
  | `cgroup quota of ${number} processors`
  | 'processors';

/**
 * The maximum number of threads of a call, including the thread that runs the call. Small calls use fewer.
 *
 * The number is the one set by {@link setNumThreads}, else `RMSNORM_NUM_THREADS`, else the number of
 * processors that this process may use. The number of processors is determined at the first call, from the
 * affinity mask and, on Linux, the CPU quota of the cgroup, rounded up. {@link getNumThreadsSource} tells
 * which of these decided.
 *
 * All threads of the process share one number. Only a worker whose own `env` has another
 * `RMSNORM_NUM_THREADS` when it loads the package has its own number, for all its calls.
 *
 * @throws Error `ERR_INVALID_ENVIRONMENT` if `RMSNORM_NUM_THREADS` is not an integer from 1 to 256
 */
export function getNumThreads(): number {
  return native(() => binding.numThreads());
}

/**
 * Where the value of {@link getNumThreads} comes from, for logs: `'setNumThreads'`,
 * `'RMSNORM_NUM_THREADS'`, `'affinity mask'`, a quota such as `'cgroup quota of 0.5 processors'`, or
 * `'processors'` if the process may use all processors of the machine.
 *
 * @throws Error `ERR_INVALID_ENVIRONMENT`, like {@link getNumThreads}
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
 * Sets the value of {@link getNumThreads} for the whole process, or only for this worker if it has its own
 * number. Results do not depend on the number of threads.
 *
 * @param count - an integer from 1 to 256
 * @throws TypeError `ERR_INVALID_ARG_TYPE` and RangeError `ERR_OUT_OF_RANGE`
 */
export function setNumThreads(count: number): void {
  if (typeof count !== 'number') {
    throw argumentError('ERR_INVALID_ARG_TYPE', 'count', 'a number', count);
  }
  if (!Number.isInteger(count) || count < 1 || count > maxThreads) {
    const expected = `an integer from 1 to ${String(maxThreads)}`;
    throw argumentError('ERR_OUT_OF_RANGE', 'count', expected, count);
  }
  native(() => {
    binding.setNumThreads(count);
  });
}

/** The names of the CPU variants (instruction sets) that this processor can run, best first. */
export function cpuVariants(): string[] {
  return [...binding.cpuVariants()];
}

/**
 * The CPU variant (instruction set) in use: the one set by {@link setCpuVariant}, else `RMSNORM_CPU_VARIANT`
 * of the process, else the best. The `env` of a worker does not change it.
 *
 * @throws Error `ERR_INVALID_ENVIRONMENT` if `RMSNORM_CPU_VARIANT` is not one of {@link cpuVariants}
 */
export function getCpuVariant(): string {
  return native(() => binding.cpuVariant());
}

/**
 * Sets the CPU variant (instruction set) for the whole process. Results do not depend on it.
 *
 * @param name - one of {@link cpuVariants}
 * @throws TypeError `ERR_INVALID_ARG_VALUE` for any other name
 */
export function setCpuVariant(name: string): void {
  const variants = cpuVariants();
  if (!variants.includes(name)) {
    const expected = variants.map((variant) => `'${variant}'`).join(', ');
    throw argumentError(
      'ERR_INVALID_ARG_VALUE',
      'name',
      `one of ${expected} on this processor`,
      name,
    );
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
