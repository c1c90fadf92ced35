import { argumentError } from '../core/errors';
import { readFlag } from '../core/validate';
import { beginCall } from './begin';
import type { Call } from './call';
import { readOperand, readOptional } from './operands';
import { backwardOperation, backwardRules } from './operations';
import { backwardOptions, readOptions, type GivenOptions } from './read-options';
import { readX, type Argument } from './tensor';

export function readBackward(
  dy: unknown,
  x: unknown,
  weight: unknown,
  rstd: unknown,
  options: object,
): Call {
  const given = readOptions(options, backwardOptions);
  return backwardCall(dy, readX(x), weight, rstd, given);
}

/** The same of options and an x that have been read. */
export function backwardCall(
  dy: unknown,
  x: Argument,
  weight: unknown,
  rstd: unknown,
  options: Readonly<GivenOptions>,
): Call {
  const { dxOut, dweightOut, dsum } = options;
  const accumulate = readFlag('accumulate', options.accumulate, false);
  const call = beginCall(backwardOperation, x, weight, options, options.dtype, accumulate);
  const needsDx = readFlag('needsDx', options.needsDx, true);
  const needsDweight = readFlag('needsDweight', options.needsDweight, call.weight !== undefined);
  checkNeeds(call, options, needsDx, needsDweight);
  call.dy = readOperand(call, backwardRules.dy, dy);
  call.rstd = readOptional(call, backwardRules.rstd, rstd);
  if (dxOut !== undefined) call.dxOut = readOperand(call, backwardRules.dxOut, dxOut);
  else if (needsDx) call.made |= backwardRules.dxOut.bit;
  if (dweightOut !== undefined) {
    call.dweightOut = readOperand(call, backwardRules.dweightOut, dweightOut);
  } else if (needsDweight) {
    call.made |= backwardRules.dweightOut.bit;
  }
  if (dsum !== undefined) call.dsum = readOperand(call, backwardRules.dsum, dsum);
  return call;
}

/** Refuses options that do not go together. */
function checkNeeds(
  { weight, accumulate }: Call,
  { dxOut, dweightOut, dsum }: Readonly<GivenOptions>,
  needsDx: boolean,
  needsDweight: boolean,
): void {
  const withoutDx = 'left out where needsDx is false';
  if (!needsDx && dxOut !== undefined) refuse('dxOut', withoutDx, dxOut);
  if (!needsDx && dsum !== undefined) refuse('dsum', withoutDx, dsum);
  if (!needsDweight && dweightOut !== undefined) {
    refuse('dweightOut', 'left out where dweight is not computed', dweightOut);
  }
  if (needsDweight && weight === undefined) {
    refuse('needsDweight', 'false where weight is null', needsDweight);
  }
  if (accumulate && dweightOut === undefined) {
    refuse('accumulate', 'false where there is no dweightOut to add to', accumulate);
  }
}

function refuse(name: string, expected: string, actual: unknown): never {
  throw argumentError('ERR_INVALID_ARG_VALUE', name, expected, actual);
}
