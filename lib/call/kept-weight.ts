import { checkDTypeName, dtypeOf, type FloatKind, type DType } from '../core/dtype';
import { isDeviceBuffer, tensorDType } from './data';
import { refuseView } from './operands';
import { dataOf, kindOf, readArgument, type Argument } from './tensor';

/** A weight that a plan or a module stores, and the dtype of its tensors. */
export interface KeptWeight {
  readonly weight: Argument | undefined;
  readonly dtype: DType;
}

/**
 * Reads a weight and the dtype: the stated one, else the weight's. Whether the weight's elements fit
 * the dtype is checked later.
 */
export function readKeptWeight(given: unknown, stated: unknown): KeptWeight {
  const weight = given === null || given === undefined ? undefined : readArgument('weight', given);
  if (weight !== undefined) refuseView('weight', weight);
  const dtype = stated === undefined ? dtypeOfWeight(weight) : stated;
  checkDTypeName(dtype);
  if (weight !== undefined && kindOf(weight) === 'Float16Array') {
    dtypeOf('weight', 'Float16Array', dtype);
  }
  return { weight, dtype };
}

/** The dtype that a weight implies. Refuses a `Uint16Array`, which implies none. */
function dtypeOfWeight(weight: Argument | undefined): DType {
  if (weight === undefined) return 'float32';
  const data = dataOf(weight);
  if (isDeviceBuffer(data)) return tensorDType('weight', data);
  return dtypeOf('weight', kindOf(weight) as FloatKind, undefined);
}
