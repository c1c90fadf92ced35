import { binding } from '../binding';
import { defineOwn } from '../core/caller-values';
import { adoptNativeError, argumentError } from '../core/errors';

/**
 * Where a call runs: `'cpu'`, the name of a GPU in {@link devices} such as `'cuda:1'`, or `'cuda'` for the
 * first of these GPUs.
 */
export type DeviceName = 'cpu' | 'cuda' | `cuda:${number}`;

/** A GPU and its properties. */
export interface CudaDevice {
  /** The name of the GPU as the option `device` takes it: `'cuda:0'` for the first GPU. */
  readonly device: `cuda:${number}`;
  /** The model of the GPU, such as `'NVIDIA H100 80GB HBM3'`. */
  readonly name: string;
  /** The compute capability, such as `'9.0'`. */
  readonly computeCapability: string;
  /** The memory of the GPU in bytes. */
  readonly totalMemory: number;
  /** The number of multiprocessors of the GPU. */
  readonly multiprocessors: number;
  /** The newest CUDA version that the driver supports, such as `'13.0'`. */
  readonly driverVersion: string;
}

/** The GPUs of this machine. If there are none, `reason` says why. */
export interface DeviceList extends ReadonlyArray<CudaDevice> {
  /** Why the list is empty; null if it is not. */
  readonly reason: string | null;
}

interface Found {
  readonly list: DeviceList;
  /** The native error behind the `reason` of the list. */
  readonly error: Error | null;
}

let found: Found | undefined;

/**
 * The GPUs that the option `device` can name. Never throws: without a driver or a GPU the list is
 * empty, and its `reason` says what is missing.
 *
 * ```ts
 * const device = devices()[0]?.device ?? 'cpu';
 * ```
 *
 * The first call of the process that needs the driver opens its library: `libcuda.so.1`, `nvcuda.dll` on
 * Windows, or the file that `RMSNORM_LIBCUDA` of the process names. The `env` of a worker does not change
 * that. Each call looks for GPUs until some are found; from then on the list stays the same.
 */
export function devices(): DeviceList {
  return findDevices().list;
}

/** The list, and why it is empty. Returns the same object while nothing changes. */
export function findDevices(): Found {
  if (found?.error === null) return found;
  const native = binding.devices();
  const error = Array.isArray(native) ? null : native;
  if (found !== undefined && error?.message === found.list.reason) return found;
  const list = (Array.isArray(native) ? native : []).map((properties, ordinal) =>
    Object.freeze<CudaDevice>({ device: `cuda:${ordinal}`, ...properties }),
  );
  const reason = error?.message ?? null;
  found = { list: Object.freeze(defineOwn(list, 'reason', reason)), error };
  return found;
}

/** The ordinal of the CPU, which is not a CUDA device. */
export const cpuOrdinal = -1;

/** The option `device` as an ordinal: {@link cpuOrdinal}, or n for `'cuda:n'`. */
export function readDevice(value: unknown): number {
  if (value === undefined || value === 'cpu') return cpuOrdinal;
  const name = value === 'cuda' ? 'cuda:0' : value;
  const { list, error } = findDevices();
  const index = list.findIndex(({ device }) => device === name);
  if (index >= 0) return index;
  if (error !== null && typeof name === 'string' && /^cuda:\d+$/.test(name)) {
    throw adoptNativeError(error);
  }
  const names = ['cpu', ...list.map(({ device }) => device)].map((known) => `'${known}'`);
  const expected =
    error === null ? `one of ${names.join(', ')}` : `'cpu', since no GPU is available`;
  throw argumentError('ERR_INVALID_ARG_VALUE', 'device', expected, value);
}
