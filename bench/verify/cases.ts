// A call that a GPU is checked by, and its name.

import type { CastOrder, DeviceDType, GateOrder, QuantizedDType } from 'fused-rmsnorm';

export interface CheckedCall {
  readonly op: 'forward' | 'backward';
  readonly dtype: DeviceDType;
  readonly rows: number;
  readonly hiddenSize: number;
  /** `'float32'`: beside tensors of 16 bits. */
  readonly weight: 'none' | 'same' | 'float32';
  readonly weightOffset: number;
  readonly castOrder: CastOrder;
  /** Bytes that all rows and the weight are aligned to, or the size of an element if that is more. */
  readonly alignment: 16 | 8 | 4 | 2;
  readonly layout: 'packed' | 'strided' | 'batched';
  /**
   * `'rescaled'`: also rows whose squares overflow or vanish; `'special'`: rows with a NaN, an
   * infinity, or zeros only.
   */
  readonly values: 'normal' | 'rescaled' | 'special';
  /** Whether forward has a residual, and backward a dsum. */
  readonly isAdded: boolean;
  /** Whether results are written over inputs. */
  readonly isInPlace: boolean;
  /** Where a gate is applied. Backward computes its gradient where it computes dx. */
  readonly gate: 'none' | GateOrder;
  /** Of forward, whose y becomes codes, as the next. */
  readonly quantize: 'none' | QuantizedDType;
  /** `'own'`: each row's; `'bounded'`: by a `scaleMax` which some exceed; `'static'`: one of all rows. */
  readonly scale: 'own' | 'bounded' | 'static';
  /** Of backward, as all below. */
  readonly rstd: 'given' | 'recomputed';
  readonly gradients: 'both' | 'dx' | 'dweight';
  readonly accumulates: boolean;
}

/** What most users call: the rest is what a call may have besides. */
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

/** Whether the operator has such a call, and no other of these names is the same. */
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

/** Such as `'backward 3x4096 bfloat16, weight float32, dx alone'`: what is not usual is named. */
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
