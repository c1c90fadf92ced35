// Runs calls that have been read and checked: at once, enqueued on a stream, or on another thread. The
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
import { allocateArray } from '../core/outputs';
import { cuda } from '../gpu/cuda';
import type { Call, Operand } from './call';
import { allocateCodes, allocateLike, allocateRstd, nativeData } from './data';
import { addOperand, isFloat32, lengthOf } from './operands';
import {
  backwardRules,
  forwardOperation,
  forwardRules,
  type OperandName,
  type OperandRule,
} from './operations';
import { writeLayout, writeRecord, type LayoutNumbers } from './record';
import { releaseBytes, acquireBytes } from './memory-limit';
import { rowLayoutOf } from './strides';
import {
  codesLike,
  dataOf,
  kindOf,
  outputLike,
  readArgument,
  checkStillAttached,
  type Argument,
  type StridedView,
  type TensorArgument,
} from './tensor';

/** Runs a call at once, or enqueues it if it has a stream. */
export function runCall(call: Call): void {
  if (call.allocateBits !== 0) allocateOutputs(call);
  // From here to the native call no code of the caller runs: it could make another call, which would
  // overwrite the record.
  writeRecord(call);
  if (call.stridedBits !== 0) writeLayouts(call);
  // The addon reads arrays as bytes, whatever their class.
  const native = call.tensorBits === 0 ? (call as NativeOperands) : toNativeOperands(call);
  try {
    // Each argument takes time, even an undefined one. So the last operands are passed only if the call
    // has one of them.
    const { stream } = call;
    const hasNoRareOperand = (call.presentBits & call.operation.rareBits) === 0;
    if (call.operation === forwardOperation) {
      const { x, weight, out, rstdOut } = native;
      if (hasNoRareOperand) {
        binding.forward(stream, x, weight, out, rstdOut);
      } else {
        const { residual, sumOut, scaleOut, gate } = native;
        binding.forward(stream, x, weight, out, rstdOut, residual, sumOut, scaleOut, gate);
      }
    } else {
      const { dy, x, weight, rstd, dxOut, dweightOut } = native;
      if (hasNoRareOperand) {
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

/** The operands as arguments of the addon, for a call in which some operands are not bare arrays. */
function toNativeOperands(call: Call): NativeOperands {
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
 * Allocates the outputs that the caller did not pass. Each output has its own line, since a loop over the
 * rules takes twice as long.
 */
function allocateOutputs(call: Call): void {
  if (call.operation === forwardOperation) {
    const { out, rstdOut, sumOut, scaleOut } = forwardRules;
    if ((call.allocateBits & out.bit) !== 0) call.out = allocateOutput(call, out);
    if ((call.allocateBits & rstdOut.bit) !== 0) call.rstdOut = allocateOutput(call, rstdOut);
    if ((call.allocateBits & sumOut.bit) !== 0) call.sumOut = allocateOutput(call, sumOut);
    if ((call.allocateBits & scaleOut.bit) !== 0) call.scaleOut = allocateOutput(call, scaleOut);
  } else {
    const { dxOut, dweightOut, dgateOut } = backwardRules;
    if ((call.allocateBits & dxOut.bit) !== 0) call.dxOut = allocateOutput(call, dxOut);
    if ((call.allocateBits & dweightOut.bit) !== 0)
      call.dweightOut = allocateOutput(call, dweightOut);
    if ((call.allocateBits & dgateOut.bit) !== 0) call.dgateOut = allocateOutput(call, dgateOut);
  }
  call.allocateBits = 0;
}

function allocateOutput(call: Call, rule: OperandRule): Argument {
  const length = lengthOf(rule, call);
  const template = templateOf(call, rule);
  const codes = codesOf(call, rule);
  let output: Argument;
  if (codes !== undefined) {
    output = codesLike(template, allocateCodes(codes, dataOf(template), length, call.stream));
  } else if (rule.extent !== 'perRow') {
    output = outputLike(template, allocateLike(dataOf(template), length, call.stream));
  } else if (call.stream === null) {
    output = allocateArray(rstdKind(call.dtype), length);
  } else {
    output = readArgument(rule.name, allocateRstd(dataOf(template), length, call.stream));
  }
  return addOperand(call, rule, output);
}

/** The dtype of an operand that holds codes; undefined for any other operand. */
function codesOf({ quantization }: Call, { element }: OperandRule): QuantizedDType | undefined {
  return element === 'tensorOrCodes' ? quantization?.codes : undefined;
}

/**
 * Runs a call on another thread; a call on a stream is enqueued and awaited instead. Operands that are
 * not in shared memory are copied at once, or later if the calls in flight have reached their memory
 * limit (memory-limit.ts). `mayBeDetached`: the call was read some time ago, so its arrays may have been
 * detached since.
 */
export async function runCallAsync(call: Call, mayBeDetached = false): Promise<void> {
  if (call.stream !== null) {
    runCall(call);
    await cuda.streamPassed(call.stream);
    return;
  }
  const { operands, bytes } = collectOperands(call);
  const turn = acquireBytes(bytes);
  try {
    if (turn !== undefined) await turn;
    if (mayBeDetached || turn !== undefined) checkAllAttached(call);
    adoptOutputs(call, await startOnThread(call, operands));
  } catch (error) {
    throw adoptNativeError(error);
  } finally {
    releaseBytes(bytes);
  }
}

/** Hands a call to the addon, which copies operands and then computes on another thread. */
function startOnThread(
  call: Call,
  operands: (NativeArray | null)[],
): Promise<(ArrayBuffer | null)[]> {
  writeRecord(call);
  if (call.stridedBits !== 0) writeLayouts(call);
  const run = call.operation === forwardOperation ? binding.forwardAsync : binding.backwardAsync;
  return run(...operands);
}

/**
 * The operands of a call as arguments of the addon, and the bytes that the call needs until it settles:
 * copies of operands that are not in shared memory, and outputs that the addon allocates.
 */
function collectOperands(call: Call) {
  let bytes = 0;
  const operands = call.operation.rules.map((rule) => {
    const { bit } = rule;
    if ((call.presentBits & bit) !== 0) {
      const data = nativeView(dataOf(call[rule.name] as Argument) as FloatArray);
      const isShared = data.buffer instanceof SharedArrayBuffer;
      if (!isShared) bytes += lengthOf(rule, call) * data.BYTES_PER_ELEMENT;
      return data;
    }
    if ((call.allocateBits & bit) !== 0)
      bytes += lengthOf(rule, call) * prepareAllocation(call, rule);
    return null;
  });
  return { operands, bytes };
}

/**
 * Sets the bit in `call.float32Bits` of an output that the addon allocates, if the output is float32 because
 * the weight is. The addon reads that set. Returns the bytes of an element of the output.
 */
function prepareAllocation(call: Call, rule: OperandRule): number {
  const isLikeWeight = rule.element === 'tensorOrFloat32' && isFloat32(templateOf(call, rule));
  if (isLikeWeight) call.float32Bits |= rule.bit;
  if (isLikeWeight || (rule.extent === 'perRow' && call.dtype !== 'float64')) return 4;
  if (codesOf(call, rule) !== undefined) return 1;
  return dtypes[call.dtype].bytes;
}

/** Makes outputs of the call in memory that the addon allocated. `buffers`: one entry for each operand. */
function adoptOutputs(call: Call, buffers: readonly (ArrayBuffer | null)[]): void {
  if (call.allocateBits === 0) return;
  call.operation.rules.forEach((rule, i) => {
    const buffer = buffers[i] ?? null;
    if (buffer !== null) call[rule.name] = outputIn(call, rule, buffer);
  });
}

/** Refuses a call if an operand has been detached since it was read. */
function checkAllAttached(call: Call): void {
  for (const { name, bit } of call.operation.rules) {
    if ((call.presentBits & bit) !== 0) checkStillAttached(name, call[name] as Argument);
  }
}

/** The operand that decides the kind, the form (array or tensor) and the device of an output. */
function templateOf(call: Call, { extent }: OperandRule): Argument {
  return (extent === 'vector' ? call.weight : call.x) as Argument;
}

/** An output in memory that the addon allocated. */
function outputIn(call: Call, rule: OperandRule, buffer: ArrayBuffer): Argument {
  if (rule.extent === 'perRow') return makeArray(rstdKind(call.dtype), buffer);
  const template = templateOf(call, rule);
  const codes = codesOf(call, rule);
  if (codes !== undefined) return codesLike(template, makeArray(dtypes[codes].bits, buffer));
  return outputLike(template, makeArray(kindOf(template) as ArrayKind, buffer));
}

/** Writes the layouts of operands that are strided views into the call record. */
function writeLayouts(call: Call): void {
  call.operation.rules.forEach(({ name, bit }, i) => {
    if ((call.stridedBits & bit) === 0) return;
    writeLayout(i, layoutOf(name, call[name] as TensorArgument, call.hiddenSize));
  });
}

/** The layout of the rows of a strided view. Refuses one that the addon cannot compute. */
function layoutOf(name: string, { dims, view }: TensorArgument, hiddenSize: number): LayoutNumbers {
  const { strides, offset } = view as StridedView;
  const layout = rowLayoutOf(dims as readonly number[], strides, hiddenSize);
  if (typeof layout === 'object') {
    return [offset, layout.rowStride, layout.batchRows, layout.batchStride];
  }
  const rows =
    layout === 'rows not contiguous'
      ? `contiguous rows of ${String(hiddenSize)} elements`
      : 'rows with at most two distinct strides';
  const requirement = `describe ${rows}; copy the tensor to a contiguous array`;
  throw requirementError('ERR_INVALID_ARG_VALUE', `${name}.strides`, requirement, strides);
}
