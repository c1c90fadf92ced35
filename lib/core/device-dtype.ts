import { argumentError } from './errors';

/** Element types of memory on a GPU. */
export type DeviceDType = 'float32' | 'float16' | 'bfloat16';

/** Bytes. */
export const elementSizes = { float32: 4, float16: 2, bfloat16: 2 } as const satisfies Record<
  DeviceDType,
  number
>;

export function readDeviceDType(value: unknown): DeviceDType {
  if (typeof value === 'string' && Object.hasOwn(elementSizes, value)) return value as DeviceDType;
  const expected = "'float32', 'float16' or 'bfloat16'";
  throw argumentError('ERR_INVALID_ARG_VALUE', 'dtype', expected, value);
}
