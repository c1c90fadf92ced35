import { argumentError } from '../core/errors';
import { beginCall } from './begin';
import type { Call } from './call';
import { readOperand } from './operands';
import { forwardOperation, forwardRules } from './operations';
import { readOptions, type GivenOptions, type KnownOptions } from './read-options';
import { readX, type Argument } from './tensor';

/** `makesAll`: whether the function returns rstd and the sum, be there memory for them or not. */
export function readForward(
  x: unknown,
  weight: unknown,
  options: object,
  known: KnownOptions,
  makesAll: boolean,
): Call {
  const given = readOptions(options, known);
  return forwardCall(readX(x), weight, given, makesAll, makesAll);
}

/** The same of options and an x that have been read. `dtype`: what is said of x. */
export function forwardCall(
  x: Argument,
  weight: unknown,
  options: Readonly<GivenOptions>,
  makesRstd: boolean,
  makesSum: boolean,
  dtype: unknown = options.dtype,
): Call {
  const { out, rstdOut, residual, sumOut } = options;
  const call = beginCall(forwardOperation, x, weight, options, dtype, false);
  if (sumOut !== undefined && residual === undefined) throw strayError(sumOut);
  if (out !== undefined) call.out = readOperand(call, forwardRules.out, out);
  else call.made |= forwardRules.out.bit;
  if (rstdOut !== undefined) call.rstdOut = readOperand(call, forwardRules.rstdOut, rstdOut);
  else if (makesRstd) call.made |= forwardRules.rstdOut.bit;
  if (residual === undefined) return call;
  if (sumOut === undefined && !makesSum) throw missingSumError();
  call.residual = readOperand(call, forwardRules.residual, residual);
  if (sumOut !== undefined) call.sumOut = readOperand(call, forwardRules.sumOut, sumOut);
  else call.made |= forwardRules.sumOut.bit;
  return call;
}

function strayError(given: unknown): Error {
  const expected = 'left out where there is no residual';
  return argumentError('ERR_INVALID_ARG_VALUE', 'sumOut', expected, given);
}

function missingSumError(): Error {
  const expected = 'given where residual is; rmsNorm.forward makes and returns one';
  return argumentError('ERR_INVALID_ARG_VALUE', 'sumOut', expected, undefined);
}
