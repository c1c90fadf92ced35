import type { Binding, NativeData } from '../binding';
import { refuseView } from './call/arguments';
import { binding } from './binding';
import type { CudaDeviceName } from './gpu/cuda';
import { isDeviceBuffer, nativeData, type TensorData } from './call/data';
import { nativeDeviceBuffer, ordinalOfBuffer, type DeviceBuffer } from './gpu/device-buffer';
import type { DeviceName } from './gpu/devices';
import { checkDTypeName, dtypeOf, nativeView, type DType, type FloatArray } from './core/dtype';
import { adoptNativeError, argumentError } from './core/errors';
import { accumulateFlag, nativeFormat } from './call/format';
import { readPackagedArray } from './core/host-array';
import {
  knownOptions,
  readCount,
  readFlag,
  readSettings,
  type CommonOptions,
} from './call/options';
import { plainPlan, type PlanCalls } from './call/plain-calls';
import { readStream } from './gpu/stream';
import { readOperand, type Operand } from './call/tensor';

/** Options of {@link createPlan}. */
export interface PlanOptions extends Omit<CommonOptions, 'normalizedShape'> {
  /** The rows of each call, from 0 up. */
  readonly rows: number;
  /** Elements of a row. Default: the length of weight. */
  readonly hiddenSize?: number;
  /**
   * (hiddenSize), of `dtype` or, beside 16 bits, float32: an array, or a DeviceBuffer for calls on
   * such. The plan keeps it; what it holds at a call is what counts. Default null: ones.
   */
  readonly weight?: FloatArray | DeviceBuffer | null;
  /** Of all tensors. Default: that of weight, if it says one, which bits do not; else float32. */
  readonly dtype?: DType;
  /** Default: that of weight, if it is a DeviceBuffer, else `'cpu'`. */
  readonly device?: DeviceName;
  /** Whether `backward` adds to what its `dweightOut` holds. Default false. */
  readonly accumulate?: boolean;
}

/** What the functions of a plan take: DeviceBuffers on a GPU, arrays on the CPU. */
export type PlanData<O> = O extends
  Record<'device', CudaDeviceName> | Record<'weight', DeviceBuffer>
  ? DeviceBuffer
  : FloatArray;

/**
 * Writes y to `out`, and rstd to `rstdOut` if given; with a `residual`, the sum to `sumOut` and
 * y of that. What may be the same as what is as in `rmsNorm.forward`.
 */
export type PlannedForward<Data> = (
  x: Data,
  out: Data,
  rstdOut?: Data | null,
  residual?: Data | null,
  sumOut?: Data | null,
) => void;

/**
 * Writes dx and dweight to those of `dxOut` and `dweightOut` that are not null. `rstd` null:
 * recomputed. Aliasing as in `rmsNorm.backward`.
 */
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
  /** See {@link PlannedForward}. */
  readonly forward: PlannedForward<Data>;
  /** See {@link PlannedBackward}. */
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
  const { eps, weightOffset, castOrder } = options;
  return {
    ...{ rows, hiddenSize, weight, dtype, device, stream, accumulate },
    ...{ eps, weightOffset, castOrder },
  };
}

function makePlan(options: PlanOptions) {
  const own = readOptions(knownOptions(options, planNames));
  const weight = own.weight === null ? null : readOperand('weight', own.weight);
  if (weight !== null) refuseView('weight', weight, own.weight);
  const { dtype = dtypeOfWeight(weight), hiddenSize: size = weight?.length } = own;
  checkDTypeName(dtype);
  if (weight?.kind === 'Float16Array') dtypeOf('weight', weight.kind, dtype);
  const settings = readSettings(own, dtype);
  const { eps, weightOffset, castOrder } = settings;
  const rows = readCount('rows', own.rows, 0);
  const hiddenSize = readCount('hiddenSize', size, 1);
  const accumulate = readFlag('accumulate', own.accumulate, false);
  const device =
    own.device === undefined && isDeviceBuffer(weight?.data)
      ? ordinalOfBuffer(weight.data) + 1
      : settings.device;
  if (weight !== null) checkWeightPlace(weight.data, device);
  const format = nativeFormat(dtype, castOrder, device) + (accumulate ? accumulateFlag : 0);
  const stream = readPlanStream(own.stream, device);
  const nativeWeight = weight && nativeData(weight.data);
  const general = planCalls(
    [rows, hiddenSize, eps, weightOffset, format, nativeWeight, stream],
    device > 0 ? handle : dtype === 'float16' ? bitsOf : (_, array) => array,
  );
  const isPlain = device === 0 && weightOffset === 0 && castOrder === 'llama' && !accumulate;
  const calls = isPlain ? plainPlan(general, dtype, nativeWeight, rows, hiddenSize, eps) : general;
  return { rows, hiddenSize, dtype, forward: calls.forward, backward: calls.backward };
}

type Data = NativeData | null | undefined;

/** What the addon takes for an argument. */
type Native = <D extends Data>(name: string, data: D) => D;

/**
 * The functions of a plan of the addon. They keep the weight and the stream, which the addon reads
 * anew at each call. `native`: what the addon takes for an argument.
 */
function planCalls(settings: Parameters<Binding['createPlan']>, native: Native): PlanCalls {
  const [, , , , , weight, stream = null] = settings;
  try {
    const plan = binding.createPlan(...settings);
    return {
      forward(x, out, rstdOut, residual, sumOut) {
        try {
          if (residual === undefined && sumOut === undefined) {
            plan.forward(
              weight,
              stream,
              native('x', x),
              native('out', out),
              native('rstdOut', rstdOut),
            );
          } else {
            const sum = [native('residual', residual), native('sumOut', sumOut)] as const;
            plan.forward(
              weight,
              stream,
              native('x', x),
              native('out', out),
              native('rstdOut', rstdOut),
              ...sum,
            );
          }
        } catch (error) {
          throw adoptNativeError(error);
        }
      },
      backward(dy, x, rstd, dxOut, dweightOut, dsum) {
        const gradients = [
          native('dxOut', dxOut),
          native('dweightOut', dweightOut),
          native('dsum', dsum),
        ] as const;
        try {
          plan.backward(
            weight,
            stream,
            native('dy', dy),
            native('x', x),
            native('rstd', rstd),
            ...gradients,
          );
        } catch (error) {
          throw adoptNativeError(error);
        }
      },
    };
  } catch (error) {
    throw adoptNativeError(error);
  }
}

/** `device`: as native calls take it. */
function checkWeightPlace(weight: TensorData, device: number): void {
  if (isDeviceBuffer(weight) ? ordinalOfBuffer(weight) + 1 === device : device === 0) return;
  const expected = device === 0 ? 'an array' : `a DeviceBuffer on 'cuda:${device - 1}'`;
  throw argumentError('ERR_INVALID_ARG_VALUE', 'weight', `${expected}, as device says`, weight);
}

function readPlanStream(stream: unknown, device: number) {
  if (device > 0) return readStream(stream, device - 1);
  if (stream === undefined) return null;
  const expected = 'left out for calls on arrays';
  throw argumentError('ERR_INVALID_ARG_VALUE', 'stream', expected, stream);
}

function dtypeOfWeight(weight: Operand | null): DType {
  if (isDeviceBuffer(weight?.data)) return weight.data.dtype;
  if (weight?.kind === 'Float64Array') return 'float64';
  return weight?.kind === 'Float16Array' ? 'float16' : 'float32';
}

/** The native side of a DeviceBuffer; anything else as it is, for the addon to refuse. */
function handle<D extends Data>(_: string, value: D): D {
  return (nativeDeviceBuffer(value) ?? value) as D;
}

/** The bits of a Float16Array; anything else as it is, for the addon to take or refuse. */
function bitsOf<D extends Data>(name: string, value: D): D {
  const array: unknown = readPackagedArray(name, value)?.data ?? value;
  return (ArrayBuffer.isView(array) ? nativeView(array as FloatArray) : array) as D;
}
