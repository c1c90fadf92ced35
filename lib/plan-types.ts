import type { ArrayOf } from './allocate';
import type { CommonOptions } from './call/options';
import type { NewLike } from './call/tensor';
import type { DeviceDType, DType, Float16ArrayLike, FloatArray } from './core/dtype';
import type { CudaDeviceName } from './gpu/cuda';
import type { DeviceBuffer } from './gpu/device-buffer';
import type { DeviceName } from './gpu/devices';

/** Options of {@link createPlan}. */
export interface PlanOptions extends Omit<CommonOptions, 'normalizedShape'> {
  /** Rows of each call, from 0 up. */
  readonly rows: number;
  /** Elements of a row. Default: the length of weight. */
  readonly hiddenSize?: number | undefined;
  /**
   * (hiddenSize), of `dtype`, or float32 beside 16-bit tensors: an array, or a DeviceBuffer for calls
   * on a GPU. The plan does not copy it, and reads it at every call. Default null: ones.
   */
  readonly weight?: FloatArray | DeviceBuffer | null | undefined;
  /**
   * The dtype of all tensors. Default: the dtype of weight, or float32 without one. Required with a
   * `Uint16Array` as weight, whose bits can be of either 16-bit dtype.
   */
  readonly dtype?: DType | undefined;
  /** Where the calls run. Default: the device of weight if it is a DeviceBuffer, else `'cpu'`. */
  readonly device?: DeviceName | undefined;
  /** Whether `backward` adds to the values in its `dweightOut`. Default false. */
  readonly accumulate?: boolean | undefined;
  /**
   * How many outputs the plan owns for `run`, which uses them in turn, and again as many for
   * `runBackward`: 1 or more. Each is allocated at its first turn. Default 2.
   */
  readonly outputs?: number | undefined;
}

/** The tensors that a plan's functions take: DeviceBuffers on a GPU, arrays on the CPU. */
export type PlanData<O> = O extends
  Record<'device', CudaDeviceName> | Record<'weight', DeviceBuffer>
  ? DeviceBuffer
  : FloatArray;

type WeightOf<O> =
  | Exclude<O['weight' & keyof O], undefined>
  | ([O['weight' & keyof O]] extends [never] ? null : never);

type DTypeOfWeight<W> =
  W extends DeviceBuffer<infer D>
    ? D
    : W extends Float64Array
      ? 'float64'
      : W extends Float16ArrayLike
        ? 'float16'
        : 'float32';

type PlanDType<O> = Extract<
  [O['dtype' & keyof O]] extends [never]
    ? DTypeOfWeight<WeightOf<O>>
    : undefined extends O['dtype' & keyof O]
      ? DType
      : O['dtype' & keyof O],
  DType
>;

type HostOutput<W, D extends DType> = W extends Float16ArrayLike ? W : ArrayOf<D>;

/**
 * The outputs of a plan: arrays over shared memory, like those of {@link allocate}, or DeviceBuffers.
 */
export type PlanOutput<O> =
  PlanData<O> extends DeviceBuffer
    ? DeviceBuffer<Extract<PlanDType<O>, DeviceDType>>
    : HostOutput<WeightOf<O>, PlanDType<O>>;

/** The gradient of a plan's weight: of the weight's kind, or null without one. */
export type PlanDWeight<O> =
  WeightOf<O> extends infer W ? (W extends null ? null : NewLike<W>) : never;

/** The result of {@link Plan.runBackward}. */
export interface PlanGradients<Output, DWeight> {
  /** (rows, hiddenSize): the gradient of x. */
  readonly dx: Output;
  /** (hiddenSize): the gradient of weight, or null without one. */
  readonly dweight: DWeight;
}

/** The type of {@link Plan.forward}. */
export type PlannedForward<Data> = (
  x: Data,
  out: Data,
  rstdOut?: Data | null,
  residual?: Data | null,
  sumOut?: Data | null,
) => void;

/** The type of {@link Plan.backward}. */
export type PlannedBackward<Data> = (
  dy: Data,
  x: Data,
  rstd: Data | null,
  dxOut: Data | null,
  dweightOut: Data | null,
  dsum?: Data | null,
) => void;

/** Checked calls of one shape, made by {@link createPlan}. */
export interface Plan<Data = FloatArray, Output = Data, DWeight = Data | null> {
  /** Rows of each call. */
  readonly rows: number;
  /** Elements of a row. */
  readonly hiddenSize: number;
  /** The dtype of all tensors. */
  readonly dtype: DType;
  /**
   * Writes y to `out`, and rstd to `rstdOut` if that is passed. With a `residual`, y is the norm of the
   * sum, which is written to `sumOut`. Aliasing as in `rmsNorm.forward`.
   */
  readonly forward: PlannedForward<Data>;
  /**
   * Writes dx to `dxOut` and dweight to `dweightOut`, each unless it is null. If `rstd` is null, it is
   * recomputed. Aliasing as in `rmsNorm.backward`.
   */
  readonly backward: PlannedBackward<Data>;
  /**
   * Returns y in memory that the plan owns, in the time of {@link Plan.forward}.
   *
   * It is valid until the plan has made as many later calls of `run` and `runAsync` as it has
   * `outputs`. With two, a result outlasts the next call, and the call after that overwrites it. Copy a
   * result to keep it. Disposing of a DeviceBuffer ends that result, but does not release the plan's
   * memory.
   *
   * @throws the errors of {@link Plan.forward}; Error `ERR_INVALID_STATE` if the next output in turn
   * belongs to a call of `runAsync` that has not settled
   */
  readonly run: (x: Data) => Output;
  /**
   * {@link Plan.run} off the event loop, under the rules of `rmsNorm.async`: x and weight are used in
   * place if they are arrays of `allocate`, else copied.
   *
   * As many calls as the plan has `outputs` are in flight at once. Others wait for their turn, and copy
   * x only then. A result is valid as long as one of `run`. Where calls wait, use it in the code right
   * after its `await`, before the next `await` there.
   */
  readonly runAsync: (x: Data) => Promise<Output>;
  /**
   * Returns dx and dweight in memory that the plan owns. They are valid as long as a result of `run`,
   * counted in calls of `runBackward`. With `accumulate` there is one dweight, which starts as zeros
   * and which each call adds to; `dweight.fill(0)` resets it.
   */
  readonly runBackward: (dy: Data, x: Data, rstd: Data | null) => PlanGradients<Output, DWeight>;
}
