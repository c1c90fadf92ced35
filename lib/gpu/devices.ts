import { binding } from '../binding';
import { defineOwn } from '../core/caller-values';
import { adoptNativeError, argumentError } from '../core/errors';

/**
 * Where a call runs: on the CPU; on a CUDA device, of {@link devices}; or on the first of them,
 * `'cuda'`.
 */
export type DeviceName = 'cpu' | 'cuda' | `cuda:${number}`;

/** A GPU. */
export interface CudaDevice {
  /** Its name as the option `device` takes it: `'cuda:0'` for the first. */
  readonly device: `cuda:${number}`;
  /** Its model, such as `'NVIDIA H100 80GB HBM3'`. */
  readonly name: string;
  /** Such as `'9.0'`. */
  readonly computeCapability: string;
  /** Bytes. */
  readonly totalMemory: number;
  /** How many there are. */
  readonly multiprocessors: number;
  /** The newest CUDA that the driver serves, such as `'13.0'`. */
  readonly driverVersion: string;
}

/** The GPUs of this machine, or none and why. */
export interface DeviceList extends ReadonlyArray<CudaDevice> {
  /** Why the list is empty; null if it is not. */
  readonly reason: string | null;
}

interface Found {
  readonly list: DeviceList;
  /** The native error behind its `reason`. */
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
 * The first call of the process that asks for a GPU opens the driver. Once there are GPUs, the list
 * holds until the process ends; without any, the next call looks again. `RMSNORM_LIBCUDA` of
 * the process, not that of a worker's own `env`, names another library than `libcuda.so.1` to open.
 */
export function devices(): DeviceList {
  return findDevices().list;
}

/** The list, and why it is empty. As long as nothing changes it is the same object. */
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

/** The ordinal of the CPU, which is no device. */
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
  const expected = error === null ? `one of ${names.join(', ')}` : `'cpu', since there is no GPU`;
  throw argumentError('ERR_INVALID_ARG_VALUE', 'device', expected, value);
}
