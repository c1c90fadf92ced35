import { argumentError } from '../core/errors';
import type { Call } from './call';
import { backwardOptions } from './known-options';
import { readOperand, readOptional } from './operands';
import { backwardOperation, backwardRules, type OperandName, type OperandRule } from './operations';
import { readCall, type Preset } from './read-call';
import { sourceOf, type Argument } from './tensor';

/**
 * Reads and checks a call of backward. `x` has been read already, since a module passes the x that its
 * forward read. `preset`: the values of the options that a module sets.
 */
export function readBackward(
  dy: unknown,
  x: Argument,
  weight: unknown,
  rstd: unknown,
  options: object,
  preset?: Preset,
): Call {
  const call = readCall(backwardOperation, x, weight, options, backwardOptions, preset);
  checkConsistency(call);
  call.dy = readOperand(call, backwardRules.dy, dy);
  call.rstd = readOptional(call, backwardRules.rstd, rstd);
  if (call.needsDx && call.dxOut === undefined) call.allocateBits |= backwardRules.dxOut.bit;
  if (call.needsDweight && call.dweightOut === undefined)
    call.allocateBits |= backwardRules.dweightOut.bit;
  const needsDgate = call.needsDx && call.gate !== undefined;
  if (needsDgate && call.dgateOut === undefined) call.allocateBits |= backwardRules.dgateOut.bit;
  return call;
}

/** The rule of dweightOut, with the name `weightGrad` for error messages. */
const weightGradRule: OperandRule = {
  ...backwardRules.dweightOut,
  name: 'weightGrad' as OperandName,
};

/** Makes a call of backward add its dweight to `weightGrad`, the array or buffer of a module. */
export function accumulateInto(call: Call, weightGrad: unknown): void {
  call.dweightOut = readOperand(call, weightGradRule, weightGrad);
  call.allocateBits &= ~backwardRules.dweightOut.bit;
  call.accumulate = true;
}

/** Refuses options that contradict each other, such as `dxOut` with `needsDx: false`. */
function checkConsistency(call: Call): void {
  const { weight, needsDx, needsDweight, accumulate, dxOut, dweightOut, dsum } = call;
  const { gate, dgateOut } = call;
  const withoutDx = 'omitted if needsDx is false';
  if (!needsDx && dxOut !== undefined) refuse('dxOut', withoutDx, sourceOf(dxOut));
  if (!needsDx && dsum !== undefined) refuse('dsum', withoutDx, sourceOf(dsum));
  if (!needsDx && dgateOut !== undefined) refuse('dgateOut', withoutDx, sourceOf(dgateOut));
  if (gate === undefined && dgateOut !== undefined) {
    refuse('dgateOut', "omitted unless 'gate' is given", sourceOf(dgateOut));
  }
  if (!needsDweight && dweightOut !== undefined) {
    refuse(
      'dweightOut',
      'omitted if needsDweight is false or weight is null',
      sourceOf(dweightOut),
    );
  }
  if (needsDweight && weight === undefined) {
    refuse('needsDweight', 'false if weight is null', needsDweight);
  }
  if (accumulate && dweightOut === undefined) {
    refuse('accumulate', "false unless 'dweightOut' is given", accumulate);
  }
}

function refuse(name: string, expected: string, actual: unknown): never {
  throw argumentError('ERR_INVALID_ARG_VALUE', name, expected, actual);
}
