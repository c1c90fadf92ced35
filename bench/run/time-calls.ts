import { makeArrays } from '../cases/arrays';
import { callShape } from '../cases/cases';
import type { Schedule } from '../measure/measure';
import type { CallResult } from '../report/result';
import { callSubjects } from '../subjects/calls';
import { movers } from '../subjects/limits';
import { timeSubjects } from '../subjects/subject';

/** How long a visit takes: short, so that what the machine does meanwhile hits few of them. */
const visitMs = 2;

/** Runs before a check: so many that V8 has compiled a form before it is timed. */
const checkedRuns = 2 ** 13;

/** Times the forms of a call, and a copy of as many bytes. Throws WrongAnswer as `timeOnCpu` does. */
export async function timeCalls(schedule: Schedule, onRound: () => void): Promise<CallResult> {
  const copied = { op: 'forward', dtype: 'float32', ...callShape } as const;
  const calls = callSubjects();
  const subjects = [...calls, ...movers(copied, [makeArrays(copied)], 1)];
  const check = async () => {
    for (const call of calls) {
      call.clear();
      await call.run(checkedRuns);
      call.check();
    }
  };
  const { rounds, ms } = schedule;
  const visits = Math.max(1, Math.round(ms / (rounds * subjects.length * visitMs)));
  const results = await timeSubjects(subjects, { rounds, ms, visits }, onRound, check);
  return { ...callShape, device: 'cpu', subjects: results };
}
