import type { ArrayOf } from './allocate';
import type { CommonOptions } from './call/options';
import type { NewLike } from './call/tensor';
import type { DeviceDType, DType, Float16ArrayLike, FloatArray } from './core/dtype';
import type { CudaDeviceName } from './gpu/cuda';
import type { DeviceBuffer } from './gpu/device-buffer';
import type { DeviceName } from './gpu/devices';

/** Options of {@link createPlan}. */
export interface PlanOptions extends Omit<CommonOptions, 'normalizedShape'> {
  /** The number of rows of each call, 0 or more. */
  readonly rows: number;
  /** The number of elements of a row. Default: the length of weight. */
  readonly hiddenSize?: number | undefined;
  /**
   * (hiddenSize): an array, or a DeviceBuffer for calls on a GPU. It is of `dtype`, or float32 if `dtype` is
   * a 16-bit dtype. The plan does not copy it, and reads it at every call. Default: null, a factor of 1.
   */
  readonly weight?: FloatArray | DeviceBuffer | null | undefined;
  /**
   * The dtype of x and of all tensors of its shape. Default: the dtype of weight, or float32 without a
   * weight. Required if weight is a `Uint16Array`, whose bits can be of either 16-bit dtype.
   */
  readonly dtype?: DType | undefined;
  /** Where the calls run. Default: the device of weight if it is a DeviceBuffer, else `'cpu'`. */
  readonly device?: DeviceName | undefined;
  /**
   * Whether `backward` adds dweight to the values in its `dweightOut`, and `runBackward` to the dweight of
   * its earlier calls. Default false.
   */
  readonly accumulate?: boolean | undefined;
  /**
   * How many outputs the plan owns for `run` and `runAsync`, which use them in turn: 1 or more. The plan
   * owns as many again for `runBackward`. Each is allocated when its turn first comes. Default 2.
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

/** The type of the gradient of a plan's weight: that of the weight; null without a weight. */
export type PlanDWeight<O> =
  WeightOf<O> extends infer W ? (W extends null ? null : NewLike<W>) : never;

/** The result of {@link Plan.runBackward}. */
export interface PlanGradients<Output, DWeight> {
  /** (rows, hiddenSize): the gradient of x. */
  readonly dx: Output;
  /** (hiddenSize): the gradient of weight; null without a weight. */
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
  /** The number of rows of each call. */
  readonly rows: number;
  /** The number of elements of a row. */
  readonly hiddenSize: number;
  /** The dtype of x and of all tensors of its shape. */
  readonly dtype: DType;
  /**
   * Writes y to `out`, and rstd to `rstdOut` if that is passed. With a `residual`, y is the norm of x +
   * residual, which is written to `sumOut`; `sumOut` is then required. Arguments may overlap in memory only
   * where they may in {@link RmsNorm.forward}.
   */
  readonly forward: PlannedForward<Data>;
  /**
   * Writes dx to `dxOut` and dweight to `dweightOut`; null for an output leaves that gradient out. If `rstd`
   * is null, it is recomputed from x. `dsum`, the gradient of forward's sum, is added to dx. Arguments may
   * overlap in memory only where they may in {@link RmsNorm.backward}.
   */
  readonly backward: PlannedBackward<Data>;
  /**
   * Returns y in memory that the plan owns. It takes no longer than {@link Plan.forward}.
   *
   * It is valid until the plan has made as many later calls of `run` and `runAsync` as it has
   * `outputs`. With 2 outputs, a result stays valid during the next call, and the call after that overwrites
   * it. Copy a result to keep it. A result that is a DeviceBuffer may be disposed of, but that does not
   * release the plan's memory.
   *
   * @throws the errors of {@link Plan.forward}; Error `ERR_INVALID_STATE` if the next output in turn
   * belongs to a call of `runAsync` that has not settled
   */
  readonly run: (x: Data) => Output;
  /**
   * {@link Plan.run} off the event loop, under the rules of {@link RmsNorm.async}: x and weight are used in
   * place if they are arrays of `allocate`, else copied.
   *
   * At most as many calls as the plan has `outputs` are in flight at once. Further calls wait for their
   * turn, and copy x only then. A result is valid as long as a result of `run`. If calls wait, use a result
   * in the code right after its `await`, before the next `await` there.
   */
  readonly runAsync: (x: Data) => Promise<Output>;
  /**
   * Returns dx and dweight in memory that the plan owns. Both are valid until the plan has made as many
   * later calls of `runBackward` as it has `outputs`. With `accumulate` there is only one dweight, which
   * starts as zeros and to which each call adds; `dweight.fill(0)` resets it.
   */
  readonly runBackward: (dy: Data, x: Data, rstd: Data | null) => PlanGradients<Output, DWeight>;
}
