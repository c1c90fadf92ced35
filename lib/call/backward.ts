import {
  nativeLayout,
  readDweightOut,
  readLikeX,
  readProblem,
  readRstd,
  type Problem,
} from './arguments';
import { binding } from '../binding';
import { cuda } from '../gpu/cuda';
import { freshLike, nativeArray, nativeData, type TensorData } from './data';
import type { NativeArray, RstdArray } from '../core/dtype';
import { adoptNativeError, argumentError } from '../core/errors';
import { accumulateFlag, freshFloat32Flag } from './format';
import { checkRows, written } from './forward';
import {
  backwardNames,
  knownOptions,
  noBackwardOptions,
  noOptions,
  readBackwardOptions,
  readFlag,
  type BackwardOptions,
  type OwnOptions,
} from './options';
import { type Operand } from './tensor';

/** A backward call, checked. An output is an operand to write to, `true` to make it, or null. */
export interface BackwardCall {
  readonly problem: Problem;
  readonly options: OwnOptions<BackwardOptions>;
  readonly dy: Operand;
  readonly rstd: TensorData | null;
  readonly dx: Operand | true | null;
  readonly dweight: Operand | true | null;
  readonly dsum: Operand | null;
  readonly format: number;
}

/** The arrays that a call has written; null for what it did not compute. */
export interface BackwardArrays {
  readonly dx: TensorData | null;
  readonly dweight: TensorData | null;
}

export function readBackward(
  dy: unknown,
  x: unknown,
  weight: unknown,
  rstd: unknown,
  options: BackwardOptions,
): BackwardCall {
  const own =
    options === noOptions
      ? noBackwardOptions
      : readBackwardOptions(knownOptions(options, backwardNames));
  const problem = readProblem(x, weight, own);
  const { dxOut, dweightOut, dsum } = own;
  const needsDx = readFlag('needsDx', own.needsDx, true);
  const needsDweight = readFlag('needsDweight', own.needsDweight, problem.weight !== null);
  const accumulate = readFlag('accumulate', own.accumulate, false);
  const withoutDx = 'left out where needsDx is false';
  refuse(dxOut !== undefined && !needsDx, 'dxOut', withoutDx, dxOut);
  refuse(dsum !== undefined && !needsDx, 'dsum', withoutDx, dsum);
  refuse(
    dweightOut !== undefined && !needsDweight,
    'dweightOut',
    'left out where dweight is not computed',
    dweightOut,
  );
  refuse(
    needsDweight && problem.weight === null,
    'needsDweight',
    'false where weight is null',
    needsDweight,
  );
  refuse(
    accumulate && dweightOut === undefined,
    'accumulate',
    'false where there is no dweightOut to add to',
    accumulate,
  );
  const freshFloat32 = problem.weight?.kind === 'Float32Array' ? freshFloat32Flag : 0;
  return {
    problem,
    options: own,
    dy: readLikeX('dy', dy, problem),
    rstd: rstd === null || rstd === undefined ? null : readRstd('rstd', rstd, problem),
    dx: (needsDx && (dxOut === undefined || readLikeX('dxOut', dxOut, problem))) || null,
    dweight:
      (needsDweight && (dweightOut === undefined || readDweightOut(dweightOut, problem))) || null,
    dsum: dsum === undefined ? null : readLikeX('dsum', dsum, problem),
    format: problem.format + (accumulate ? accumulateFlag : 0) + freshFloat32,
  };
}

function refuse(condition: boolean, name: string, expected: string, actual: unknown): void {
  if (condition) throw argumentError('ERR_INVALID_ARG_VALUE', name, expected, actual);
}

/** An output that was given, or null. */
function given(output: Operand | true | null): Operand | null {
  return output === true ? null : output;
}

/** Whether a call is one of packed matrices alone: the fastest to make. */
function isPlain({ problem, dy, dx, dsum }: BackwardCall): boolean {
  return (
    dsum === null &&
    problem.x.view === null &&
    dy.view === null &&
    (given(dx)?.view ?? null) === null
  );
}

const matrixNames = ['dy', 'x', 'dxOut', 'dsum'];

function layoutOf({ problem, dy, dx, dsum }: BackwardCall): Float64Array | null {
  return nativeLayout(problem, matrixNames, [dy, problem.x, given(dx), dsum]);
}

export function runBackward(call: BackwardCall): BackwardArrays {
  const { problem, dsum } = call;
  const { x, weight, hiddenSize, settings, stream } = problem;
  const dx = call.dx === true ? freshLike(x.data, x.length) : (call.dx?.data ?? null);
  const dweight =
    call.dweight === true
      ? freshLike((weight as Operand).data, hiddenSize)
      : (call.dweight?.data ?? null);
  const nativeDy = nativeData(call.dy.data);
  const nativeDx = dx && nativeData(dx);
  const nativeDweight = dweight && nativeData(dweight);
  const { nativeX, nativeWeight } = problem;
  const { eps, weightOffset } = settings;
  const { format } = call;
  const rstd = call.rstd && nativeData(call.rstd);
  const layout = isPlain(call) ? null : layoutOf(call);
  try {
    if (dsum === null && layout === null && stream === null) {
      binding.backward(
        nativeDy,
        nativeX,
        nativeWeight,
        rstd,
        nativeDx,
        nativeDweight,
        hiddenSize,
        eps,
        weightOffset,
        format,
      );
    } else {
      binding.backward(
        nativeDy,
        nativeX,
        nativeWeight,
        rstd,
        nativeDx,
        nativeDweight,
        hiddenSize,
        eps,
        weightOffset,
        format,
        dsum && nativeData(dsum.data),
        layout,
        stream,
      );
    }
  } catch (error) {
    throw adoptNativeError(error);
  }
  return { dx, dweight };
}

export async function runBackwardAsync(call: BackwardCall): Promise<BackwardArrays> {
  const { problem, dsum } = call;
  const { x, weight, settings, stream } = problem;
  if (stream !== null) {
    const results = runBackward(call);
    await cuda.streamPassed(stream);
    return results;
  }
  const native = (output: Operand | true | null) =>
    output === true || output === null ? output : nativeArray(output.data);
  const layout = layoutOf(call);
  try {
    const fresh = await binding.backwardAsync(
      nativeArray(call.dy.data),
      problem.nativeX as NativeArray,
      problem.nativeWeight as NativeArray | null,
      call.rstd as RstdArray | null,
      native(call.dx),
      native(call.dweight),
      problem.hiddenSize,
      settings.eps,
      settings.weightOffset,
      call.format,
      dsum && nativeArray(dsum.data),
      layout,
    );
    checkRows(problem, fresh.rows);
    return {
      dx: written(fresh.dx, x, given(call.dx)),
      dweight: written(fresh.dweight, weight ?? x, given(call.dweight)),
    };
  } catch (error) {
    throw adoptNativeError(error);
  }
}
