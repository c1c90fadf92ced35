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
  /** The scale of all rows; 0 if each row has its own. */
  readonly scale: number;
  /** The upper bound of a row's own scale. */
  readonly scaleMax: number;
}

/** An operand; undefined if the call does not have it. */
export type Operand = Argument | undefined;

/** The checked properties of a call, without its operands. */
export interface Frame {
  readonly operation: Operation;
  /** The dtype of x, and the kind of array or buffer that holds it. */
  readonly dtype: DType;
  readonly kind: DataKind;
  /** The ordinal of the GPU that the call runs on; -1 for the CPU. */
  readonly device: number;
  /** The stream that the call is enqueued on, if its operands are on a GPU; else null. */
  readonly stream: NativeStream | null;
  readonly rows: number;
  readonly hiddenSize: number;
  /** These are undefined for the defaults. */
  readonly eps: number | undefined;
  readonly weightOffset: number | undefined;
  readonly castOrder: CastOrder | undefined;
}

/** A checked call: its frame, and its operands by the names of their rules. */
export interface Call extends Frame, Record<OperandName, Operand> {
  /** Backward only: whether dx and dweight are wanted, and whether dweight is added to `dweightOut`. */
  needsDx: boolean;
  needsDweight: boolean;
  accumulate: boolean;
  /** Undefined for the default. */
  gateOrder: GateOrder | undefined;
  /** Forward only: how y is quantised; undefined if it is not. */
  quantization: Quantization | undefined;

  /** Bit masks of operands, by the `bit` of their rules: the operands that the call has. */
  given: number;
  /** Outputs that the call still has to allocate. */
  made: number;
  /** Float32 vectors beside 16-bit tensors. */
  float32: number;
  /** Operands that are a TensorArgument, not an array. */
  tensors: number;
  /** Matrices that are strided views of their arrays. */
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
