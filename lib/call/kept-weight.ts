import { checkDTypeName, dtypeOf, type FloatKind, type DType } from '../core/dtype';
import { isDeviceBuffer, tensorDType } from './data';
import { refuseView } from './operands';
import { dataOf, kindOf, readArgument, type Argument } from './tensor';

/** A weight that a plan or a module keeps, and the dtype of their tensors. */
export interface KeptWeight {
  readonly weight: Argument | undefined;
  readonly dtype: DType;
}

/**
 * Reads a weight, and the dtype that is said, or is the weight's. The weight's elements are checked
 * against it later.
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

/** What a weight says of the dtype. Refuses bits, which say nothing. */
function dtypeOfWeight(weight: Argument | undefined): DType {
  if (weight === undefined) return 'float32';
  const data = dataOf(weight);
  if (isDeviceBuffer(data)) return tensorDType('weight', data);
  return dtypeOf('weight', kindOf(weight) as FloatKind, undefined);
}
