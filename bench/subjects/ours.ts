import { createPlan, rmsNorm } from 'fused-rmsnorm';

import type { Arrays } from '../cases/arrays';
import { eps, type Case } from '../cases/cases';
import { answerIn, type Answer } from '../cases/verify';
import { inTurn, timed } from '../measure/measure';
import type { CaseSubject, OutputMode } from './subject';

/** Computes a case on one set of arrays. */
type Call = () => Answer;

/** Every way to call the package for a case, on sets of arrays that are taken in turn. */
export function ourSubjects(one: Case, sets: readonly Arrays[]): CaseSubject[] {
  const calls = (makeCall: (one: Case, arrays: Arrays) => Call) =>
    sets.map((arrays) => makeCall(one, arrays));
  return [
    ourSubject('ours', 'given', calls(intoGiven)),
    ourSubject('ours fresh', 'fresh', calls(intoFresh)),
    ourSubject('ours plan', 'given', calls(byPlan)),
  ];
}

function ourSubject(name: string, outputs: OutputMode, calls: readonly Call[]): CaseSubject {
  let last: Answer = {};
  const runs = calls.map(
    (call) => (repeats: number) =>
      timed(repeats, () => {
        last = call();
      }),
  );
  return {
    name,
    role: 'ours',
    computes: 'rms-norm',
    outputs,
    run: inTurn(runs),
    results: () => last,
  };
}

/** Into memory that is there already. */
function intoGiven(one: Case, arrays: Arrays): Call {
  const { x, weight, out, dy, rstd, dweight, residual, sum } = arrays;
  const { op, dtype } = one;
  const answer = answerIn(one, arrays);
  if (op === 'backward') {
    const options = { dtype, dxOut: out, dweightOut: dweight };
    return () => {
      rmsNorm.backward(dy, x, weight, rstd, options);
      return answer;
    };
  }
  const options = { dtype, eps, out, ...(op === 'residual' && { residual, sumOut: sum }) };
  return () => {
    rmsNorm(x, weight, options);
    return answer;
  };
}

/** The CPU's results of a case, of which a GPU has every bit. */
export function answerOfCpu(one: Case, arrays: Arrays): Answer {
  return intoGiven(one, arrays)();
}

/** Into memory that each call makes for its results. */
function intoFresh({ op, dtype }: Case, arrays: Arrays): Call {
  const { x, weight, dy, rstd, residual } = arrays;
  if (op === 'forward') {
    const options = { dtype, eps };
    return () => ({ y: rmsNorm(x, weight, options) });
  }
  if (op === 'residual') {
    const options = { dtype, eps, residual };
    return () => rmsNorm.forward(x, weight, options);
  }
  const options = { dtype };
  return () => rmsNorm.backward(dy, x, weight, rstd, options);
}

/** Into memory that is there already, with all else checked before. */
export function byPlan(one: Case, arrays: Arrays): Call {
  const { x, weight, out, dy, rstd, dweight, residual, sum } = arrays;
  const { op, rows, dtype } = one;
  const plan = createPlan({ rows, weight, dtype, eps });
  const answer = answerIn(one, arrays);
  if (op === 'forward') {
    return () => {
      plan.forward(x, out);
      return answer;
    };
  }
  if (op === 'residual') {
    return () => {
      plan.forward(x, out, null, residual, sum);
      return answer;
    };
  }
  return () => {
    plan.backward(dy, x, rstd, out, dweight);
    return answer;
  };
}
