// Runs calls that have been read: synchronously, enqueued on a stream, or on another thread. The
// outputs that a call allocates become its operands.

import type { NativeArray, NativeData } from '../../binding';
import { binding } from '../binding';
import {
  dtypes,
  makeArray,
  nativeView,
  rstdKind,
  type ArrayKind,
  type FloatArray,
  type QuantizedDType,
} from '../core/dtype';
import { adoptNativeError, requirementError } from '../core/errors';
import { freshArray } from '../core/outputs';
import { cuda } from '../gpu/cuda';
import type { Call, Operand } from './call';
import { freshCodes, freshLike, freshRstd, nativeData } from './data';
import { addOperand, isFloat32, lengthOf } from './operands';
import {
  backwardRules,
  forwardOperation,
  forwardRules,
  type OperandName,
  type OperandRule,
} from './operations';
import { writeLayout, writeRecord, type LayoutNumbers } from './record';
import { giveRoom, takeRoom } from './room';
import { collapse } from './strides';
import {
  codesLike,
  dataOf,
  kindOf,
  outputLike,
  readArgument,
  recheck,
  type Argument,
  type StridedView,
  type TensorArgument,
} from './tensor';

/** Runs a call synchronously, or enqueues it if it has a stream. */
export function runNow(call: Call): void {
  if (call.made !== 0) makeOutputs(call);
  // From here to the native call nothing runs code of the caller, which could make another call and
  // overwrite the record.
  writeRecord(call);
  if (call.strided !== 0) writeStrided(call);
  // The addon reads arrays as bytes, whatever their class.
  const native = call.tensors === 0 ? (call as NativeOperands) : nativeOperands(call);
  try {
    // Each argument takes time, even an undefined one. So the last ones are passed only if there are
    // any.
    const { stream } = call;
    const isUsual = (call.given & call.operation.rareBits) === 0;
    if (call.operation === forwardOperation) {
      const { x, weight, out, rstdOut } = native;
      if (isUsual) {
        binding.forward(stream, x, weight, out, rstdOut);
      } else {
        const { residual, sumOut, scaleOut, gate } = native;
        binding.forward(stream, x, weight, out, rstdOut, residual, sumOut, scaleOut, gate);
      }
    } else {
      const { dy, x, weight, rstd, dxOut, dweightOut } = native;
      if (isUsual) {
        binding.backward(stream, dy, x, weight, rstd, dxOut, dweightOut);
      } else {
        const { dsum, gate, dgateOut } = native;
        binding.backward(stream, dy, x, weight, rstd, dxOut, dweightOut, dsum, gate, dgateOut);
      }
    }
  } catch (error) {
    throw adoptNativeError(error);
  }
}

type NativeOperands = Readonly<Record<OperandName, NativeData | undefined>>;

/** The operands as the addon takes them, if not all are arrays. */
function nativeOperands(call: Call): NativeOperands {
  return {
    x: nativeOf(call.x),
    weight: nativeOf(call.weight),
    out: nativeOf(call.out),
    rstdOut: nativeOf(call.rstdOut),
    residual: nativeOf(call.residual),
    sumOut: nativeOf(call.sumOut),
    scaleOut: nativeOf(call.scaleOut),
    gate: nativeOf(call.gate),
    dy: nativeOf(call.dy),
    rstd: nativeOf(call.rstd),
    dxOut: nativeOf(call.dxOut),
    dweightOut: nativeOf(call.dweightOut),
    dsum: nativeOf(call.dsum),
    dgateOut: nativeOf(call.dgateOut),
  };
}

function nativeOf(operand: Operand): NativeData | undefined {
  return operand === undefined ? undefined : nativeData(dataOf(operand));
}

/**
 * Allocates the outputs that the caller did not pass. By name: a loop over the rules takes twice as
 * long.
 */
function makeOutputs(call: Call): void {
  if (call.operation === forwardOperation) {
    const { out, rstdOut, sumOut, scaleOut } = forwardRules;
    if ((call.made & out.bit) !== 0) call.out = makeOutput(call, out);
    if ((call.made & rstdOut.bit) !== 0) call.rstdOut = makeOutput(call, rstdOut);
    if ((call.made & sumOut.bit) !== 0) call.sumOut = makeOutput(call, sumOut);
    if ((call.made & scaleOut.bit) !== 0) call.scaleOut = makeOutput(call, scaleOut);
  } else {
    const { dxOut, dweightOut, dgateOut } = backwardRules;
    if ((call.made & dxOut.bit) !== 0) call.dxOut = makeOutput(call, dxOut);
    if ((call.made & dweightOut.bit) !== 0) call.dweightOut = makeOutput(call, dweightOut);
    if ((call.made & dgateOut.bit) !== 0) call.dgateOut = makeOutput(call, dgateOut);
  }
  call.made = 0;
}

function makeOutput(call: Call, rule: OperandRule): Argument {
  const length = lengthOf(rule, call);
  const model = modelOf(call, rule);
  const codes = codesOf(call, rule);
  let output: Argument;
  if (codes !== undefined) {
    output = codesLike(model, freshCodes(codes, dataOf(model), length, call.stream));
  } else if (rule.extent !== 'perRow') {
    output = outputLike(model, freshLike(dataOf(model), length, call.stream));
  } else if (call.stream === null) {
    output = freshArray(rstdKind(call.dtype), length);
  } else {
    output = readArgument(rule.name, freshRstd(dataOf(model), length, call.stream));
  }
  return addOperand(call, rule, output);
}

/** The dtype of an operand that holds codes; undefined for all others. */
function codesOf({ quantization }: Call, { element }: OperandRule): QuantizedDType | undefined {
  return element === 'tensorOrCodes' ? quantization?.codes : undefined;
}

/**
 * Runs a call on another thread. A call on a stream is enqueued and awaited instead. Operands are
 * copied at once, or when it is this call's turn if the calls in flight hold as much memory as they
 * may. `isLate`: the call was read some time ago, and its arrays may have been detached since.
 */
export async function runLater(call: Call, isLate = false): Promise<void> {
  if (call.stream !== null) {
    runNow(call);
    await cuda.streamPassed(call.stream);
    return;
  }
  const { operands, bytes } = gather(call);
  const turn = takeRoom(bytes);
  try {
    if (turn !== undefined) await turn;
    if (isLate || turn !== undefined) recheckOperands(call);
    takeOutputs(call, await start(call, operands));
  } catch (error) {
    throw adoptNativeError(error);
  } finally {
    giveRoom(bytes);
  }
}

/** Starts a call on another thread. */
function start(call: Call, operands: (NativeArray | null)[]): Promise<(ArrayBuffer | null)[]> {
  writeRecord(call);
  if (call.strided !== 0) writeStrided(call);
  const run = call.operation === forwardOperation ? binding.forwardAsync : binding.backwardAsync;
  return run(...operands);
}

/**
 * The operands of a call for the addon, and the bytes that the call takes until it has settled: copies
 * of operands that are not in shared memory, and outputs that it allocates.
 */
function gather(call: Call) {
  let bytes = 0;
  const operands = call.operation.rules.map((rule) => {
    const { bit } = rule;
    if ((call.given & bit) !== 0) {
      const data = nativeView(dataOf(call[rule.name] as Argument) as FloatArray);
      const isShared = data.buffer instanceof SharedArrayBuffer;
      if (!isShared) bytes += lengthOf(rule, call) * data.BYTES_PER_ELEMENT;
      return data;
    }
    if ((call.made & bit) !== 0) bytes += lengthOf(rule, call) * noteMade(call, rule);
    return null;
  });
  return { operands, bytes };
}

/**
 * Bytes per element of an output that the addon allocates. Notes in `call.float32` an output that is
 * float32 as the weight is.
 */
function noteMade(call: Call, rule: OperandRule): number {
  const isLikeWeight = rule.element === 'tensorOrFloat32' && isFloat32(modelOf(call, rule));
  if (isLikeWeight) call.float32 |= rule.bit;
  if (isLikeWeight || (rule.extent === 'perRow' && call.dtype !== 'float64')) return 4;
  if (codesOf(call, rule) !== undefined) return 1;
  return dtypes[call.dtype].bytes;
}

/** Turns the memory that the addon allocated into outputs of the call. */
function takeOutputs(call: Call, buffers: readonly (ArrayBuffer | null)[]): void {
  if (call.made === 0) return;
  call.operation.rules.forEach((rule, i) => {
    const buffer = buffers[i] ?? null;
    if (buffer !== null) call[rule.name] = outputOver(call, rule, buffer);
  });
}

/** Checks that the memory of all operands is still there. */
function recheckOperands(call: Call): void {
  for (const { name, bit } of call.operation.rules) {
    if ((call.given & bit) !== 0) recheck(name, call[name] as Argument);
  }
}

/** The operand that an output takes its kind, form and device from. */
function modelOf(call: Call, { extent }: OperandRule): Argument {
  return (extent === 'vector' ? call.weight : call.x) as Argument;
}

/** An output over memory that the addon allocated. */
function outputOver(call: Call, rule: OperandRule, buffer: ArrayBuffer): Argument {
  if (rule.extent === 'perRow') return makeArray(rstdKind(call.dtype), buffer);
  const model = modelOf(call, rule);
  const codes = codesOf(call, rule);
  if (codes !== undefined) return codesLike(model, makeArray(dtypes[codes].bits, buffer));
  return outputLike(model, makeArray(kindOf(model) as ArrayKind, buffer));
}

/** Writes the layouts of operands that are strided views. */
function writeStrided(call: Call): void {
  call.operation.rules.forEach(({ name, bit }, i) => {
    if ((call.strided & bit) === 0) return;
    writeLayout(i, layoutOf(name, call[name] as TensorArgument, call.hiddenSize));
  });
}

/** The layout of the rows of a view. */
function layoutOf(name: string, { dims, view }: TensorArgument, hiddenSize: number): LayoutNumbers {
  const { strides, offset } = view as StridedView;
  const layout = collapse(dims as readonly number[], strides, hiddenSize);
  if (typeof layout === 'object') {
    return [offset, layout.rowStride, layout.batchRows, layout.batchStride];
  }
  const rows =
    layout === 'broken rows'
      ? `contiguous rows of ${String(hiddenSize)} elements`
      : 'rows with at most two distinct strides';
  const requirement = `describe ${rows}; copy the tensor to a contiguous array`;
  throw requirementError('ERR_INVALID_ARG_VALUE', `${name}.strides`, requirement, strides);
}
