import { readFileSync } from 'node:fs';

import { callName, caseName } from '../cases/cases';
import { Failure } from '../environment/failure';
import type { Summary } from '../measure/statistics';
import { limitOf, schemaVersion, type Report } from './result';

/** The time of a subject, compared with its time in an earlier run. */
export interface Change {
  /** The names of the case, its device and the subject. */
  readonly name: string;
  readonly now: Summary;
  readonly before: Summary;
  /**
   * The ratio of the times now and before, each as a multiple of the limit's in the same run. So
   * changes of the machine's speed cancel. Above 1 is slower.
   */
  readonly ofMultiple: number;
  readonly hasMoved: boolean;
}

/** The smallest change of a median that counts, as a fraction. */
const threshold = 0.05;

/** Reads a report that `--json` wrote. Throws Failure. */
export function readReport(file: string): Report {
  let report: Partial<Report> | null;
  try {
    report = JSON.parse(readFileSync(file, 'utf8')) as Partial<Report> | null;
  } catch (error) {
    throw new Failure(`The baseline '${file}' cannot be read: ${(error as Error).message}`);
  }
  const version: unknown = report?.schemaVersion;
  if (typeof version !== 'number' || !Array.isArray(report?.cases)) {
    throw new Failure(`The baseline '${file}' is not a report of 'fused-rmsnorm bench --json'.`);
  }
  if (version === schemaVersion) return report as Report;
  throw new Failure(
    `The baseline '${file}' has format ${version}, and this version reads format ${schemaVersion}: ` +
      'measure it again with this version.',
  );
}

/** Compares every case, call form and subject that both runs have, except the limits. */
export function compareReports(now: Report, before: Report): Change[] {
  const earlier = timesOf(before);
  return Array.from(timesOf(now), ([name, { time, limit }]): Change[] => {
    const old = earlier.get(name);
    if (old === undefined) return [];
    const multiples = [multiplesOf(time, limit), multiplesOf(old.time, old.limit)] as const;
    const ofMultiple = multiples[0].median / multiples[1].median;
    return [{ name, now: time, before: old.time, ofMultiple, hasMoved: hasMoved(...multiples) }];
  }).flat();
}

/** The times of a report's subjects by their names, each with the time of its limit. */
function timesOf({ cases, calls }: Report): Map<string, { time: Summary; limit: Summary }> {
  const named = [
    ...cases.map((result) => [caseName(result), result] as const),
    ...calls.map((result) => [callName(result), result] as const),
  ];
  const times = named.flatMap(([name, result]) =>
    result.subjects
      .filter(({ role }) => role !== 'limit')
      .map((subject) => {
        const times = { time: subject.time, limit: limitOf(result).time };
        return [`${name} ${result.device}, ${subject.name}`, times] as const;
      }),
  );
  return new Map(times);
}

/** A time or a ratio of times: a median and its spread. */
export type Spread = Omit<Summary, 'samples'>;

/** A time as a multiple of the limit's. Its spread is the widest that both spreads allow. */
export function multiplesOf(time: Spread, limit: Spread): Spread {
  return {
    median: time.median / limit.median,
    lowerQuartile: time.lowerQuartile / limit.upperQuartile,
    upperQuartile: time.upperQuartile / limit.lowerQuartile,
    min: time.min / limit.max,
    max: time.max / limit.min,
  };
}

/**
 * Whether two values differ by more than noise: their medians differ by at least 5%, and the middle
 * half of each lies outside the whole range of the other.
 */
export function hasMoved(now: Spread, before: Spread): boolean {
  const isFar = Math.abs(Math.log(now.median / before.median)) >= Math.log(1 + threshold);
  return isFar && (isBeyond(now, before) || isBeyond(before, now));
}

function isBeyond(higher: Spread, lower: Spread): boolean {
  return higher.lowerQuartile > lower.max && lower.upperQuartile < higher.min;
}
