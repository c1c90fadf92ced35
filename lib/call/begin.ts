import { arrayKind, dtypeOf, type DType } from '../core/dtype';
import { argumentError } from '../core/errors';
import { ordinalOfBuffer, type DeviceBuffer } from '../gpu/device-buffer';
import { cpuOrdinal } from '../gpu/devices';
import { newCall, type Call } from './call';
import { readStreamFor } from './data';
import { addOperand, isArrayOf, readWeight } from './operands';
import type { Operation } from './operations';
import { checkCastOrder, checkEps, checkWeightOffset, readDeviceFor } from './options';
import type { GivenOptions } from './read-options';
import { readHiddenSize } from './shape';
import { dataOf, kindOf, statedType, type Argument } from './tensor';

/**
 * The call on an x that has been read, and a weight. `stated`: the dtype that is said of x.
 *
 * What most calls are is decided here, in line, and what is rarer in functions: V8 compiles a few of
 * them into each other, and each other one takes as long as what it decides.
 */
export function beginCall(
  operation: Operation,
  x: Argument,
  weightGiven: unknown,
  options: Readonly<GivenOptions>,
  stated: unknown,
  accumulate: boolean,
): Call {
  const { eps, weightOffset, castOrder, normalizedShape } = options;
  const kind = kindOf(x);
  const isPlain = kind === 'Float32Array' && stated === undefined;
  const dtype = isPlain ? 'float32' : readDType(x, stated);
  if (eps !== undefined) checkEps(eps, dtype);
  if (weightOffset !== undefined) checkWeightOffset(weightOffset, dtype);
  if (castOrder !== undefined) checkCastOrder(castOrder);
  let device = cpuOrdinal;
  let stream = null;
  if (options.device !== undefined) device = readDeviceFor(options.device, dtype);
  if (!ArrayBuffer.isView(x) || options.stream !== undefined) {
    stream = readStreamFor(dataOf(x), options.stream);
    if (stream !== null) device = deviceOf(dataOf(x) as DeviceBuffer, device, options);
  }
  const { x: xRule, weight: weightRule } = operation;
  let given = xRule.bit;
  let float32 = 0;
  let weight: Argument | undefined;
  if (isArrayOf(kind, weightGiven)) {
    weight = weightGiven;
    given |= weightRule.bit;
  } else if (kind === 'Uint16Array' && isArrayOf('Float32Array', weightGiven)) {
    weight = weightGiven;
    given |= weightRule.bit;
    float32 = weightRule.bit;
  } else {
    weight = readWeight(weightGiven, x, dtype);
  }
  const isShapeOfWeight = ArrayBuffer.isView(x) && normalizedShape === undefined;
  const hiddenSize =
    isShapeOfWeight && ArrayBuffer.isView(weight) && weight.length > 0
      ? weight.length
      : readHiddenSize(x, weight, normalizedShape);
  const rows = x.length / hiddenSize;
  if (!Number.isInteger(rows)) throw brokenRows(x, hiddenSize);
  const call = newCall(operation, {
    dtype,
    kind,
    device,
    stream,
    rows,
    hiddenSize,
    eps,
    weightOffset,
    castOrder,
    accumulate,
  });
  call.x = x;
  call.weight = weight;
  call.given = given;
  call.float32 = float32;
  if (!ArrayBuffer.isView(x)) addOperand(call, xRule, x);
  if (weight !== undefined && (given & weightRule.bit) === 0) addOperand(call, weightRule, weight);
  return call;
}

function brokenRows(x: Argument, hiddenSize: number): Error {
  const expected = `whole rows of ${String(hiddenSize)} elements`;
  return argumentError('ERR_OUT_OF_RANGE', 'x', expected, dataOf(x));
}

/** The device of a call on a DeviceBuffer, which the option `device` may name. */
function deviceOf(x: DeviceBuffer, named: number, { device }: Readonly<GivenOptions>): number {
  const own = ordinalOfBuffer(x);
  if (device === undefined || named === own) return own;
  const expected = `'${x.device}', the device of x, or left out`;
  throw argumentError('ERR_INVALID_ARG_VALUE', 'device', expected, device);
}

/** The dtype of x, from what the option, a tensor's type and the kind of its array say. */
function readDType(x: Argument, option: unknown): DType {
  if (ArrayBuffer.isView(x)) {
    return dtypeOf('x', arrayKind('x', x), option);
  }
  const type = x.kind === 'DeviceBuffer' ? (x.data as DeviceBuffer).dtype : statedType(x);
  if (option !== undefined && type !== undefined && option !== type) {
    throw argumentError('ERR_INVALID_ARG_VALUE', 'dtype', `'${type}', the type of x`, option);
  }
  if (x.kind === 'DeviceBuffer') return type as DType;
  return dtypeOf('x', x.kind, option === undefined ? type : option);
}
