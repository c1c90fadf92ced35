import { argumentError } from '../core/errors';
import type { Call } from './call';
import type { KnownOptions } from './known-options';
import { forwardOperation, forwardRules } from './operations';
import { readCall, type Preset } from './read-call';
import { readX, sourceOf } from './tensor';

/** The outputs besides y that a forward allocates if the caller passes none. */
export interface ForwardOutputs {
  readonly rstd: boolean;
  readonly sum: boolean;
  /** Only if each row has its own scale. */
  readonly scale: boolean;
}

export const onlyY: ForwardOutputs = { rstd: false, sum: false, scale: false };
export const allOutputs: ForwardOutputs = { rstd: true, sum: true, scale: true };

export function readForward(
  x: unknown,
  weight: unknown,
  options: object,
  known: KnownOptions,
  makes: ForwardOutputs,
  preset?: Preset,
): Call {
  const call = readCall(forwardOperation, readX(x), weight, options, known, preset);
  const { out, rstdOut, sumOut, scaleOut } = forwardRules;
  if (call.out === undefined) call.made |= out.bit;
  if (call.rstdOut === undefined && makes.rstd) call.made |= rstdOut.bit;
  const hasScales = call.quantization?.scale === 0;
  if (hasScales && makes.scale && call.scaleOut === undefined) call.made |= scaleOut.bit;
  if (call.residual === undefined) {
    if (call.sumOut !== undefined) throw strayError(sourceOf(call.sumOut));
  } else if (call.sumOut === undefined) {
    if (!makes.sum) throw missingSumError();
    call.made |= sumOut.bit;
  }
  return call;
}

function strayError(given: unknown): Error {
  const expected = "omitted unless 'residual' is given";
  return argumentError('ERR_INVALID_ARG_VALUE', 'sumOut', expected, given);
}

function missingSumError(): Error {
  const expected = "given if 'residual' is given; rmsNorm.forward allocates and returns one";
  return argumentError('ERR_INVALID_ARG_VALUE', 'sumOut', expected, undefined);
}
