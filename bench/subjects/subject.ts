import type { Arrays } from '../cases/arrays';
import type { Answer, Norm } from '../cases/verify';
import { measure, type Schedule, type Subject } from '../measure/measure';
import type { Summary } from '../measure/statistics';

/** Where a call writes its results: into existing memory (`'given'`), or into new memory (`'fresh'`). */
export type OutputMode = 'given' | 'fresh';

/** The properties of a subject that are reported besides its time. */
interface Description {
  readonly name: string;
  readonly role: 'ours' | 'limit' | 'rival';
  readonly computes: Norm | 'movement';
  readonly outputs: OutputMode;
}

/** This package, a limit, or a rival. */
export type TimedSubject = Subject & Description;

/** A subject of a case on the CPU. */
export interface CaseSubject extends TimedSubject {
  /** The results of the last run; none for a movement. */
  results(): Answer | Promise<Answer>;
  dispose?(): Promise<void>;
}

/** The figures of a subject. */
export interface SubjectResult extends Description {
  /** Nanoseconds of one run. */
  readonly time: Summary;
}

/** Times subjects against each other. Checks their results before and after. */
export async function timeSubjects(
  subjects: readonly TimedSubject[],
  schedule: Schedule,
  onRound: () => void,
  check: () => void | Promise<void>,
): Promise<SubjectResult[]> {
  await check();
  const times = await measure(subjects, schedule, onRound);
  await check();
  return subjects.map(({ name, role, computes, outputs }, i) => ({
    ...{ name, role, computes, outputs },
    time: times[i] as Summary,
  }));
}

/**
 * Overwrites the results, so that a check notices elements that a run does not write. All bits set
 * are a NaN of every dtype. No code is -128 in a row with its own scale.
 */
export function poison({ out, dweight, sum, codes, scales }: Arrays): void {
  for (const { buffer } of [out, dweight, sum, scales]) new Uint8Array(buffer).fill(0xff);
  codes.fill(-128);
}
