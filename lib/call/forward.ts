import { argumentError } from '../core/errors';
import type { Call } from './call';
import type { KnownOptions } from './known-options';
import { forwardOperation, forwardRules } from './operations';
import { readCall, type Preset } from './read-call';
import { readX, sourceOf } from './tensor';

/** The outputs besides y that a forward allocates if the caller does not pass them. */
export interface AllocatedOutputs {
  readonly rstd: boolean;
  /** Applies only to a call with a residual. */
  readonly sum: boolean;
  /** Applies only if y is quantised and each row has its own scale. */
  readonly scale: boolean;
}

export const onlyY: AllocatedOutputs = { rstd: false, sum: false, scale: false };
export const allOutputs: AllocatedOutputs = { rstd: true, sum: true, scale: true };

/**
 * Reads and checks a call of forward. `known`: the options that the calling function accepts. `allocated`:
 * the outputs that this function returns besides y. `preset`: the values of the options that a module sets.
 */
export function readForward(
  x: unknown,
  weight: unknown,
  options: object,
  known: KnownOptions,
  allocated: AllocatedOutputs,
  preset?: Preset,
): Call {
  const call = readCall(forwardOperation, readX(x), weight, options, known, preset);
  const { out, rstdOut, sumOut, scaleOut } = forwardRules;
  if (call.out === undefined) call.allocateBits |= out.bit;
  if (call.rstdOut === undefined && allocated.rstd) call.allocateBits |= rstdOut.bit;
  const hasRowScales = call.quantization?.scale === 0;
  if (hasRowScales && allocated.scale && call.scaleOut === undefined)
    call.allocateBits |= scaleOut.bit;
  if (call.residual === undefined) {
    if (call.sumOut !== undefined) throw unexpectedSumOutError(sourceOf(call.sumOut));
  } else if (call.sumOut === undefined) {
    if (!allocated.sum) throw missingSumOutError();
    call.allocateBits |= sumOut.bit;
  }
  return call;
}

function unexpectedSumOutError(sumOut: unknown): Error {
  const expected = "omitted unless 'residual' is given";
  return argumentError('ERR_INVALID_ARG_VALUE', 'sumOut', expected, sumOut);
}

function missingSumOutError(): Error {
  const expected = "given if 'residual' is given; rmsNorm.forward allocates and returns one";
  return argumentError('ERR_INVALID_ARG_VALUE', 'sumOut', expected, undefined);
}
