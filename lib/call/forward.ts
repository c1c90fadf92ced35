import {
  nativeLayout,
  readLikeX,
  readProblem,
  readRstd,
  rstdKind,
  type Problem,
} from './arguments';
import { binding } from '../binding';
import { cuda } from '../gpu/cuda';
import { freshLike, freshRstd, nativeArray, nativeData, type TensorData } from './data';
import { arrayKind, makeArray, type NativeArray, type RstdArray } from '../core/dtype';
import { adoptNativeError, argumentError } from '../core/errors';
import {
  knownOptions,
  noForwardOptions,
  noOptions,
  readForwardOptions,
  type ForwardOptions,
  type OwnOptions,
} from './options';
import { likeOperand, type AnyInput, type Operand } from './tensor';

/** A forward call, checked. Outputs that are null are not given. */
export interface ForwardCall {
  readonly problem: Problem;
  readonly options: OwnOptions<ForwardOptions>;
  readonly out: Operand | null;
  readonly rstdOut: TensorData | null;
  readonly residual: Operand | null;
  readonly sumOut: Operand | null;
}

/** The arrays that a call has written; null for what it did not compute. */
export interface ForwardArrays {
  readonly y: TensorData;
  readonly rstd: TensorData | null;
  readonly sum: TensorData | null;
}

/** `names`: of the options of the function that is called. */
export function readForward(
  x: unknown,
  weight: unknown,
  options: ForwardOptions,
  names: ReadonlySet<string>,
): ForwardCall {
  const own =
    options === noOptions ? noForwardOptions : readForwardOptions(knownOptions(options, names));
  const { out, rstdOut, residual, sumOut } = own;
  const problem = readProblem(x, weight, own);
  if (sumOut !== undefined && residual === undefined) {
    const expected = 'left out where there is no residual';
    throw argumentError('ERR_INVALID_ARG_VALUE', 'sumOut', expected, sumOut);
  }
  return {
    problem,
    options: own,
    out: out === undefined ? null : readLikeX('out', out, problem),
    rstdOut: rstdOut === undefined ? null : readRstd('rstdOut', rstdOut, problem),
    residual: residual === undefined ? null : readLikeX('residual', residual, problem),
    sumOut: sumOut === undefined ? null : readLikeX('sumOut', sumOut, problem),
  };
}

/** Refuses a residual without memory for the sum, for functions that do not return one. */
export function refuseFreshSum({ residual, sumOut }: ForwardCall): void {
  if (residual === null || sumOut !== null) return;
  const expected = 'given where residual is; rmsNorm.forward makes and returns one';
  throw argumentError('ERR_INVALID_ARG_VALUE', 'sumOut', expected, undefined);
}

const matrixNames = ['x', 'out', 'residual', 'sumOut'];

export function runForward(call: ForwardCall, wantsRstd: boolean): ForwardArrays {
  const { problem, out, residual } = call;
  const { x, nativeX, nativeWeight, dtype, hiddenSize, rows, settings, stream, format } = problem;
  const { eps, weightOffset } = settings;
  const y = out === null ? freshLike(x.data, x.length) : out.data;
  const rstd = call.rstdOut ?? (wantsRstd ? freshRstd(x.data, rstdKind(dtype), rows) : null);
  const nativeY = nativeData(y);
  const nativeRstd = rstd && nativeData(rstd);
  if (stream === null && residual === null && x.view === null && (out?.view ?? null) === null) {
    try {
      binding.forward(
        nativeX,
        nativeWeight,
        nativeY,
        nativeRstd,
        hiddenSize,
        eps,
        weightOffset,
        format,
      );
    } catch (error) {
      throw adoptNativeError(error);
    }
    return { y, rstd, sum: null };
  }
  const sum = residual === null ? null : (call.sumOut?.data ?? freshLike(x.data, x.length));
  const layout = nativeLayout(problem, matrixNames, [x, out, residual, call.sumOut]);
  try {
    binding.forward(
      nativeX,
      nativeWeight,
      nativeY,
      nativeRstd,
      hiddenSize,
      eps,
      weightOffset,
      format,
      residual && nativeData(residual.data),
      sum && nativeData(sum),
      layout,
      stream,
    );
  } catch (error) {
    throw adoptNativeError(error);
  }
  return { y, rstd, sum };
}

export async function runForwardAsync(
  call: ForwardCall,
  wantsRstd: boolean,
): Promise<ForwardArrays> {
  const { problem, out, rstdOut, residual, sumOut } = call;
  const { x, dtype, settings, stream } = problem;
  if (stream !== null) {
    const written = runForward(call, wantsRstd);
    await cuda.streamPassed(stream);
    return written;
  }
  const layout = nativeLayout(problem, matrixNames, [x, out, residual, sumOut]);
  try {
    const fresh = await binding.forwardAsync(
      problem.nativeX as NativeArray,
      problem.nativeWeight as NativeArray | null,
      out === null || nativeArray(out.data),
      (rstdOut as RstdArray | null) ?? (wantsRstd || null),
      problem.hiddenSize,
      settings.eps,
      settings.weightOffset,
      problem.format,
      residual && nativeArray(residual.data),
      residual && (sumOut === null || nativeArray(sumOut.data)),
      layout,
    );
    checkRows(problem, fresh.rows);
    return {
      y: written(fresh.y, x, out) as TensorData,
      rstd: fresh.rstd === null ? rstdOut : makeArray(rstdKind(dtype), fresh.rstd),
      sum: written(fresh.sum, x, sumOut),
    };
  } catch (error) {
    throw adoptNativeError(error);
  }
}

/**
 * Refuses a result of fewer or more rows than x had when the arguments were checked: a hook that ran
 * in between, of node:async_hooks for one, has resized its buffer.
 */
export function checkRows({ x, rows }: Problem, rowsRead: number): void {
  if (rowsRead === rows) return;
  const expected = 'an array that keeps its length during the call';
  throw argumentError('ERR_INVALID_ARG_VALUE', 'x', expected, x.data);
}

/**
 * The array, of the kind that `like` is, over a buffer that the addon made; or the data of the operand
 * that it wrote to.
 */
export function written(
  fresh: ArrayBuffer | null,
  like: Operand,
  given: Operand | null,
): TensorData | null {
  if (fresh === null) return given?.data ?? null;
  return makeArray(arrayKind('like', like.data), fresh);
}

/** What is returned for a result: `given` itself, or the array in the form of `like`. */
export function resultOf(given: AnyInput | undefined, like: Operand, array: TensorData): AnyInput {
  return given ?? likeOperand(like, array);
}
