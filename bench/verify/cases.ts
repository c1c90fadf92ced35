// A call by which a GPU is checked, and its name.

import type { CastOrder, DeviceDType, GateOrder, QuantizedDType } from 'fused-rmsnorm';

export interface CheckedCall {
  readonly op: 'forward' | 'backward';
  readonly dtype: DeviceDType;
  readonly rows: number;
  readonly hiddenSize: number;
  /** `'float32'`: only with 16-bit tensors. */
  readonly weight: 'none' | 'same' | 'float32';
  readonly weightOffset: number;
  readonly castOrder: CastOrder;
  /** Alignment of all rows and the weight in bytes, or the size of an element if that is larger. */
  readonly alignment: 16 | 8 | 4 | 2;
  readonly layout: 'packed' | 'strided' | 'batched';
  /**
   * `'rescaled'`: some rows have squares that overflow or underflow. `'special'`: some rows have a
   * NaN, an infinity, or only zeros.
   */
  readonly values: 'normal' | 'rescaled' | 'special';
  /** Whether forward has a residual, and backward a dsum. */
  readonly isAdded: boolean;
  /** Whether results overwrite inputs. */
  readonly isInPlace: boolean;
  /** Where a gate is applied. Backward computes the gate's gradient if it computes dx. */
  readonly gate: 'none' | GateOrder;
  /** For forward, like `scale`: the type of the codes that it writes instead of y. */
  readonly quantize: 'none' | QuantizedDType;
  /**
   * `'own'`: one for each row; `'bounded'`: by a `scaleMax` that some rows exceed; `'static'`: one
   * for all rows.
   */
  readonly scale: 'own' | 'bounded' | 'static';
  /** For backward, like all fields below. */
  readonly rstd: 'given' | 'recomputed';
  readonly gradients: 'both' | 'dx' | 'dweight';
  readonly accumulates: boolean;
}

/** The options of the most common call. */
export const usualCall = {
  weight: 'same',
  weightOffset: 0,
  castOrder: 'llama',
  alignment: 16,
  layout: 'packed',
  values: 'normal',
  isAdded: false,
  isInPlace: false,
  gate: 'none',
  quantize: 'none',
  scale: 'own',
  rstd: 'given',
  gradients: 'both',
  accumulates: false,
} as const satisfies Partial<CheckedCall>;

/** Whether the operator has such a call, and no other `CheckedCall` describes the same one. */
export function isPossible(call: CheckedCall): boolean {
  const { op, dtype, weight, gradients } = call;
  if (dtype === 'float32' && weight === 'float32') return false;
  if (weight === 'none' && (call.weightOffset !== 0 || gradients === 'dweight')) return false;
  if (call.quantize === 'none' ? call.scale !== 'own' : call.isInPlace) return false;
  if (op === 'forward') return call.rstd === 'given' && gradients === 'both' && !call.accumulates;
  if (call.quantize !== 'none') return false;
  if (call.accumulates && (weight === 'none' || gradients === 'dx')) return false;
  return gradients !== 'dweight' || !(call.isAdded || call.isInPlace);
}

/** Such as `'backward 3x4096 bfloat16, weight float32, dx alone'`: only unusual options are named. */
export function nameOf(call: CheckedCall): string {
  const { op, rows, hiddenSize, dtype } = call;
  const unusual = [
    [call.weight !== 'same', `weight ${call.weight}`],
    [call.weightOffset !== 0, `offset ${call.weightOffset}`],
    [call.castOrder !== 'llama', `order ${call.castOrder}`],
    [call.alignment !== 16, `aligned to ${call.alignment} bytes`],
    [call.layout !== 'packed', call.layout],
    [call.values !== 'normal', `${call.values} values`],
    [call.isAdded, op === 'forward' ? 'residual' : 'dsum'],
    [call.isInPlace, 'in place'],
    [call.gate !== 'none', `gate ${call.gate}`],
    [call.quantize !== 'none', `codes of ${call.quantize}`],
    [call.scale !== 'own', `scale ${call.scale}`],
    [call.rstd !== 'given', 'rstd recomputed'],
    [call.gradients !== 'both', `${call.gradients} alone`],
    [call.accumulates, 'accumulated'],
  ] as const;
  const names = unusual.flatMap(([isSo, name]) => (isSo ? [name] : []));
  return [`${op} ${rows}x${hiddenSize} ${dtype}`, ...names].join(', ');
}
