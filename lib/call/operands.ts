// Reads arguments and options as operands of a call, checked by their rules.

import {
  anArray,
  dtypes,
  isFloatArray,
  rstdKind,
  type ArrayKind,
  type BufferDType,
  type DType,
  type FloatArray,
  type IsOfArrays,
  type QuantizedDType,
} from '../core/dtype';
import { argumentError, describe, lengthError, requirementError } from '../core/errors';
import type { DeviceBuffer } from '../gpu/device-buffer';
import type { Call } from './call';
import { checkSameDevice, isDeviceBuffer, isSamePlace, type DataKind } from './data';
import { forwardRules, type Element, type OperandRule } from './operations';
import { isSame } from './shape';
import { dataOf, kindOf, readArgument, sourceOf, statedType, type Argument } from './tensor';

/** Whether a value is an array of this kind with elements, so that it is not detached. */
export function isArrayOf(kind: DataKind, value: unknown): value is FloatArray {
  if (!ArrayBuffer.isView(value)) return false;
  const array = value as FloatArray;
  return array[Symbol.toStringTag] === kind && array.length > 0;
}

const aWeight = `${anArray}, or null for no weight`;

/**
 * Reads a weight of a less common form. `dtype`: that of x. `isKept`: the weight belongs to a module,
 * so an error blames x.
 */
export function readWeight(value: unknown, x: Argument, dtype: DType, isKept: boolean): Argument {
  if (value === undefined) {
    throw argumentError('ERR_INVALID_ARG_TYPE', 'weight', aWeight, value);
  }
  const { weight: rule } = forwardRules;
  const weight = readArgument('weight', value, aWeight);
  if (isKept && !(isSamePlace(dataOf(weight), dataOf(x)) && isAsItsRule(rule, weight, dtype))) {
    const requirement = `have the device and dtype of the module's weight, ${describe(value)}`;
    throw requirementError('ERR_INVALID_ARG_TYPE', 'x', requirement, sourceOf(x));
  }
  checkTensor(rule, weight, x);
  checkDType(rule, weight, dtype);
  return weight;
}

/** Whether a value is an array of x's kind and of the required length: most operands are. */
export function isPlain(call: Call, rule: OperandRule, value: unknown): value is FloatArray {
  if (!ArrayBuffer.isView(value)) return false;
  const array = value as FloatArray;
  const { length } = array;
  if (length === 0 || length !== lengthOf(rule, call)) return false;
  if (array[Symbol.toStringTag] !== call.kind) return false;
  // Beside 16-bit tensors a per-row operand has another kind than x.
  return rule.extent !== 'perRow' || call.dtype === 'float32';
}

/** Reads an operand other than x and weight. */
export function readOperand(call: Call, rule: OperandRule, value: unknown): Argument {
  if (!isPlain(call, rule, value)) return readOtherOperand(call, rule, value);
  call.given |= rule.bit;
  return value;
}

/**
 * What operands must be beside an x of each dtype, for messages. Built once: building them at each call
 * would take longer.
 */
const tensorsLikeX = textsOf('tensor');
const vectorsBesideX = textsOf('tensorOrFloat32');
const buffersLikeX =
  'a DeviceBuffer, or a tensor { data, dims } whose data is one, since x is in GPU memory';

function textsOf(element: Element): Readonly<Record<DType, string>> {
  const textOf = (dtype: DType) =>
    `${kindsOf(element, dtype)}, or a tensor { data, dims } whose data is one, since x is ${dtype}`;
  return {
    float32: textOf('float32'),
    float64: textOf('float64'),
    float16: textOf('float16'),
    bfloat16: textOf('bfloat16'),
  };
}

function readOtherOperand(call: Call, rule: OperandRule, value: unknown): Argument {
  const isOnGpu = call.kind === 'DeviceBuffer';
  if (rule.extent === 'perRow' && !isFloatArray(value) && !isDeviceBuffer(value)) {
    throw wrongPerRow(rule, call.dtype, isOnGpu, value);
  }
  const asX = rule.element === 'tensorOrFloat32' ? vectorsBesideX : tensorsLikeX;
  return readOperandOf(call, rule, value, isOnGpu ? buffersLikeX : asX[call.dtype], isFloatArray);
}

/** Reads an operand in an array that `isOurs` accepts. Messages call such arrays `expected`. */
export function readOperandOf(
  call: Call,
  rule: OperandRule,
  value: unknown,
  expected: string,
  isOurs: IsOfArrays,
): Argument {
  const argument = readArgument(rule.name, value, expected, isOurs);
  const x = call.x as Argument;
  if (!ArrayBuffer.isView(argument) || !ArrayBuffer.isView(x)) checkTensor(rule, argument, x);
  if (rule.element === 'tensorOrCodes' && call.quantization !== undefined) {
    const { codes } = call.quantization;
    if (!isOf(argument, codes)) throw wrongCodes(rule, argument, codes, expected);
  } else {
    checkDType(rule, argument, call.dtype);
  }
  checkLength(call, rule, argument);
  return addOperand(call, rule, argument);
}

function wrongCodes(
  { name }: OperandRule,
  argument: Argument,
  codes: QuantizedDType,
  expected: string,
): Error {
  const article = codes === 'int8' ? 'an' : 'a';
  const buffer = `${article} ${codes} DeviceBuffer, since quantize is '${codes}'`;
  const what = kindOf(argument) === 'DeviceBuffer' ? buffer : expected;
  return argumentError('ERR_INVALID_ARG_TYPE', name, what, dataOf(argument));
}

/** As {@link readOperand}; undefined for null and undefined. */
export function readOptional(call: Call, rule: OperandRule, value: unknown): Argument | undefined {
  return value === undefined || value === null ? undefined : readOperand(call, rule, value);
}

/** Notes in the call's bit masks that an operand is there, and returns it. */
export function addOperand(call: Call, rule: OperandRule, argument: Argument): Argument {
  const { bit } = rule;
  call.given |= bit;
  if (rule.element === 'tensorOrFloat32' && is16Bit(call.dtype) && isFloat32(argument)) {
    call.float32 |= bit;
  }
  if (ArrayBuffer.isView(argument)) return argument;
  call.tensors |= bit;
  if (argument.view !== null) call.strided |= bit;
  return argument;
}

/** The number of elements that an operand must have. */
export function lengthOf({ extent }: OperandRule, { rows, hiddenSize }: Call): number {
  if (extent === 'matrix') return rows * hiddenSize;
  return extent === 'vector' ? hiddenSize : rows;
}

export function checkLength(call: Call, rule: OperandRule, argument: Argument): void {
  if (argument.length !== lengthOf(rule, call))
    throw lengthError(rule.name, lengthOf(rule, call), dataOf(argument));
}

/** Checks device, strides and dims, which only tensors and DeviceBuffers can have wrong. */
function checkTensor({ name, extent }: OperandRule, argument: Argument, x: Argument): void {
  checkSameDevice(name, dataOf(argument), dataOf(x));
  if (ArrayBuffer.isView(argument)) return;
  if (extent === 'vector') refuseView(name, argument);
  if (extent !== 'matrix' || ArrayBuffer.isView(x)) return;
  if (x.dims === null || argument.dims === null || isSame(argument.dims, x.dims)) return;
  const expected = `[${x.dims.join(', ')}], the dims of x`;
  throw argumentError('ERR_OUT_OF_RANGE', `${name}.dims`, expected, argument.dims);
}

/** Refuses a tensor with strides or an offset. */
export function refuseView(name: string, argument: Argument): void {
  if (ArrayBuffer.isView(argument) || argument.view === null) return;
  const expected = 'an array or a tensor without strides and offset';
  throw argumentError('ERR_INVALID_ARG_VALUE', name, expected, argument.source);
}

/** Whether the elements of an argument are float32. */
export function isFloat32(argument: Argument): boolean {
  const kind = kindOf(argument);
  if (kind !== 'DeviceBuffer') return kind === 'Float32Array';
  return deviceDTypeOf(argument) === 'float32';
}

function is16Bit(dtype: DType): boolean {
  return dtype === 'float16' || dtype === 'bfloat16';
}

/**
 * Refuses an operand whose dtype breaks its rule beside tensors of `dtype`. `reason`: where messages
 * say that this dtype comes from.
 */
export function checkDType(
  rule: OperandRule,
  argument: Argument,
  dtype: DType,
  reason: 'x' | 'the dtype' = 'x',
): void {
  if (isAsItsRule(rule, argument, dtype)) return;
  const isOnGpu = kindOf(argument) === 'DeviceBuffer';
  if (rule.extent === 'perRow') throw wrongPerRow(rule, dtype, isOnGpu, sourceOf(argument));
  throw wrongDType(rule, argument, dtype, reason);
}

function isAsItsRule({ element }: OperandRule, argument: Argument, dtype: DType): boolean {
  if (element === 'float32') return isOf(argument, element);
  if (element === 'rstd') return isOf(argument, dtype === 'float64' ? dtype : 'float32');
  if (isOf(argument, dtype)) return true;
  return element === 'tensorOrFloat32' && is16Bit(dtype) && isFloat32(argument);
}

function wrongPerRow({ name }: OperandRule, dtype: DType, isOnGpu: boolean, value: unknown): Error {
  const kind = isOnGpu ? 'float32 DeviceBuffer' : rstdKind(dtype);
  const orNull = name === 'rstd' ? ', or null to recompute it; options are the next argument' : '';
  return argumentError('ERR_INVALID_ARG_TYPE', name, `a ${kind}${orNull}`, value);
}

/** The kinds of array that an operand may have, for messages. */
function kindsOf(element: Element, dtype: DType): string {
  const orFloat32 = element === 'tensorOrFloat32' && is16Bit(dtype) ? ' or Float32Array' : '';
  return `a ${dtypes[dtype].kinds.join(' or ')}${orFloat32}`;
}

function wrongDType(
  rule: OperandRule,
  argument: Argument,
  dtype: DType,
  reason: 'x' | 'the dtype',
): Error {
  const { name, element } = rule;
  const orFloat32 = element === 'tensorOrFloat32' && is16Bit(dtype) ? ' or float32' : '';
  const isOnGpu = kindOf(argument) === 'DeviceBuffer';
  const kind = isOnGpu ? `a ${dtype}${orFloat32} DeviceBuffer` : kindsOf(element, dtype);
  const expected = `${kind}, since ${reason} is ${dtype}`;
  const { data, wrap } = ArrayBuffer.isView(argument) ? { data: argument, wrap: null } : argument;
  const array = wrap === null ? data : wrap(data as Uint16Array);
  return argumentError('ERR_INVALID_ARG_TYPE', name, expected, array);
}

/** Whether the elements of an argument can be of `dtype`. */
function isOf(argument: Argument, dtype: DType | QuantizedDType): boolean {
  const kind = kindOf(argument);
  if (kind === 'DeviceBuffer') return deviceDTypeOf(argument) === dtype;
  const kinds: readonly ArrayKind[] = dtypes[dtype].kinds;
  if (!kinds.includes(kind)) return false;
  return ArrayBuffer.isView(argument) || (statedType(argument) ?? dtype) === dtype;
}

function deviceDTypeOf(argument: Argument): BufferDType {
  return (dataOf(argument) as DeviceBuffer<BufferDType>).dtype;
}
