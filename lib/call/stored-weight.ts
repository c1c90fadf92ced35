import { checkDTypeName, dtypeOf, type FloatKind, type DType } from '../core/dtype';
import { isDeviceBuffer, tensorDType } from './data';
import { refuseView } from './operands';
import { dataOf, kindOf, readArgument, type Argument } from './tensor';

/** The weight that a plan or a module stores, and the dtype of its calls. */
export interface StoredWeight {
  readonly weight: Argument | undefined;
  readonly dtype: DType;
}

/**
 * Reads the options `weight` and `dtype`. Default of `dtype`: the dtype of the weight, or float32 without a
 * weight. The caller must still check that the weight's elements fit the dtype.
 */
export function readStoredWeight(value: unknown, dtypeOption: unknown): StoredWeight {
  const weight = value === null || value === undefined ? undefined : readArgument('weight', value);
  if (weight !== undefined) refuseView('weight', weight);
  const dtype = dtypeOption === undefined ? dtypeOfWeight(weight) : dtypeOption;
  checkDTypeName(dtype);
  if (weight !== undefined && kindOf(weight) === 'Float16Array') {
    dtypeOf('weight', 'Float16Array', dtype);
  }
  return { weight, dtype };
}

/** The dtype that a weight implies. Refuses a `Uint16Array`, which implies no dtype. */
function dtypeOfWeight(weight: Argument | undefined): DType {
  if (weight === undefined) return 'float32';
  const data = dataOf(weight);
  if (isDeviceBuffer(data)) return tensorDType('weight', data);
  return dtypeOf('weight', kindOf(weight) as FloatKind, undefined);
}
