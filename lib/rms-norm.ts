import { readDweightOut, readLikeX, readProblem, readRstd, type Problem } from './arguments';
import { binding } from './binding';
import { makeArray, nativeView, zeros, type ArrayKind, type FloatArray } from './dtype';
import { adoptNativeError, argumentError } from './errors';
import {
  backwardNames,
  checkOptions,
  forwardNames,
  readFlag,
  rmsNormNames,
  type BackwardOptions,
  type ForwardOptions,
  type RmsNormOptions,
} from './options';
import { likeOperand, type Input, type Operand, type Output } from './tensor';

const noOptions = {};

const accumulateFlag = 8;
const freshFloat32Flag = 16;

/** What `rmsNorm.forward` returns. */
export interface ForwardResult<X> {
  /** The normalised and scaled x: of x's form, kind and length. `out`, if that was given. */
  y: Output<X>;
  /** 1 / sqrt(mean(x²) + eps) of each row: (rows). `rstdOut`, if that was given. */
  rstd: Float32Array;
}

/** What `rmsNorm.backward` returns: null for a gradient that was not computed. */
export interface BackwardResult<X, W, O> {
  /** The gradient of x: of x's form, kind and length. `dxOut`, if that was given. */
  dx: O extends { needsDx: false } ? null : Output<X>;
  /** The gradient of weight: of weight's form, kind and length. `dweightOut`, if that was given. */
  dweight: O extends { needsDweight: false } ? null : W extends null | undefined ? null : Output<W>;
}

/** A forward call, checked, with the operands whose form its results take. */
interface ForwardCall {
  readonly problem: Problem;
  readonly out: Operand | null;
  readonly rstdOut: Float32Array | null;
}

function readForward(
  x: unknown,
  weight: unknown,
  options: ForwardOptions,
  names: ReadonlySet<string>,
): ForwardCall {
  if (options !== noOptions) checkOptions(options, names);
  const { out, rstdOut } = options;
  const problem = readProblem(x, weight, options);
  return {
    problem,
    out: out === undefined ? null : readLikeX('out', out, problem),
    rstdOut: rstdOut === undefined ? null : readRstd('rstdOut', rstdOut, problem),
  };
}

/** y, in `out` if that was given. */
function runForward({ problem, out }: ForwardCall, rstd: Float32Array | null): FloatArray {
  const { x, nativeX, nativeWeight, hiddenSize, settings, format } = problem;
  const { eps, weightOffset } = settings;
  const y = out?.data ?? zeros(x.kind, x.data.length);
  const nativeY = nativeView(y);
  try {
    binding.forward(nativeX, nativeWeight, nativeY, rstd, hiddenSize, eps, weightOffset, format);
  } catch (error) {
    throw adoptNativeError(error);
  }
  return y;
}

/** What is returned for y: `out` itself, or y in x's form. */
function forwardOutput<X>(
  { problem }: ForwardCall,
  options: RmsNormOptions,
  y: FloatArray,
): Output<X> {
  return (options.out ?? likeOperand(problem.x, y)) as Output<X>;
}

/**
 * RMSNorm: `y = x / sqrt(mean(x²) + eps) * weight` over each row of x, a row being as long as
 * weight.
 *
 * @param x - (…, normalizedShape), float32, float16 or bfloat16; not changed unless it is `out`
 * @param weight - (normalizedShape), of x's dtype or float32; null for ones
 * @param options - see {@link RmsNormOptions}
 * @returns y: `options.out` if given, else a new array of x's kind, or a tensor `{ data, dims }` if
 * x is one
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` and RangeError
 * `ERR_OUT_OF_RANGE` for arguments that are not as described; nothing is written then.
 * {@link CudaError} if `device` is a GPU that is not to be had, or fails
 *
 * Runs on the CPU, on several threads if x is large enough, or on the GPU that `device` names; the
 * bits of a row depend on nothing but the row, weight and options. Source: Zhang and Sennrich, "Root Mean Square Layer Normalization".
 */
export function rmsNorm<X extends Input>(
  x: X,
  weight: Input | null,
  options: RmsNormOptions = noOptions,
): Output<X> {
  const call = readForward(x, weight, options, rmsNormNames);
  return forwardOutput(call, options, runForward(call, null));
}

/**
 * {@link rmsNorm} that also returns what backward needs.
 *
 * @returns y and rstd: new arrays, or the given `out` and `rstdOut`
 */
rmsNorm.forward = function forward<X extends Input>(
  x: X,
  weight: Input | null,
  options: ForwardOptions = noOptions,
): ForwardResult<X> {
  const call = readForward(x, weight, options, forwardNames);
  const rstd = call.rstdOut ?? (zeros('Float32Array', call.problem.rows) as Float32Array);
  const y = runForward(call, rstd);
  return { y: forwardOutput(call, options, y), rstd };
};

/** A backward call, checked. An output is an operand to write to, `true` to make it, or null. */
interface BackwardCall {
  readonly problem: Problem;
  readonly dy: Operand;
  readonly rstd: Float32Array | null;
  readonly dx: Operand | true | null;
  readonly dweight: Operand | true | null;
  readonly format: number;
}

function readBackward(
  dy: unknown,
  x: unknown,
  weight: unknown,
  rstd: unknown,
  options: BackwardOptions,
): BackwardCall {
  if (options !== noOptions) checkOptions(options, backwardNames);
  const problem = readProblem(x, weight, options);
  const { dxOut, dweightOut } = options;
  const needsDx = readFlag('needsDx', options.needsDx, true);
  const needsDweight = readFlag('needsDweight', options.needsDweight, problem.weight !== null);
  const accumulate = readFlag('accumulate', options.accumulate, false);
  refuse(dxOut !== undefined && !needsDx, 'dxOut', 'left out where needsDx is false', dxOut);
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
    dy: readLikeX('dy', dy, problem),
    rstd: rstd === null || rstd === undefined ? null : readRstd('rstd', rstd, problem),
    dx: (needsDx && (dxOut === undefined || readLikeX('dxOut', dxOut, problem))) || null,
    dweight:
      (needsDweight && (dweightOut === undefined || readDweightOut(dweightOut, problem))) || null,
    format: problem.format + (accumulate ? accumulateFlag : 0) + freshFloat32,
  };
}

function refuse(condition: boolean, name: string, expected: string, actual: unknown): void {
  if (condition) throw argumentError('ERR_INVALID_ARG_VALUE', name, expected, actual);
}

/**
 * The gradients of {@link rmsNorm}: `g = dy * weight`, `xhat = x * rstd`,
 * `dx = rstd * (g - xhat * mean(g * xhat))` and `dweight`, the sum over the rows of `dy * xhat`.
 *
 * @param dy - the gradient of y: of x's kind and length
 * @param x - the x of forward
 * @param weight - the weight of forward
 * @param rstd - (rows), from forward; null to recompute it from x with `eps`, to the same bits
 * @param options - those of forward, and see {@link BackwardOptions}
 * @returns dx and dweight: new arrays of the kinds of x and weight, or those given to receive them
 * @throws as {@link rmsNorm} does
 *
 * Both gradients come from one pass over x and dy. Their bits do not depend on the number of
 * threads.
 */
rmsNorm.backward = function backward<
  X extends Input,
  W extends Input | null,
  const O extends BackwardOptions = BackwardOptions,
>(
  dy: Input,
  x: X,
  weight: W,
  rstd?: Float32Array | null,
  options: O = noOptions as O,
): BackwardResult<X, W, O> {
  const call = readBackward(dy, x, weight, rstd, options);
  const { problem, format } = call;
  const { hiddenSize, settings } = problem;
  const dx =
    call.dx === true ? zeros(problem.x.kind, problem.x.data.length) : (call.dx?.data ?? null);
  const dweight =
    call.dweight === true
      ? zeros((problem.weight as Operand).kind, hiddenSize)
      : (call.dweight?.data ?? null);
  try {
    binding.backward(
      nativeView(call.dy.data),
      problem.nativeX,
      problem.nativeWeight,
      call.rstd,
      dx && nativeView(dx),
      dweight && nativeView(dweight),
      hiddenSize,
      settings.eps,
      settings.weightOffset,
      format,
    );
  } catch (error) {
    throw adoptNativeError(error);
  }
  return backwardResult(call, options, dx, dweight);
};

function backwardResult<X, W, O>(
  { problem, dx, dweight }: BackwardCall,
  options: BackwardOptions,
  dxData: FloatArray | null,
  dweightData: FloatArray | null,
): BackwardResult<X, W, O> {
  return {
    dx: dx && dxData && (options.dxOut ?? likeOperand(problem.x, dxData)),
    dweight:
      dweight &&
      dweightData &&
      (options.dweightOut ?? likeOperand(problem.weight as Operand, dweightData)),
  } as BackwardResult<X, W, O>;
}

/** The array over a buffer the addon made, or the data of the operand it wrote to. */
function written(
  fresh: ArrayBuffer | null,
  kind: ArrayKind,
  given: Operand | true | null,
): FloatArray | null {
  if (fresh !== null) return makeArray(kind, fresh);
  return given === true || given === null ? null : given.data;
}

async function runForwardAsync(
  { problem, out, rstdOut }: ForwardCall,
  wantsRstd: boolean,
): Promise<{ y: FloatArray; rstd: Float32Array | null }> {
  const { nativeX, nativeWeight, hiddenSize, settings, format } = problem;
  try {
    const [freshY, freshRstd] = await binding.forwardAsync(
      nativeX,
      nativeWeight,
      out === null || nativeView(out.data),
      rstdOut ?? (wantsRstd || null),
      hiddenSize,
      settings.eps,
      settings.weightOffset,
      format,
    );
    return {
      y: written(freshY, problem.x.kind, out) as FloatArray,
      rstd: freshRstd === null ? rstdOut : new Float32Array(freshRstd),
    };
  } catch (error) {
    throw adoptNativeError(error);
  }
}

/**
 * {@link rmsNorm} off the event loop: the same arguments and results, as a promise, which also
 * carries the errors.
 *
 * Arrays on a `SharedArrayBuffer` are used in place: do not change them before the promise settles.
 * Of all others a snapshot is taken at the call, so that their buffers may be changed, transferred
 * and resized meanwhile; `out` is written when the promise settles, and if it is gone by then the
 * promise rejects with `ERR_INVALID_ARG_VALUE`.
 */
rmsNorm.async = async function rmsNormAsync<X extends Input>(
  x: X,
  weight: Input | null,
  options: RmsNormOptions = noOptions,
): Promise<Output<X>> {
  const call = readForward(x, weight, options, rmsNormNames);
  const { y } = await runForwardAsync(call, false);
  return forwardOutput<X>(call, options, y);
};

/** {@link rmsNorm.forward} off the event loop, under the rules of {@link rmsNorm.async}. */
rmsNorm.forwardAsync = async function forwardAsync<X extends Input>(
  x: X,
  weight: Input | null,
  options: ForwardOptions = noOptions,
): Promise<ForwardResult<X>> {
  const call = readForward(x, weight, options, forwardNames);
  const { y, rstd } = await runForwardAsync(call, true);
  return { y: forwardOutput(call, options, y), rstd: rstd as Float32Array };
};

/**
 * {@link rmsNorm.backward} off the event loop, under the rules of {@link rmsNorm.async}. Of two calls
 * in flight that accumulate into one `dweightOut` the sum of one is lost: await the first.
 */
rmsNorm.backwardAsync = async function backwardAsync<
  X extends Input,
  W extends Input | null,
  const O extends BackwardOptions = BackwardOptions,
>(
  dy: Input,
  x: X,
  weight: W,
  rstd?: Float32Array | null,
  options: O = noOptions as O,
): Promise<BackwardResult<X, W, O>> {
  const call = readBackward(dy, x, weight, rstd, options);
  const { problem, format } = call;
  const native = (output: Operand | true | null) =>
    output === true || output === null ? output : nativeView(output.data);
  try {
    const [freshDx, freshDweight] = await binding.backwardAsync(
      nativeView(call.dy.data),
      problem.nativeX,
      problem.nativeWeight,
      call.rstd,
      native(call.dx),
      native(call.dweight),
      problem.hiddenSize,
      problem.settings.eps,
      problem.settings.weightOffset,
      format,
    );
    const dx = written(freshDx, problem.x.kind, call.dx);
    const dweight = written(freshDweight, problem.weight?.kind ?? 'Float32Array', call.dweight);
    return backwardResult(call, options, dx, dweight);
  } catch (error) {
    throw adoptNativeError(error);
  }
};
