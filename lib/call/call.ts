// How a call travels through lib/call:
//
// 1. forward.ts or backward.ts starts the call; read-call.ts reads x, the weight and each option once,
//    checks them (options.ts, shape.ts, operands.ts, quantization.ts), and makes a `Call` of them.
// 2. run.ts allocates the outputs that the caller did not pass, writes the call record (record.ts), and
//    calls the addon: at once, on a stream, or on another thread.
// 3. The caller of these files (rms-norm.ts, module.ts, plan.ts) returns the outputs of the `Call`.
//
// A plan reads its options only once. At each call plan.ts makes a `Call` itself, and reads only the arrays.

import type { NativeStream } from '../../binding';
import type { DType, QuantizedDType } from '../core/dtype';
import type { DataKind } from './data';
import type { OperandName, Operation } from './operations';
import type { CastOrder, GateOrder } from './options';
import type { Argument } from './tensor';

/** How y is quantised. */
export interface Quantization {
  /** The dtype of the codes. */
  readonly codes: QuantizedDType;
  /** The scale of all rows (the option `scale`); 0 if each row has its own. */
  readonly scale: number;
  /** The upper bound of a row's own scale (the option `scaleMax`); Infinity for none. */
  readonly scaleMax: number;
}

/** An operand; undefined if the call does not have it. */
export type Operand = Argument | undefined;

/** The checked properties of a call that are not operands. */
export interface CallProperties {
  readonly operation: Operation;
  /** The dtype of x, and the kind of array or buffer that holds it. */
  readonly dtype: DType;
  readonly kind: DataKind;
  /** The ordinal of the GPU that the call runs on; -1 for the CPU. */
  readonly device: number;
  /** The stream that the call is enqueued on, if its operands are in GPU memory; else null. */
  readonly stream: NativeStream | null;
  readonly rows: number;
  readonly hiddenSize: number;
  // Each is undefined if the call uses the default:
  readonly eps: number | undefined;
  readonly weightOffset: number | undefined;
  readonly castOrder: CastOrder | undefined;
}

/**
 * A checked call: its properties, and its operands by the names of their rules (operations.ts).
 *
 * The fields `…Bits` are sets of operands: the bit of an operand is the `bit` of its rule.
 */
export interface Call extends CallProperties, Record<OperandName, Operand> {
  /** Backward only: whether dx is computed. */
  needsDx: boolean;
  /** Backward only: whether dweight is computed. */
  needsDweight: boolean;
  /** Backward only: whether dweight is added to the values in `dweightOut`. */
  accumulate: boolean;
  /** Undefined without a gate, and if the call uses the default. */
  gateOrder: GateOrder | undefined;
  /** Forward only: how y is quantised; undefined if it is not. */
  quantization: Quantization | undefined;

  /** Operands that the call has. */
  presentBits: number;
  /** Outputs that the caller did not pass, and that the call allocates when it runs. */
  allocateBits: number;
  /** Operands of shape (hiddenSize) that are float32 in a call whose dtype is a 16-bit one. */
  float32Bits: number;
  /** Operands that are a TensorArgument (tensor.ts), not an array. */
  tensorBits: number;
  /** Operands of shape (rows, hiddenSize) that are strided views of their arrays. */
  stridedBits: number;
}

/** A call that has no operands yet. */
export function newCall(properties: CallProperties): Call {
  return {
    operation: properties.operation,
    dtype: properties.dtype,
    kind: properties.kind,
    device: properties.device,
    stream: properties.stream,
    rows: properties.rows,
    hiddenSize: properties.hiddenSize,
    eps: properties.eps,
    weightOffset: properties.weightOffset,
    castOrder: properties.castOrder,
    needsDx: false,
    needsDweight: false,
    accumulate: false,
    gateOrder: undefined,
    quantization: undefined,
    presentBits: 0,
    allocateBits: 0,
    float32Bits: 0,
    tensorBits: 0,
    stridedBits: 0,
    x: undefined,
    weight: undefined,
    out: undefined,
    rstdOut: undefined,
    residual: undefined,
    sumOut: undefined,
    scaleOut: undefined,
    gate: undefined,
    dy: undefined,
    rstd: undefined,
    dxOut: undefined,
    dweightOut: undefined,
    dsum: undefined,
    dgateOut: undefined,
  };
}
