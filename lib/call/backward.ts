import { argumentError } from '../core/errors';
import type { Call } from './call';
import { backwardOptions } from './known-options';
import { readOperand, readOptional } from './operands';
import { backwardOperation, backwardRules, type OperandName, type OperandRule } from './operations';
import { readCall, type Preset } from './read-call';
import { sourceOf, type Argument } from './tensor';

/** Reads and checks a call of backward. `x` has been read already. */
export function readBackward(
  dy: unknown,
  x: Argument,
  weight: unknown,
  rstd: unknown,
  options: object,
  preset?: Preset,
): Call {
  const call = readCall(backwardOperation, x, weight, options, backwardOptions, preset);
  checkNeeds(call);
  call.dy = readOperand(call, backwardRules.dy, dy);
  call.rstd = readOptional(call, backwardRules.rstd, rstd);
  if (call.needsDx && call.dxOut === undefined) call.made |= backwardRules.dxOut.bit;
  if (call.needsDweight && call.dweightOut === undefined) call.made |= backwardRules.dweightOut.bit;
  const needsDgate = call.needsDx && call.gate !== undefined;
  if (needsDgate && call.dgateOut === undefined) call.made |= backwardRules.dgateOut.bit;
  return call;
}

/** The rule of dweightOut with the name that messages show for a module's weightGrad. */
const weightGrad: OperandRule = { ...backwardRules.dweightOut, name: 'weightGrad' as OperandName };

/** Makes a call that has been read add dweight to `sums`, a module's weightGrad. */
export function addDWeightTo(call: Call, sums: unknown): void {
  call.dweightOut = readOperand(call, weightGrad, sums);
  call.made &= ~backwardRules.dweightOut.bit;
  call.accumulate = true;
}

/** Refuses options that contradict each other. */
function checkNeeds(call: Call): void {
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
