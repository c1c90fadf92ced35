import type { PlannedBackward, PlannedForward } from '../binding';
import { binding } from './binding';
import { nativeArray } from './data';
import { checkDTypeName, dtypeCodes, type DType, type FloatArray } from './dtype';
import { adoptNativeError, argumentError } from './errors';
import { checkOptions, readFlag, readSettings, type CommonOptions } from './options';
import { readOperand } from './tensor';

/** Options of {@link createPlan}. */
export interface PlanOptions extends Omit<CommonOptions, 'normalizedShape' | 'stream'> {
  /** The rows of each call, from 0 up. */
  readonly rows: number;
  /** Elements of a row. Default: the length of weight. */
  readonly hiddenSize?: number;
  /**
   * (hiddenSize), of `dtype` or, beside 16 bits, float32. The plan keeps the array itself: what it
   * holds at a call is what counts. Default null: ones.
   */
  readonly weight?: FloatArray | null;
  /** Of all tensors. Default: float64 if weight is a `Float64Array`, else float32. */
  readonly dtype?: DType;
  /** Whether `backward` adds to what its `dweightOut` holds. Default false. */
  readonly accumulate?: boolean;
}

/** Calls of one shape: see {@link createPlan}. */
export interface Plan {
  /** Of each call. */
  readonly rows: number;
  /** Elements of a row. */
  readonly hiddenSize: number;
  /** Of all tensors. */
  readonly dtype: DType;
  /**
   * Writes y to `out`, and rstd to `rstdOut` if given; with a `residual`, the sum to `residualOut`
   * and y of that. What may be the same as what is as in `rmsNorm.forward`.
   */
  readonly forward: PlannedForward;
  /**
   * Writes dx and dweight to those of `dxOut` and `dweightOut` that are not null. `rstd` null:
   * recomputed. Aliasing as in `rmsNorm.backward`.
   */
  readonly backward: PlannedBackward;
}

const planNames: ReadonlySet<string> = new Set([
  ...['rows', 'hiddenSize', 'weight', 'dtype', 'device'],
  ...['eps', 'weightOffset', 'castOrder', 'accumulate'],
]);

const accumulateFlag = 8;

/**
 * Checks all but the arrays of forward and backward once, for calls that cost as little as they can:
 *
 * ```ts
 * const plan = createPlan({ rows: 1, weight });
 * plan.forward(x, y);
 * ```
 *
 * The functions take plain arrays of `dtype`: `Float32Array`, `Float64Array`, or the bits of 16-bit
 * ones in a `Uint16Array`; (rows, hiddenSize), and rstd (rows). They allocate nothing and return
 * nothing, and give the bits of `rmsNorm`.
 *
 * @throws TypeError and RangeError for options, and at calls for arrays, that are not as described
 */
export function createPlan(options: PlanOptions): Plan {
  checkOptions(options, planNames);
  const weight =
    options.weight === undefined || options.weight === null
      ? null
      : readOperand('weight', options.weight);
  const dtype = options.dtype ?? (weight?.kind === 'Float64Array' ? 'float64' : 'float32');
  checkDTypeName(dtype);
  const settings = readSettings(options, dtype);
  if (settings.device !== 0) {
    throw argumentError('ERR_INVALID_ARG_VALUE', 'device', "'cpu'", options.device);
  }
  const rows = readCount('rows', options.rows, 0);
  const hiddenSize = readCount('hiddenSize', options.hiddenSize ?? weight?.length, 1);
  const accumulate = readFlag('accumulate', options.accumulate, false);
  const format =
    dtypeCodes[dtype] +
    (settings.castOrder === 'float' ? 4 : 0) +
    (accumulate ? accumulateFlag : 0);
  const { eps, weightOffset } = settings;
  const nativeWeight = weight && nativeArray(weight.data);
  try {
    const [forward, backward] = binding.createPlan(
      rows,
      hiddenSize,
      eps,
      weightOffset,
      format,
      nativeWeight,
    );
    return Object.freeze({ rows, hiddenSize, dtype, forward, backward });
  } catch (error) {
    throw adoptNativeError(error);
  }
}

function readCount(name: string, value: unknown, least: number): number {
  if (typeof value !== 'number') {
    throw argumentError('ERR_INVALID_ARG_TYPE', name, 'a number', value);
  }
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw argumentError('ERR_OUT_OF_RANGE', name, `a whole number from ${String(least)} up`, value);
}
