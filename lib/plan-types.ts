import type { ArrayOf } from './allocate';
import type { CommonOptions } from './call/options';
import type { Fresh } from './call/tensor';
import type { DeviceDType, DType, Float16ArrayLike, FloatArray } from './core/dtype';
import type { CudaDeviceName } from './gpu/cuda';
import type { DeviceBuffer } from './gpu/device-buffer';
import type { DeviceName } from './gpu/devices';

/** Options of {@link createPlan}. */
export interface PlanOptions extends Omit<CommonOptions, 'normalizedShape'> {
  /** The rows of each call, from 0 up. */
  readonly rows: number;
  /** Elements of a row. Default: the length of weight. */
  readonly hiddenSize?: number | undefined;
  /**
   * (hiddenSize), of `dtype` or, beside 16 bits, float32: an array, or a DeviceBuffer for calls on
   * such. The plan keeps it; what it holds at a call is what counts. Default null: ones.
   */
  readonly weight?: FloatArray | DeviceBuffer | null | undefined;
  /** Of all tensors. Default: that of weight, if it says one, which bits do not; else float32. */
  readonly dtype?: DType | undefined;
  /** Default: that of weight, if it is a DeviceBuffer, else `'cpu'`. */
  readonly device?: DeviceName | undefined;
  /** Whether `backward` adds to what its `dweightOut` holds. Default false. */
  readonly accumulate?: boolean | undefined;
  /**
   * How many outputs of its own the plan has, from 1 up, which `run` uses in turn, and as many which
   * `runBackward` does. Each is allocated when its turn first comes. Default 2.
   */
  readonly outputs?: number | undefined;
}

/** What the functions of a plan take: DeviceBuffers on a GPU, arrays on the CPU. */
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

/** What a plan returns: arrays over shared memory, as those of {@link allocate}, or DeviceBuffers. */
export type PlanOutput<O> =
  PlanData<O> extends DeviceBuffer
    ? DeviceBuffer<Extract<PlanDType<O>, DeviceDType>>
    : HostOutput<WeightOf<O>, PlanDType<O>>;

/** The gradient of a plan's weight: of the weight's kind, or null without one. */
export type PlanDWeight<O> =
  WeightOf<O> extends infer W ? (W extends null ? null : Fresh<W>) : never;

/** What {@link Plan.runBackward} returns. */
export interface PlanGradients<Output, DWeight> {
  /** (rows, hiddenSize). */
  readonly dx: Output;
  /** (hiddenSize). */
  readonly dweight: DWeight;
}

/** {@link Plan.forward}. */
export type PlannedForward<Data> = (
  x: Data,
  out: Data,
  rstdOut?: Data | null,
  residual?: Data | null,
  sumOut?: Data | null,
) => void;

/** {@link Plan.backward}. */
export type PlannedBackward<Data> = (
  dy: Data,
  x: Data,
  rstd: Data | null,
  dxOut: Data | null,
  dweightOut: Data | null,
  dsum?: Data | null,
) => void;

/** Calls of one shape: see {@link createPlan}. */
export interface Plan<Data = FloatArray, Output = Data, DWeight = Data | null> {
  /** Rows of each call. */
  readonly rows: number;
  /** Elements of a row. */
  readonly hiddenSize: number;
  /** Of all tensors. */
  readonly dtype: DType;
  /**
   * Writes y to `out`, and rstd to `rstdOut` if given; with a `residual`, the sum to `sumOut` and
   * y of that. What may be the same as what is as in `rmsNorm.forward`.
   */
  readonly forward: PlannedForward<Data>;
  /**
   * Writes dx and dweight to those of `dxOut` and `dweightOut` that are not null. `rstd` null:
   * recomputed. Aliasing as in `rmsNorm.backward`.
   */
  readonly backward: PlannedBackward<Data>;
  /**
   * y in memory of the plan's, which takes no longer than {@link Plan.forward}. It is valid until the
   * plan has made as many later calls of `run` and `runAsync` as it has `outputs`: with two, a result
   * stays while the next one is computed, and the call after that overwrites it. Copy what is to stay.
   * A DeviceBuffer may be disposed of, which ends the result and not the plan's memory.
   *
   * @throws as {@link Plan.forward} does; Error `ERR_INVALID_STATE` if the output whose turn it is
   * belongs to a call of `runAsync` that has not settled
   */
  readonly run: (x: Data) => Output;
  /**
   * {@link Plan.run} off the event loop, under the rules of `rmsNorm.async`: x and weight are used in
   * place if they are of `allocate`, else copied. As many calls as the plan has `outputs` are in
   * flight at once; others wait for their turn, before they copy x. A result is valid as one of
   * `run` is; where calls wait, in the code after `await` until that awaits again.
   */
  readonly runAsync: (x: Data) => Promise<Output>;
  /**
   * dx and dweight in memory of the plan's, valid as a result of `run` is, as long as calls of
   * `runBackward` are counted. With `accumulate` there is one dweight, which each call adds to: it
   * begins as zeros, and `dweight.fill(0)` begins anew.
   */
  readonly runBackward: (dy: Data, x: Data, rstd: Data | null) => PlanGradients<Output, DWeight>;
}
