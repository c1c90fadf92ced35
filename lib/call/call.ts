import type { NativeStream } from '../../binding';
import type { DType } from '../core/dtype';
import type { DataKind } from './data';
import type { Operation } from './operations';
import type { CastOrder } from './options';
import type { Argument } from './tensor';

/** An operand, undefined if there is none. */
export type Operand = Argument | undefined;

/** What is known of a call before its operands, checked. */
export interface Frame {
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
  /** Whether dweight is added to. */
  readonly accumulate: boolean;
}

/** A call, checked. */
export interface Call extends Frame {
  readonly operation: Operation;

  /** Bits of the operands, by their places: of those that are there, ... */
  given: number;
  /** ... outputs that the call is to make, ... */
  made: number;
  /** ... vectors of float32 beside 16 bits, ... */
  float32: number;
  /** ... and matrices that are part of their arrays. */
  strided: number;

  // The operands by the names of their rules.
  x: Operand;
  weight: Operand;
  out: Operand;
  rstdOut: Operand;
  residual: Operand;
  sumOut: Operand;
  dy: Operand;
  rstd: Operand;
  dxOut: Operand;
  dweightOut: Operand;
  dsum: Operand;
}

/** A call without operands. */
export function newCall(operation: Operation, frame: Frame): Call {
  return {
    operation,
    dtype: frame.dtype,
    kind: frame.kind,
    device: frame.device,
    stream: frame.stream,
    rows: frame.rows,
    hiddenSize: frame.hiddenSize,
    eps: frame.eps,
    weightOffset: frame.weightOffset,
    castOrder: frame.castOrder,
    accumulate: frame.accumulate,
    given: 0,
    made: 0,
    float32: 0,
    strided: 0,
    x: undefined,
    weight: undefined,
    out: undefined,
    rstdOut: undefined,
    residual: undefined,
    sumOut: undefined,
    dy: undefined,
    rstd: undefined,
    dxOut: undefined,
    dweightOut: undefined,
    dsum: undefined,
  };
}
