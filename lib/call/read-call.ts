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
  refuseOther,
  refuseUnknown,
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

/** The values of options that a call leaves out. */
export interface Preset {
  readonly eps: unknown;
  readonly weightOffset: unknown;
  readonly castOrder: unknown;
  readonly normalizedShape: unknown;
  readonly device: unknown;
  readonly stream: unknown;
  /** The dtype of an x in a `Uint16Array`, if nothing else states it. */
  readonly bits: DType | undefined;
}

const noPreset: Preset = {
  eps: undefined,
  weightOffset: undefined,
  castOrder: undefined,
  normalizedShape: undefined,
  device: undefined,
  stream: undefined,
  bits: undefined,
};

/**
 * Reads and checks a call whose x has been read: its weight, and its options, each of them once.
 * Refuses unknown names of options, since a misspelt option would do nothing.
 *
 * All that most calls need is in this one function, and rarer cases are in others. A call on a short
 * row takes only as long as a few dozen function calls that V8 does not inline. A loop with one case
 * for each name stays fast if options come in objects of many shapes. Reading `options.eps` and the
 * others directly would be slower then.
 */
export function readCall(
  operation: Operation,
  x: Argument,
  weightGiven: unknown,
  options: object,
  known: KnownOptions,
  preset: Preset = noPreset,
): Call {
  // Values of any type: each is checked where it is used.
  let eps: unknown = preset.eps;
  let weightOffset: unknown = preset.weightOffset;
  let castOrder: unknown = preset.castOrder;
  let normalizedShape: unknown = preset.normalizedShape;
  let deviceName: unknown = preset.device;
  let stream: unknown = preset.stream;
  let stated: unknown;
  let out: unknown, residual: unknown, sumOut: unknown, rstdOut: unknown;
  let needsDx: unknown, needsDweight: unknown, accumulate: unknown;
  let dxOut: unknown, dweightOut: unknown, dsum: unknown, dgateOut: unknown;
  let gate: unknown, gateOrder: unknown;
  let quantize: unknown, scale: unknown, scaleMax: unknown, scaleOut: unknown;
  let read = 0;
  if (options !== noOptions) {
    const values = ordinaryOptions(options, known);
    for (const name in values) {
      const option = name as OptionName;
      const value: unknown = values[option];
      // prettier-ignore
      switch (option) {
        case 'eps': read |= bits.eps; eps = value; break;
        case 'weightOffset': read |= bits.weightOffset; weightOffset = value; break;
        case 'castOrder': read |= bits.castOrder; castOrder = value; break;
        case 'normalizedShape': read |= bits.normalizedShape; normalizedShape = value; break;
        case 'dtype': read |= bits.dtype; stated = value; break;
        case 'device': read |= bits.device; deviceName = value; break;
        case 'stream': read |= bits.stream; stream = value; break;
        case 'out': read |= bits.out; out = value; break;
        case 'residual': read |= bits.residual; residual = value; break;
        case 'sumOut': read |= bits.sumOut; sumOut = value; break;
        case 'rstdOut': read |= bits.rstdOut; rstdOut = value; break;
        case 'needsDx': read |= bits.needsDx; needsDx = value; break;
        case 'needsDweight': read |= bits.needsDweight; needsDweight = value; break;
        case 'dxOut': read |= bits.dxOut; dxOut = value; break;
        case 'dweightOut': read |= bits.dweightOut; dweightOut = value; break;
        case 'accumulate': read |= bits.accumulate; accumulate = value; break;
        case 'dsum': read |= bits.dsum; dsum = value; break;
        case 'gate': read |= bits.gate; gate = value; break;
        case 'gateOrder': read |= bits.gateOrder; gateOrder = value; break;
        case 'dgateOut': read |= bits.dgateOut; dgateOut = value; break;
        case 'quantize': read |= bits.quantize; quantize = value; break;
        case 'scale': read |= bits.scale; scale = value; break;
        case 'scaleMax': read |= bits.scaleMax; scaleMax = value; break;
        case 'scaleOut': read |= bits.scaleOut; scaleOut = value; break;
        default: refuseOther(options, option, known);
      }
    }
    if ((read & ~known.bits) !== 0) refuseUnknown(options, known);
  }

  const kind = kindOf(x);
  const isFloat32 = kind === 'Float32Array' && (stated === undefined || stated === 'float32');
  const isBits = kind === 'Uint16Array' && (stated === 'bfloat16' || stated === 'float16');
  const ofBits = isBits && ArrayBuffer.isView(x) ? (stated as DType) : undefined;
  const dtype = isFloat32 ? 'float32' : (ofBits ?? readDType(x, stated, preset.bits));
  if (eps !== undefined) checkEps(eps, dtype);
  if (weightOffset !== undefined) checkWeightOffset(weightOffset, dtype);
  if (castOrder !== undefined) checkCastOrder(castOrder);
  const ordinal = deviceName === undefined ? cpuOrdinal : readDeviceFor(deviceName, dtype);
  const onStream =
    ArrayBuffer.isView(x) && stream === undefined ? null : readStreamFor(dataOf(x), stream);

  let weight: Argument | undefined;
  let given = operation.x.bit;
  let float32 = 0;
  if (isArrayOf(kind, weightGiven)) {
    weight = weightGiven;
    given |= operation.weight.bit;
  } else if (kind === 'Uint16Array' && isArrayOf('Float32Array', weightGiven)) {
    weight = weightGiven;
    given |= operation.weight.bit;
    float32 = operation.weight.bit;
  } else if (weightGiven !== null) {
    weight = readWeight(weightGiven, x, dtype, preset !== noPreset);
  }
  const isOfWeight = ArrayBuffer.isView(x) && normalizedShape === undefined;
  const hiddenSize =
    isOfWeight && ArrayBuffer.isView(weight) && weight.length > 0
      ? weight.length
      : readHiddenSize(x, weight, normalizedShape);
  const rows = x.length / hiddenSize;
  if (!Number.isInteger(rows)) {
    const requirement = `consist of whole rows of ${String(hiddenSize)} elements`;
    throw requirementError('ERR_OUT_OF_RANGE', 'x', requirement, dataOf(x));
  }

  const call = newCall({
    operation,
    dtype,
    kind,
    device: onStream === null ? ordinal : deviceOf(dataOf(x) as DeviceBuffer, ordinal, deviceName),
    stream: onStream,
    rows,
    hiddenSize,
    eps,
    weightOffset,
    castOrder,
  });
  call.x = x;
  call.weight = weight;
  call.given = given;
  call.float32 = float32;
  if (!ArrayBuffer.isView(x)) addOperand(call, operation.x, x);
  if (weight !== undefined && (given & operation.weight.bit) === 0) {
    addOperand(call, operation.weight, weight);
  }
  if ((read & quantizedBits) !== 0) readQuantization(call, quantize, scale, scaleMax, scaleOut);
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

/** Reads the options of a gate. The gate is the same operand number in both operations. */
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

/** The device of a call on a DeviceBuffer. The option `device` may name the same device. */
function deviceOf(x: DeviceBuffer, ordinal: number, named: unknown): number {
  const own = ordinalOfBuffer(x);
  if (named === undefined || ordinal === own) return own;
  const expected = `'${x.device}', the device of x, or omitted`;
  throw argumentError('ERR_INVALID_ARG_VALUE', 'device', expected, named);
}

/** The dtype of x, from the option `dtype`, the tensor's `type` and the kind of array. */
function readDType(x: Argument, option: unknown, ofBits: DType | undefined): DType {
  if (ArrayBuffer.isView(x)) {
    const kind = arrayKind('x', x);
    return dtypeOf('x', kind, option === undefined && kind === 'Uint16Array' ? ofBits : option);
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
    stated === undefined && x.kind === 'Uint16Array' ? ofBits : stated,
  );
}
