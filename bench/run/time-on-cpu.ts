import { getNumThreads } from 'fused-rmsnorm';

import { makeArrays, type Arrays } from '../cases/arrays';
import { callShape, minimumBytes, type Case } from '../cases/cases';
import { Verifier } from '../cases/verify';
import { lastCacheBytes } from '../environment/machine';
import type { Schedule } from '../measure/measure';
import type { CallResult, CaseResult } from '../report/result';
import { callSubjects } from '../subjects/calls';
import { movers } from '../subjects/limits';
import { ourSubjects } from '../subjects/ours';
import { rivalSubject, type ChosenRival } from '../subjects/rivals/chosen';
import { poison, timeSubjects } from '../subjects/subject';

/**
 * Times this package, the limits and the rivals against each other, for a case on the CPU. Checks
 * the results before it takes any time, and again at the end. Throws WrongAnswer if one is wrong.
 */
export async function timeOnCpu(
  one: Case,
  rivals: readonly ChosenRival[],
  schedule: Schedule,
  onRound: () => void,
): Promise<CaseResult> {
  const sets = Array.from({ length: setCount(one) }, () => makeArrays(one));
  const verifier = new Verifier(one, sets[0] as Arrays);
  const subjects = [...ourSubjects(one, sets), ...movers(one, sets, getNumThreads())];
  const check = async () => {
    for (const subject of subjects) {
      if (subject.computes === 'movement') continue;
      sets.forEach(poison);
      await subject.run(sets.length);
      verifier.check(subject.name, await subject.results(), subject.computes);
    }
  };
  try {
    for (const chosen of rivals) {
      if (!chosen.rival.supports(one)) continue;
      for (const outputs of chosen.rival.outputs) {
        subjects.push(await rivalSubject(one, chosen, outputs, sets));
      }
    }
    return {
      ...{ ...one, device: 'cpu', sets: sets.length, minimumBytes: minimumBytes(one) },
      subjects: await timeSubjects(subjects, schedule, onRound, check),
    };
  } finally {
    for (const subject of subjects) await subject.dispose?.();
  }
}

/**
 * Number of sets of buffers that a case uses in turn. A case that fits the caches has one set,
 * which stays there, as between the layers of a model. A larger case must come from memory every
 * time, so its sets together are at least four times the last cache.
 */
export function setCount(one: Case, cacheBytes = lastCacheBytes()): number {
  const bytes = minimumBytes(one);
  return bytes <= cacheBytes ? 1 : Math.ceil((4 * cacheBytes) / bytes);
}

/** Duration of a visit: short, so that a disturbance of the machine affects few of them. */
const visitMs = 2;

/** Runs before a check: enough for V8 to compile a form before it is timed. */
const checkedRuns = 2 ** 13;

/** The copy that is timed beside the forms of a call. */
const copiedRow: Case = { op: 'forward', dtype: 'float32', castOrder: 'llama', ...callShape };

/** Times the forms of a call, and a copy of as many bytes. Throws WrongAnswer as `timeOnCpu` does. */
export async function timeCalls(schedule: Schedule, onRound: () => void): Promise<CallResult> {
  const calls = callSubjects();
  const subjects = [...calls, ...movers(copiedRow, [makeArrays(copiedRow)], 1)];
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
