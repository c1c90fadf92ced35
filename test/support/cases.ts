// Problems for the operator and the oracle, made from a short description.

import type { CastOrder, DType } from '../../lib';
import { roundTo, type Problem } from './reference';
import { arrayOf, dtypes, normals, raggedSizes, valuesOf, type HostArray } from './support';

/** 'same': the tensors' dtype. For float64 tensors 'float32' means the same as 'same'. */
export type WeightKind = 'none' | 'same' | 'float32';

export interface CaseOptions {
  readonly dtype: DType;
  readonly rows: number;
  readonly hiddenSize: number;
  readonly weightKind?: WeightKind;
  readonly castOrder?: CastOrder;
  readonly weightOffset?: number;
  readonly eps?: number;
  /** Elements between an aligned address and the start of each array. */
  readonly lead?: number;
}

export interface Case {
  readonly dtype: DType;
  readonly weightDtype: DType;
  readonly rows: number;
  readonly hiddenSize: number;
  readonly lead: number;
  readonly x: HostArray;
  readonly dy: HostArray;
  readonly weight: HostArray | null;
  /** Used by calls with a residual. */
  readonly residual: HostArray;
  readonly dsum: HostArray;
  /** For the operator. */
  readonly options: {
    readonly dtype: DType;
    readonly eps: number;
    readonly castOrder: CastOrder;
    readonly weightOffset: number;
    readonly normalizedShape: number;
  };
  /** For the oracle. */
  readonly problem: Problem;
  readonly dyValues: Float64Array;
}

export function makeCase({
  dtype,
  rows,
  hiddenSize,
  weightKind = 'same',
  castOrder = 'llama',
  weightOffset = 0,
  eps = 1e-6,
  lead = 0,
}: CaseOptions): Case {
  const length = rows * hiddenSize;
  const seed = rows * 8191 + hiddenSize;
  const tensor = (type: DType, values: Float64Array) =>
    arrayOf(type, values.map(roundTo[type]), lead);
  const is16Bit = dtype === 'float16' || dtype === 'bfloat16';
  const weightDtype = weightKind === 'float32' && is16Bit ? 'float32' : dtype;
  const x = tensor(dtype, normals(seed, length, 2, 0.25));
  const dy = tensor(dtype, normals(seed + 1, length));
  const weight =
    weightKind === 'none' ? null : tensor(weightDtype, normals(seed + 2, hiddenSize, 0.5, 1));
  return {
    dtype,
    weightDtype,
    rows,
    hiddenSize,
    lead,
    x,
    dy,
    weight,
    residual: tensor(dtype, normals(seed + 3, length, 3)),
    dsum: tensor(dtype, normals(seed + 4, length)),
    options: { dtype, eps, castOrder, weightOffset, normalizedShape: hiddenSize },
    problem: {
      x: valuesOf(x, dtype),
      weight: weight && valuesOf(weight, weightDtype),
      hiddenSize,
      eps,
      weightOffset,
      round: is16Bit && castOrder === 'llama' ? roundTo[dtype] : null,
      isFloat64: dtype === 'float64',
    },
    dyValues: valuesOf(dy, dtype),
  };
}

/**
 * Every combination of dtype, ragged size, kind of weight and cast order; float32 has only one
 * order. Row counts, offsets and alignments cycle through these combinations, out of step with each
 * other. Each case comes with a name.
 */
export function coveringCases(rowCounts: readonly number[]): [string, CaseOptions][] {
  const offsets = [0, 1, -0.25];
  const leads = [0, 1, 3, 2, 5, 7, 8];
  const cases: [string, CaseOptions][] = [];
  for (const dtype of dtypes) {
    const weightKinds: WeightKind[] =
      dtype === 'float32' ? ['none', 'same'] : ['none', 'same', 'float32'];
    const castOrders: CastOrder[] = dtype === 'float32' ? ['llama'] : ['llama', 'float'];
    for (const [s, hiddenSize] of raggedSizes.entries()) {
      for (const [k, weightKind] of weightKinds.entries()) {
        for (const castOrder of castOrders) {
          const rows = rowCounts[cases.length % rowCounts.length] as number;
          const weightOffset = offsets[(s + k) % offsets.length] as number;
          const lead = leads[cases.length % leads.length] as number;
          const name =
            `${dtype} ${rows}x${hiddenSize}, weight ${weightKind}, ${castOrder}, ` +
            `offset ${weightOffset}, lead ${lead}`;
          const shape = { rows, hiddenSize };
          cases.push([name, { dtype, ...shape, weightKind, castOrder, weightOffset, lead }]);
        }
      }
    }
  }
  return cases;
}
