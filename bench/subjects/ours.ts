import { createPlan, rmsNorm, type DeviceBuffer, type Plan, type Stream } from 'fused-rmsnorm';

import type { Arrays, CodesOf, Elements } from '../cases/arrays';
import { eps, isBasic, type Case, type BasicOp } from '../cases/cases';
import { answerIn, type Answer } from '../cases/verify';
import { inTurn, timed } from '../measure/measure';
import type { CaseSubject, OutputMode } from './subject';

/** One set of a case's memory: arrays, or buffers of a GPU. */
export type MemorySet<Memory> = Readonly<
  Record<Exclude<keyof Arrays, 'rstd' | 'scales' | 'codes'>, Memory>
> & {
  readonly rstd: Arrays['rstd'] | DeviceBuffer;
  readonly scales: Memory & (Arrays['scales'] | DeviceBuffer);
  readonly codes: CodesOf<Memory>;
};

/** Computes a case on one set, or enqueues it. */
export type Call<Memory = Elements> = () => Answer<Memory>;

/** The stream on which calls on buffers are enqueued. */
interface Where {
  readonly stream?: Stream;
}

/** Every way to call the package for a case. The sets of arrays are used in turn. */
export function ourSubjects(one: Case, sets: readonly Arrays[]): CaseSubject[] {
  const calls = (makeCall: (one: Case, arrays: Arrays) => Call) =>
    sets.map((arrays) => makeCall(one, arrays));
  return [
    ourSubject('ours', 'given', calls(intoExisting)),
    ourSubject('ours fresh', 'fresh', calls(intoNew)),
    ...(isBasic(one) ? [ourSubject('ours plan', 'given', calls(byPlan))] : []),
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
  const what = { role: 'ours', computes: 'rms-norm', outputs } as const;
  return { name, ...what, run: inTurn(runs), results: () => last };
}

/** The CPU's results of a case. A GPU must give the same bits. */
export function answerOfCpu(one: Case, arrays: Arrays): Answer {
  return intoExisting<Elements>(one, arrays)();
}

/** A call that writes the results into existing memory. */
export function intoExisting<Memory extends Elements | DeviceBuffer>(
  one: Case,
  set: MemorySet<Memory>,
  where: Where = {},
): Call<Memory> {
  const { x, weight, out, dy, rstd, dweight, residual, sum, gate } = set;
  const { op, dtype, castOrder } = one;
  const answer = answerIn(one, set);
  if (op === 'backward') {
    const options = { dtype, castOrder, dxOut: out, dweightOut: dweight, ...where };
    return () => {
      rmsNorm.backward(dy, x, weight, rstd, options);
      return answer;
    };
  }
  if (op === 'quantize') {
    const outputs = { out: set.codes, scaleOut: set.scales, rstdOut: rstd };
    const options = { dtype, castOrder, eps, quantize: 'int8', ...outputs, ...where } as const;
    return () => {
      rmsNorm.forward(x, weight, options);
      return answer;
    };
  }
  const more = {
    ...(op === 'residual' && { residual, sumOut: sum }),
    ...(op === 'gated' && { gate }),
  };
  const options = { dtype, castOrder, eps, out, ...more, ...where };
  return () => {
    rmsNorm(x, weight, options);
    return answer;
  };
}

/** A call that allocates memory for the results. */
export function intoNew<Memory extends Elements | DeviceBuffer>(
  { op, dtype, castOrder }: Case,
  { x, weight, dy, rstd, residual, gate }: MemorySet<Memory>,
  where: Where = {},
): Call<Memory> {
  const options = { dtype, castOrder, eps, ...where };
  if (op === 'forward') return () => ({ y: rmsNorm(x, weight, options) as Memory });
  if (op === 'gated') return () => ({ y: rmsNorm(x, weight, { ...options, gate }) as Memory });
  if (op === 'backward') {
    return () => {
      const { dx, dweight } = rmsNorm.backward(dy, x, weight, rstd, options);
      return { dx, dweight } as Answer<Memory>;
    };
  }
  if (op === 'quantize') {
    return () => {
      const results = rmsNorm.forward(x, weight, { ...options, quantize: 'int8' });
      const { y: codes, scale: scales, rstd: rstds } = results;
      return { codes, scales, rstd: rstds } as unknown as Answer<Memory>;
    };
  }
  return () => {
    const { y, sum, rstd: rstds } = rmsNorm.forward(x, weight, { ...options, residual });
    return { y, sum, rstd: rstds } as unknown as Answer<Memory>;
  };
}

/** A plan for a case that plans support: see `isBasic`. */
export function planOf<Memory extends Elements | DeviceBuffer>(
  { rows, dtype, castOrder }: Case,
  { weight }: MemorySet<Memory>,
  where: Where = {},
): Plan<Memory> {
  const plan: unknown = createPlan({ rows, weight, dtype, castOrder, eps, ...where });
  return plan as Plan<Memory>;
}

/** A call by a plan, which has checked everything but the memory before. */
export function byPlan<Memory extends Elements | DeviceBuffer>(
  one: Case,
  set: MemorySet<Memory>,
  plan: Plan<Memory> = planOf(one, set),
): Call<Memory> {
  const { x, out, dy, dweight, residual, sum } = set;
  const rstd = set.rstd as Memory;
  const answer = answerIn(one, set);
  const calls: Readonly<Record<BasicOp, Call<Memory>>> = {
    forward: () => {
      plan.forward(x, out);
      return answer;
    },
    residual: () => {
      plan.forward(x, out, null, residual, sum);
      return answer;
    },
    backward: () => {
      plan.backward(dy, x, rstd, out, dweight);
      return answer;
    },
  };
  return calls[one.op as BasicOp];
}
