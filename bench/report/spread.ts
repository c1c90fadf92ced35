// Decides by the spread of the times whether a run can be trusted.

import { limitOf, oursOf, type Report } from './result';
import type { SubjectResult } from '../subjects/subject';

/** Quartiles are wide if they are further apart than this fraction of their median. */
const widest = 0.2;

function isWide({ time }: SubjectResult): boolean {
  return time.upperQuartile - time.lowerQuartile > widest * time.median;
}

/**
 * One line if any case has wide quartiles, in our time or in the limit's, since the tables show
 * their ratio. A form of a call counts as a case.
 */
export function busyMachineLines({ cases, calls }: Report): string[] {
  const ofCases = cases.map((result) => isWide(oursOf(result)) || isWide(limitOf(result)));
  const ofCalls = calls.flatMap(({ subjects }) =>
    subjects.filter(({ role }) => role === 'ours').map(isWide),
  );
  const all = [...ofCases, ...ofCalls];
  const wide = all.filter(Boolean).length;
  if (wide === 0) return [];
  const count = `${wide} of ${all.length} cases`;
  return [`Busy machine: quartiles of ${count} are wider than ${100 * widest}%. Repeat the run.`];
}
