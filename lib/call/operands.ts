// Reads the arguments and options that are operands of a call, and checks them by their rules
// (operations.ts). An array that matches x needs few checks: it takes the fast path.

import {
  anArray,
  dtypes,
  isFloatArray,
  rstdKind,
  type ArrayKind,
  type BufferDType,
  type DType,
  type FloatArray,
  type ArrayGuard,
  type QuantizedDType,
} from '../core/dtype';
import { argumentError, describe, lengthError, requirementError } from '../core/errors';
import type { DeviceBuffer } from '../gpu/device-buffer';
import type { Call } from './call';
import { checkSameDevice, isDeviceBuffer, isOnSameDevice, type DataKind } from './data';
import { forwardRules, type Element, type OperandRule } from './operations';
import { isSame } from './shape';
import { dataOf, kindOf, readArgument, sourceOf, statedType, type Argument } from './tensor';

/** Whether a value is an array of this kind and not empty. A detached array is empty, so it is refused. */
export function isArrayOf(kind: DataKind, value: unknown): value is FloatArray {
  if (!ArrayBuffer.isView(value)) return false;
  const array = value as FloatArray;
  return array[Symbol.toStringTag] === kind && array.length > 0;
}

const weightText = `${anArray}, or null for no weight`;

/**
 * Reads a weight that is not simply an array of x's kind. `dtype`: the dtype of x. `isModuleWeight`: whether
 * the weight belongs to a module. If it does and the two do not fit, the error is about x, not the weight.
 */
export function readWeight(
  value: unknown,
  x: Argument,
  dtype: DType,
  isModuleWeight: boolean,
): Argument {
  if (value === undefined) {
    throw argumentError('ERR_INVALID_ARG_TYPE', 'weight', weightText, value);
  }
  const { weight: rule } = forwardRules;
  const weight = readArgument('weight', value, weightText);
  if (
    isModuleWeight &&
    !(isOnSameDevice(dataOf(weight), dataOf(x)) && fitsRule(rule, weight, dtype))
  ) {
    const requirement = `have the device and dtype of the module's weight, ${describe(value)}`;
    throw requirementError('ERR_INVALID_ARG_TYPE', 'x', requirement, sourceOf(x));
  }
  checkTensor(rule, weight, x);
  checkDType(rule, weight, dtype);
  return weight;
}

/**
 * Whether a value is a bare array of x's kind and of the length that the rule requires. This is the fast
 * path: most operands are such arrays, and these need no other check.
 */
export function isMatchingArray(
  call: Call,
  rule: OperandRule,
  value: unknown,
): value is FloatArray {
  if (!ArrayBuffer.isView(value)) return false;
  const array = value as FloatArray;
  const { length } = array;
  if (length === 0 || length !== lengthOf(rule, call)) return false;
  if (array[Symbol.toStringTag] !== call.kind) return false;
  // A per-row operand is float32 if x is 16-bit, so its kind differs from the kind of x.
  return rule.extent !== 'perRow' || call.dtype === 'float32';
}

/** Reads an operand other than x and weight. */
export function readOperand(call: Call, rule: OperandRule, value: unknown): Argument {
  if (!isMatchingArray(call, rule, value)) return readOtherOperand(call, rule, value);
  call.presentBits |= rule.bit;
  return value;
}

/**
 * For error messages: what an operand must be, for each dtype of x. These texts are built only once, since
 * each call that reads an operand off the fast path passes one of them.
 */
const matrixTexts = textsOf('tensor');
const vectorTexts = textsOf('tensorOrFloat32');
const bufferText =
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
  const texts = rule.element === 'tensorOrFloat32' ? vectorTexts : matrixTexts;
  return readOperandOf(call, rule, value, isOnGpu ? bufferText : texts[call.dtype], isFloatArray);
}

/** Reads an operand in an array that `isAccepted` accepts. Error messages call such arrays `expected`. */
export function readOperandOf(
  call: Call,
  rule: OperandRule,
  value: unknown,
  expected: string,
  isAccepted: ArrayGuard,
): Argument {
  const argument = readArgument(rule.name, value, expected, isAccepted);
  const x = call.x as Argument;
  if (!ArrayBuffer.isView(argument) || !ArrayBuffer.isView(x)) checkTensor(rule, argument, x);
  if (rule.element === 'tensorOrCodes' && call.quantization !== undefined) {
    const { codes } = call.quantization;
    if (!canHold(argument, codes)) throw wrongCodes(rule, argument, codes, expected);
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

/** As {@link readOperand}, but returns undefined if the value is null or undefined. */
export function readOptional(call: Call, rule: OperandRule, value: unknown): Argument | undefined {
  return value === undefined || value === null ? undefined : readOperand(call, rule, value);
}

/** Adds an operand to the call's sets of operands, and returns it. The caller stores it in the call. */
export function addOperand(call: Call, rule: OperandRule, argument: Argument): Argument {
  const { bit } = rule;
  call.presentBits |= bit;
  if (rule.element === 'tensorOrFloat32' && is16Bit(call.dtype) && isFloat32(argument)) {
    call.float32Bits |= bit;
  }
  if (ArrayBuffer.isView(argument)) return argument;
  call.tensorBits |= bit;
  if (argument.view !== null) call.stridedBits |= bit;
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

/** Checks the device, strides and dims of an operand. Needless if the operand and x are bare arrays. */
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
 * Refuses an operand whose dtype breaks its rule in a call of `dtype`. `reason`: the source of `dtype` that
 * error messages name.
 */
export function checkDType(
  rule: OperandRule,
  argument: Argument,
  dtype: DType,
  reason: 'x' | 'the dtype' = 'x',
): void {
  if (fitsRule(rule, argument, dtype)) return;
  const isOnGpu = kindOf(argument) === 'DeviceBuffer';
  if (rule.extent === 'perRow') throw wrongPerRow(rule, dtype, isOnGpu, sourceOf(argument));
  throw wrongDType(rule, argument, dtype, reason);
}

/** Whether the dtype of an argument fits its rule in a call of `dtype`. */
function fitsRule({ element }: OperandRule, argument: Argument, dtype: DType): boolean {
  if (element === 'float32') return canHold(argument, element);
  if (element === 'rstd') return canHold(argument, dtype === 'float64' ? dtype : 'float32');
  if (canHold(argument, dtype)) return true;
  return element === 'tensorOrFloat32' && is16Bit(dtype) && isFloat32(argument);
}

function wrongPerRow({ name }: OperandRule, dtype: DType, isOnGpu: boolean, value: unknown): Error {
  const kind = isOnGpu ? 'float32 DeviceBuffer' : rstdKind(dtype);
  const orNull = name === 'rstd' ? ', or null to recompute it; options are the next argument' : '';
  return argumentError('ERR_INVALID_ARG_TYPE', name, `a ${kind}${orNull}`, value);
}

/** The kinds of array that an operand may have, for error messages. */
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

/** Whether the elements of an argument can be of `dtype`: a `Uint16Array` fits both 16-bit dtypes. */
function canHold(argument: Argument, dtype: DType | QuantizedDType): boolean {
  const kind = kindOf(argument);
  if (kind === 'DeviceBuffer') return deviceDTypeOf(argument) === dtype;
  const kinds: readonly ArrayKind[] = dtypes[dtype].kinds;
  if (!kinds.includes(kind)) return false;
  return ArrayBuffer.isView(argument) || (statedType(argument) ?? dtype) === dtype;
}

function deviceDTypeOf(argument: Argument): BufferDType {
  return (dataOf(argument) as DeviceBuffer<BufferDType>).dtype;
}
