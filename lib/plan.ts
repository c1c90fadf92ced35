import { newCall, type Call } from './call/call';
import { isDeviceBuffer, type DataKind } from './call/data';
import { readKeptWeight } from './call/kept-weight';
import {
  addOperand,
  checkDType,
  checkLength,
  isPlain,
  readOperand,
  readOptional,
} from './call/operands';
import {
  checkCastOrder,
  checkEps,
  checkWeightOffset,
  defaultEps,
  readDeviceFor,
  type CommonOptions,
} from './call/options';
import {
  backwardOperation,
  backwardRules,
  forwardOperation,
  forwardRules,
  type OperandRule,
  type Operation,
} from './call/operations';
import { runNow } from './call/run';
import { dataOf, readArgument, type Argument } from './call/tensor';
import { dtypes, type DType, type FloatArray } from './core/dtype';
import { argumentError } from './core/errors';
import { knownOptions, readCount, readFlag } from './core/validate';
import type { CudaDeviceName } from './gpu/cuda';
import { ordinalOfBuffer, type DeviceBuffer } from './gpu/device-buffer';
import { cpuOrdinal, type DeviceName } from './gpu/devices';
import { readStream } from './gpu/stream';

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
}

/** What the functions of a plan take: DeviceBuffers on a GPU, arrays on the CPU. */
export type PlanData<O> = O extends
  Record<'device', CudaDeviceName> | Record<'weight', DeviceBuffer>
  ? DeviceBuffer
  : FloatArray;

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
export interface Plan<Data = FloatArray> {
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
}

const planNames: ReadonlySet<string> = new Set([
  ...['rows', 'hiddenSize', 'weight', 'dtype', 'device', 'stream'],
  ...['eps', 'weightOffset', 'castOrder', 'accumulate'],
]);

/**
 * Checks all but the arrays of forward and backward once, for calls that cost as little as they can:
 *
 * ```ts
 * const plan = createPlan({ rows: 1, weight });
 * plan.forward(x, y);
 * ```
 *
 * On the CPU the functions take plain arrays of `dtype`: `Float32Array`, `Float64Array`, the bits of
 * 16-bit ones in a `Uint16Array`, or a `Float16Array`; on a GPU DeviceBuffers, and the calls are
 * enqueued on the plan's stream. All are (rows, hiddenSize), and rstd (rows). They allocate nothing
 * and return nothing, and give the bits of `rmsNorm`.
 *
 * @throws TypeError and RangeError for options, and at calls for arrays, that are not as described;
 * CudaError `ERR_CUDA_UNAVAILABLE`
 */
export function createPlan<const O extends PlanOptions>(options: O): Plan<PlanData<O>> {
  const plan: unknown = Object.freeze(makePlan(options));
  return plan as Plan<PlanData<O>>;
}

/** A copy of checked options, each of them read once. */
function readOptions(options: PlanOptions) {
  const { rows, hiddenSize, weight = null, dtype, device, stream, accumulate } = options;
  const { eps = defaultEps, weightOffset = 0, castOrder = 'llama' } = options;
  return {
    ...{ rows, hiddenSize, weight, dtype, device, stream, accumulate },
    ...{ eps, weightOffset, castOrder },
  };
}

function makePlan(options: PlanOptions) {
  const own = readOptions(knownOptions(options, planNames));
  const { eps, weightOffset, castOrder } = own;
  const { weight, dtype } = readKeptWeight(own.weight, own.dtype);
  const { hiddenSize: size = weight?.length } = own;
  checkEps(eps, dtype);
  checkWeightOffset(weightOffset, dtype);
  checkCastOrder(castOrder);
  const named = readDeviceFor(own.device, dtype);
  const rows = readCount('rows', own.rows, 0);
  const hiddenSize = readCount('hiddenSize', size, 1);
  if (rows * hiddenSize > Number.MAX_SAFE_INTEGER) {
    const expected = 'such that rows * hiddenSize is at most 2^53 - 1';
    throw argumentError('ERR_OUT_OF_RANGE', 'rows', expected, rows);
  }
  const accumulate = readFlag('accumulate', own.accumulate, false);
  const buffer = weight && dataOf(weight);
  const isOnGpu = own.device === undefined && isDeviceBuffer(buffer);
  const device = isOnGpu ? ordinalOfBuffer(buffer) : named;
  if (weight !== undefined) {
    checkDevice('weight', weight, device);
    checkDType(forwardRules.weight, weight, dtype, 'the dtype');
  }
  const stream = readPlanStream(own.stream, device);
  const kind: DataKind = device === cpuOrdinal ? dtypes[dtype].bits : 'DeviceBuffer';
  /** What makes calls that have their weight, and nothing else. */
  const beginner = (operation: Operation) => {
    const shape = { dtype, kind, device, stream, rows, hiddenSize };
    const frame = { operation, ...shape, eps, weightOffset, castOrder };
    const first = newCall(frame);
    if (weight !== undefined) {
      checkLength(first, operation.weight, weight);
      addOperand(first, operation.weight, weight);
    }
    const { given, float32, tensors } = first;
    return () => {
      const call = newCall(frame);
      call.weight = weight;
      call.accumulate = accumulate;
      call.given = given;
      call.float32 = float32;
      call.tensors = tensors;
      return call;
    };
  };
  const calls = planCalls(beginner(forwardOperation), beginner(backwardOperation));
  return { rows, hiddenSize, dtype, ...calls };
}

/** The functions of a plan, over what begins their calls. */
function planCalls(beginForward: () => Call, beginBackward: () => Call) {
  return {
    forward(x: unknown, out: unknown, rstdOut: unknown, residual: unknown, sumOut: unknown) {
      const call = beginForward();
      call.x = readX(call, x);
      call.out = readOperand(call, forwardRules.out, out);
      call.rstdOut = readOptional(call, forwardRules.rstdOut, rstdOut);
      call.residual = readOptional(call, forwardRules.residual, residual);
      call.sumOut = readOptional(call, forwardRules.sumOut, sumOut);
      runNow(call);
    },
    backward(
      dy: unknown,
      x: unknown,
      rstd: unknown,
      dxOut: unknown,
      dweightOut: unknown,
      dsum: unknown,
    ) {
      const call = beginBackward();
      call.x = readX(call, x);
      call.dy = readOperand(call, backwardRules.dy, dy);
      call.rstd = readOptional(call, backwardRules.rstd, rstd);
      call.dxOut = readOptional(call, backwardRules.dxOut, dxOut);
      call.dweightOut = readOptional(call, backwardRules.dweightOut, dweightOut);
      call.dsum = readOptional(call, backwardRules.dsum, dsum);
      runNow(call);
    },
  };
}

function readX(call: Call, value: unknown): Argument {
  const rule = call.operation.x;
  if (!isPlain(call, rule, value)) return readOtherX(call, rule, value);
  call.given |= rule.bit;
  return value;
}

function readOtherX(call: Call, rule: OperandRule, value: unknown): Argument {
  const x = readArgument('x', value);
  checkDevice('x', x, call.device);
  checkDType(rule, x, call.dtype, 'the dtype');
  checkLength(call, rule, x);
  addOperand(call, rule, x);
  return x;
}

/** Refuses a weight or an x that is elsewhere than the calls of a plan. */
function checkDevice(name: 'weight' | 'x', argument: Argument, device: number): void {
  const data = dataOf(argument);
  const isArray = ArrayBuffer.isView(data);
  if (isArray ? device === cpuOrdinal : ordinalOfBuffer(data) === device) return;
  const expected =
    device === cpuOrdinal ? 'an array on the CPU' : `a DeviceBuffer on 'cuda:${device}'`;
  const isOtherKind = name === 'x' && isArray !== (device === cpuOrdinal);
  const code = isOtherKind ? 'ERR_INVALID_ARG_TYPE' : 'ERR_INVALID_ARG_VALUE';
  throw argumentError(code, name, `${expected}, where the plan runs`, data);
}

function readPlanStream(stream: unknown, device: number) {
  if (device !== cpuOrdinal) return readStream(stream, device);
  if (stream === undefined) return null;
  const expected = 'left out for calls on arrays';
  throw argumentError('ERR_INVALID_ARG_VALUE', 'stream', expected, stream);
}
