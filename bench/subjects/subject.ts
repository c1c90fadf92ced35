import type { Arrays } from '../cases/arrays';
import type { Answer, Norm } from '../cases/verify';
import { measure, type Schedule, type Subject } from '../measure/measure';
import type { Summary } from '../measure/statistics';

/** Where a result is written: into memory that is there already, or into some made by the call. */
export type OutputMode = 'given' | 'fresh';

/** What is said of a subject beside its time. */
interface Description {
  readonly name: string;
  readonly role: 'ours' | 'limit' | 'rival';
  readonly computes: Norm | 'movement';
  readonly outputs: OutputMode;
}

/** Ours, what limits it, or a rival. */
export type TimedSubject = Subject & Description;

/** A subject of a case on the CPU. */
export interface CaseSubject extends TimedSubject {
  /** What the last run computed: nothing of a movement. */
  results(): Answer | Promise<Answer>;
  dispose?(): Promise<void>;
}

/** The figures of a subject. */
export interface SubjectResult extends Description {
  /** Nanoseconds of one run. */
  readonly time: Summary;
}

/** Times subjects against each other, between two checks of what they compute. */
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
 * So that what is not written is seen: all bits set are a NaN of every dtype, and no code of a row with
 * a scale of its own is -128.
 */
export function poison({ out, dweight, sum, codes, scales }: Arrays): void {
  for (const { buffer } of [out, dweight, sum, scales]) new Uint8Array(buffer).fill(0xff);
  codes.fill(-128);
}
