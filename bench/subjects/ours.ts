import { createPlan, rmsNorm } from 'fused-rmsnorm';

import type { Arrays } from '../cases/arrays';
import { eps, type Case } from '../cases/cases';
import { caller, type Contender } from '../measure/measure';
import type { Answer } from '../cases/verify';

/** A way to call this package. */
export interface OurContender extends Contender {
  /** Of the last run. */
  answer(): Answer;
}

/** Computes a case on one set of arrays. */
type Call = () => Answer;

/** Every way to call the package for a case, on sets of arrays that are taken in turn. */
export function ourContenders(one: Case, sets: readonly Arrays[]): OurContender[] {
  return [
    contender('ours', sets, (arrays) => intoGiven(one, arrays)),
    contender('ours fresh', sets, (arrays) => intoFresh(one, arrays)),
    contender('ours plan', sets, (arrays) => byPlan(one, arrays)),
  ];
}

function contender(
  name: string,
  sets: readonly Arrays[],
  makeCall: (arrays: Arrays) => Call,
): OurContender {
  let last: Answer = {};
  const calls = sets.map(makeCall).map((call) => () => {
    last = call();
  });
  return { ...caller(name, calls), answer: () => last };
}

/** Into memory that is there already. */
function intoGiven({ op, dtype }: Case, arrays: Arrays): Call {
  const { x, weight, out, dy, rstd, dweight, residual, sum } = arrays;
  if (op === 'forward') {
    const options = { dtype, eps, out };
    const answer = { y: out };
    return () => {
      rmsNorm(x, weight, options);
      return answer;
    };
  }
  if (op === 'residual') {
    const options = { dtype, eps, out, residual, sumOut: sum };
    const answer = { y: out, sum };
    return () => {
      rmsNorm(x, weight, options);
      return answer;
    };
  }
  const options = { dtype, dxOut: out, dweightOut: dweight };
  const answer = { dx: out, dweight };
  return () => {
    rmsNorm.backward(dy, x, weight, rstd, options);
    return answer;
  };
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
function byPlan({ op, rows, dtype }: Case, arrays: Arrays): Call {
  const { x, weight, out, dy, rstd, dweight, residual, sum } = arrays;
  const plan = createPlan({ rows, weight, dtype, eps });
  if (op === 'forward') {
    const answer = { y: out };
    return () => {
      plan.forward(x, out);
      return answer;
    };
  }
  if (op === 'residual') {
    const answer = { y: out, sum };
    return () => {
      plan.forward(x, out, null, residual, sum);
      return answer;
    };
  }
  const answer = { dx: out, dweight };
  return () => {
    plan.backward(dy, x, rstd, out, dweight);
    return answer;
  };
}
