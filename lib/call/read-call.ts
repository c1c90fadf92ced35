import { arrayKind, dtypeOf, type DType, type FloatKind } from '../core/dtype';
import { argumentError, requirementError } from '../core/errors';
import { readFlag } from '../core/validate';
import { ordinalOfBuffer, type DeviceBuffer } from '../gpu/device-buffer';
import { cpuOrdinal } from '../gpu/devices';
import { newCall, type Call } from './call';
import { readStreamFor, tensorDType } from './data';
import {
  noOptions,
  optionBits as bits,
  ordinaryOptions,
  quantizedBits,
  refuseUnknownName,
  refuseUnsupported,
  type KnownOptions,
  type OptionName,
} from './known-options';
import { addOperand, isArrayOf, readOperand, readWeight } from './operands';
import { backwardRules, forwardOperation, forwardRules, type Operation } from './operations';
import {
  checkCastOrder,
  checkEps,
  checkGateOrder,
  checkWeightOffset,
  readDeviceFor,
} from './options';
import { readOut, readQuantization } from './quantization';
import { readHiddenSize } from './shape';
import { dataOf, kindOf, statedType, type Argument } from './tensor';

/** The values of options that a module has set. Each applies to a call that leaves the option out. */
export interface Preset {
  readonly eps: unknown;
  readonly weightOffset: unknown;
  readonly castOrder: unknown;
  readonly normalizedShape: unknown;
  readonly device: unknown;
  readonly stream: unknown;
  /** The dtype of an x in a `Uint16Array`, if neither the call nor x states it. */
  readonly uint16DType: DType | undefined;
}

const noPreset: Preset = {
  eps: undefined,
  weightOffset: undefined,
  castOrder: undefined,
  normalizedShape: undefined,
  device: undefined,
  stream: undefined,
  uint16DType: undefined,
};

/**
 * Reads and checks the weight and the options of a call, whose x has been read. Reads each option once,
 * since a getter could return another value the second time. Refuses unknown names of options, since a
 * misspelt option would do nothing. `known`: the options that the calling function accepts.
 *
 * The function is long for speed: a call on a short row takes only as long as a few dozen function calls
 * that V8 does not inline. So what most calls need is here, and rarer cases are in other functions.
 *
 * The options are read by a loop over their names, with a case for each name. The loop stays fast if
 * options come in objects of many shapes. Reading `options.eps` and the other options directly is then
 * slower.
 */
export function readCall(
  operation: Operation,
  x: Argument,
  weightValue: unknown,
  options: object,
  known: KnownOptions,
  preset: Preset = noPreset,
): Call {
  // 1. Read the options. Values can have any type: each is checked where it is used.
  let eps: unknown = preset.eps;
  let weightOffset: unknown = preset.weightOffset;
  let castOrder: unknown = preset.castOrder;
  let normalizedShape: unknown = preset.normalizedShape;
  let deviceName: unknown = preset.device;
  let stream: unknown = preset.stream;
  let dtypeOption: unknown;
  let out: unknown, residual: unknown, sumOut: unknown, rstdOut: unknown;
  let needsDx: unknown, needsDweight: unknown, accumulate: unknown;
  let dxOut: unknown, dweightOut: unknown, dsum: unknown, dgateOut: unknown;
  let gate: unknown, gateOrder: unknown;
  let quantize: unknown, scale: unknown, scaleMax: unknown, scaleOut: unknown;
  let seen = 0; // the bits of the options that the call has
  if (options !== noOptions) {
    const values = ordinaryOptions(options, known);
    for (const name in values) {
      const option = name as OptionName;
      const value: unknown = values[option];
      // prettier-ignore
      switch (option) {
        case 'eps': seen |= bits.eps; eps = value; break;
        case 'weightOffset': seen |= bits.weightOffset; weightOffset = value; break;
        case 'castOrder': seen |= bits.castOrder; castOrder = value; break;
        case 'normalizedShape': seen |= bits.normalizedShape; normalizedShape = value; break;
        case 'dtype': seen |= bits.dtype; dtypeOption = value; break;
        case 'device': seen |= bits.device; deviceName = value; break;
        case 'stream': seen |= bits.stream; stream = value; break;
        case 'out': seen |= bits.out; out = value; break;
        case 'residual': seen |= bits.residual; residual = value; break;
        case 'sumOut': seen |= bits.sumOut; sumOut = value; break;
        case 'rstdOut': seen |= bits.rstdOut; rstdOut = value; break;
        case 'needsDx': seen |= bits.needsDx; needsDx = value; break;
        case 'needsDweight': seen |= bits.needsDweight; needsDweight = value; break;
        case 'dxOut': seen |= bits.dxOut; dxOut = value; break;
        case 'dweightOut': seen |= bits.dweightOut; dweightOut = value; break;
        case 'accumulate': seen |= bits.accumulate; accumulate = value; break;
        case 'dsum': seen |= bits.dsum; dsum = value; break;
        case 'gate': seen |= bits.gate; gate = value; break;
        case 'gateOrder': seen |= bits.gateOrder; gateOrder = value; break;
        case 'dgateOut': seen |= bits.dgateOut; dgateOut = value; break;
        case 'quantize': seen |= bits.quantize; quantize = value; break;
        case 'scale': seen |= bits.scale; scale = value; break;
        case 'scaleMax': seen |= bits.scaleMax; scaleMax = value; break;
        case 'scaleOut': seen |= bits.scaleOut; scaleOut = value; break;
        default: refuseUnknownName(options, option, known);
      }
    }
    if ((seen & ~known.bits) !== 0) refuseUnsupported(options, known);
  }

  // 2. Find the dtype, and check the options that are numbers or names.
  const kind = kindOf(x);
  const isFloat32 =
    kind === 'Float32Array' && (dtypeOption === undefined || dtypeOption === 'float32');
  const is16Bit =
    kind === 'Uint16Array' && (dtypeOption === 'bfloat16' || dtypeOption === 'float16');
  const dtype16 = is16Bit && ArrayBuffer.isView(x) ? (dtypeOption as DType) : undefined;
  const dtype = isFloat32 ? 'float32' : (dtype16 ?? readDType(x, dtypeOption, preset.uint16DType));
  if (eps !== undefined) checkEps(eps, dtype);
  if (weightOffset !== undefined) checkWeightOffset(weightOffset, dtype);
  if (castOrder !== undefined) checkCastOrder(castOrder);
  const ordinal = deviceName === undefined ? cpuOrdinal : readDeviceFor(deviceName, dtype);
  const nativeStream =
    ArrayBuffer.isView(x) && stream === undefined ? null : readStreamFor(dataOf(x), stream);

  // 3. Read the weight. A row of x is as long as the weight, unless normalizedShape says otherwise.
  let weight: Argument | undefined;
  let presentBits = operation.x.bit;
  let float32Bits = 0;
  if (isArrayOf(kind, weightValue)) {
    weight = weightValue;
    presentBits |= operation.weight.bit;
  } else if (kind === 'Uint16Array' && isArrayOf('Float32Array', weightValue)) {
    weight = weightValue;
    presentBits |= operation.weight.bit;
    float32Bits = operation.weight.bit;
  } else if (weightValue !== null) {
    weight = readWeight(weightValue, x, dtype, preset !== noPreset);
  }
  const isWeightLength = ArrayBuffer.isView(x) && normalizedShape === undefined;
  const hiddenSize =
    isWeightLength && ArrayBuffer.isView(weight) && weight.length > 0
      ? weight.length
      : readHiddenSize(x, weight, normalizedShape);
  const rows = x.length / hiddenSize;
  if (!Number.isInteger(rows)) {
    const requirement = `consist of whole rows of ${String(hiddenSize)} elements`;
    throw requirementError('ERR_OUT_OF_RANGE', 'x', requirement, dataOf(x));
  }

  // 4. Make the call, and read the other operands.
  const call = newCall({
    operation,
    dtype,
    kind,
    device:
      nativeStream === null ? ordinal : deviceOf(dataOf(x) as DeviceBuffer, ordinal, deviceName),
    stream: nativeStream,
    rows,
    hiddenSize,
    eps,
    weightOffset,
    castOrder,
  });
  call.x = x;
  call.weight = weight;
  call.presentBits = presentBits;
  call.float32Bits = float32Bits;
  if (!ArrayBuffer.isView(x)) addOperand(call, operation.x, x);
  if (weight !== undefined && (presentBits & operation.weight.bit) === 0) {
    addOperand(call, operation.weight, weight);
  }
  if ((seen & quantizedBits) !== 0) readQuantization(call, quantize, scale, scaleMax, scaleOut);
  if (gate !== undefined || gateOrder !== undefined) readGate(call, gate, gateOrder);
  if (out !== undefined) call.out = readOut(call, out);
  if (rstdOut !== undefined) call.rstdOut = readOperand(call, forwardRules.rstdOut, rstdOut);
  if (residual !== undefined) call.residual = readOperand(call, forwardRules.residual, residual);
  if (sumOut !== undefined) call.sumOut = readOperand(call, forwardRules.sumOut, sumOut);
  if (operation === forwardOperation) return call;
  call.needsDx = readFlag('needsDx', needsDx, true);
  call.needsDweight = readFlag('needsDweight', needsDweight, weight !== undefined);
  call.accumulate = readFlag('accumulate', accumulate, false);
  if (dxOut !== undefined) call.dxOut = readOperand(call, backwardRules.dxOut, dxOut);
  if (dweightOut !== undefined) {
    call.dweightOut = readOperand(call, backwardRules.dweightOut, dweightOut);
  }
  if (dsum !== undefined) call.dsum = readOperand(call, backwardRules.dsum, dsum);
  if (dgateOut !== undefined) call.dgateOut = readOperand(call, backwardRules.dgateOut, dgateOut);
  return call;
}

/** Reads the options of a gate. The gate has the same position in both operations, so one rule serves. */
function readGate(call: Call, gate: unknown, order: unknown): void {
  if (gate === undefined) {
    throw argumentError(
      'ERR_INVALID_ARG_VALUE',
      'gateOrder',
      "omitted unless 'gate' is given",
      order,
    );
  }
  if (call.dtype === 'float64') {
    const expected = 'omitted for float64 tensors, which do not support a gate';
    throw argumentError('ERR_INVALID_ARG_VALUE', 'gate', expected, gate);
  }
  call.gate = readOperand(call, forwardRules.gate, gate);
  if (order !== undefined) checkGateOrder(order);
  call.gateOrder = order;
}

/**
 * The ordinal of the device of a call on a DeviceBuffer: the device of x. The option `device` may only
 * repeat it. `ordinal`: the ordinal of the device that the option names.
 */
function deviceOf(x: DeviceBuffer, ordinal: number, deviceName: unknown): number {
  const own = ordinalOfBuffer(x);
  if (deviceName === undefined || ordinal === own) return own;
  const expected = `'${x.device}', the device of x, or omitted`;
  throw argumentError('ERR_INVALID_ARG_VALUE', 'device', expected, deviceName);
}

/**
 * The dtype of x, from the option `dtype`, the tensor's `type` and the kind of array. `uint16DType`: the
 * dtype of a `Uint16Array` if neither `dtype` nor `type` states it.
 */
function readDType(x: Argument, option: unknown, uint16DType: DType | undefined): DType {
  if (ArrayBuffer.isView(x)) {
    const kind = arrayKind('x', x);
    return dtypeOf(
      'x',
      kind,
      option === undefined && kind === 'Uint16Array' ? uint16DType : option,
    );
  }
  const type = x.kind === 'DeviceBuffer' ? tensorDType('x', x.data as DeviceBuffer) : statedType(x);
  if (option !== undefined && type !== undefined && option !== type) {
    throw argumentError('ERR_INVALID_ARG_VALUE', 'dtype', `'${type}', the type of x`, option);
  }
  if (x.kind === 'DeviceBuffer') return type as DType;
  const stated = option === undefined ? type : option;
  return dtypeOf(
    'x',
    x.kind as FloatKind,
    stated === undefined && x.kind === 'Uint16Array' ? uint16DType : stated,
  );
}
