import type { NativeStream } from '../../binding';
import type { DType, QuantizedDType } from '../core/dtype';
import type { DataKind } from './data';
import type { OperandName, Operation } from './operations';
import type { CastOrder, GateOrder } from './options';
import type { Argument } from './tensor';

/** The codes that y becomes, and by which scale. */
export interface Quantization {
  readonly codes: QuantizedDType;
  /** Of all rows; 0 where each has its own, ... */
  readonly scale: number;
  /** ... which is at most this. */
  readonly scaleMax: number;
}

/** An operand, undefined if there is none. */
export type Operand = Argument | undefined;

/** What is known of a call before its operands, checked. */
export interface Frame {
  readonly operation: Operation;
  /** Of x, and the kind of array or buffer that holds it. */
  readonly dtype: DType;
  readonly kind: DataKind;
  /** The ordinal of the GPU that the call runs on; that of the CPU is -1. */
  readonly device: number;
  /** That the call is enqueued on, where its operands are on a GPU; else null. */
  readonly stream: NativeStream | null;
  readonly rows: number;
  readonly hiddenSize: number;
  /** Undefined for the defaults. */
  readonly eps: number | undefined;
  readonly weightOffset: number | undefined;
  readonly castOrder: CastOrder | undefined;
}

/** A call, checked: its frame, and its operands by the names of their rules. */
export interface Call extends Frame, Record<OperandName, Operand> {
  /** Of a backward: whether dx and dweight are wanted, and whether dweight is added to. */
  needsDx: boolean;
  needsDweight: boolean;
  accumulate: boolean;
  /** Undefined for the default. */
  gateOrder: GateOrder | undefined;
  /** Of a forward: how y is quantised, if it is. */
  quantization: Quantization | undefined;

  /** Bits of the operands, by their places: of those that are there, ... */
  given: number;
  /** ... outputs that the call is to make, ... */
  made: number;
  /** ... vectors of float32 beside 16 bits, ... */
  float32: number;
  /** ... those that are no plain arrays, ... */
  tensors: number;
  /** ... and matrices that are part of their arrays. */
  strided: number;
}

/** A call without operands. */
export function newCall(frame: Frame): Call {
  return {
    operation: frame.operation,
    dtype: frame.dtype,
    kind: frame.kind,
    device: frame.device,
    stream: frame.stream,
    rows: frame.rows,
    hiddenSize: frame.hiddenSize,
    eps: frame.eps,
    weightOffset: frame.weightOffset,
    castOrder: frame.castOrder,
    needsDx: false,
    needsDweight: false,
    accumulate: false,
    gateOrder: undefined,
    quantization: undefined,
    given: 0,
    made: 0,
    float32: 0,
    tensors: 0,
    strided: 0,
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
