import { dtypeCodes, type DType } from '../core/dtype';
import type { CastOrder } from './options';

const castOrderFloatFlag = 4;
const deviceUnit = 32;

/** Of {@link nativeFormat}: dweight is added to. */
export const accumulateFlag = 8;
/** Of {@link nativeFormat}: a dweight that is made anew is of float32. */
export const freshFloat32Flag = 16;

/** The argument `format` of native calls, without flags. `device`: 0 for the CPU, n + 1 for GPU n. */
export function nativeFormat(dtype: DType, castOrder: CastOrder, device: number): number {
  return dtypeCodes[dtype] + (castOrder === 'float' ? castOrderFloatFlag : 0) + deviceUnit * device;
}
