import { readFileSync } from 'node:fs';

import { Failure } from '../environment/failure';
import { limitOf, type CaseResult, type Entry, type Report } from './result';
import type { Summary } from '../measure/statistics';

/** How one contender's time at one case compares with that of an earlier run. */
export interface Change {
  readonly result: CaseResult;
  readonly entry: Entry;
  readonly before: Entry;
  /** Its time over that of before: above 1 is slower. */
  readonly ofTime: number;
  /** The same of its time as a multiple of the limit's in the same run: what the machine does cancels. */
  readonly ofMultiple: number;
  readonly hasMoved: boolean;
}

/** What a time must change by, at least, to have moved. */
const threshold = 0.05;

/** A report that `--json` wrote. Throws Failure. */
export function readReport(file: string): Report {
  let report: Partial<Report>;
  try {
    report = JSON.parse(readFileSync(file, 'utf8')) as Partial<Report>;
  } catch (error) {
    throw new Failure(`The baseline '${file}' can not be read: ${(error as Error).message}`);
  }
  if (report.schemaVersion === 1 && Array.isArray(report.cases)) return report as Report;
  throw new Failure(`The baseline '${file}' is no report of this version's 'bench --json'.`);
}

/** Of every contender, but for the limits, of every case that both runs have. */
export function compareReports(now: Report, before: Report): Change[] {
  const earlier = new Map(before.cases.map((result) => [keyOf(result), result]));
  return now.cases.flatMap((result) => {
    const old = earlier.get(keyOf(result));
    if (old === undefined) return [];
    return result.entries.flatMap((entry) => {
      const previous = old.entries.find(({ name }) => name === entry.name);
      if (previous === undefined || entry.role === 'limit') return [];
      return [changeOf(result, entry, old, previous)];
    });
  });
}

function keyOf({ device, op, dtype, rows, hiddenSize }: CaseResult): string {
  return [device, op, dtype, rows, hiddenSize].join();
}

function changeOf(result: CaseResult, entry: Entry, old: CaseResult, before: Entry): Change {
  const multiples = multiplesOf(entry.time, limitOf(result).time);
  const earlier = multiplesOf(before.time, limitOf(old).time);
  return {
    result,
    entry,
    before,
    ofTime: entry.time.median / before.time.median,
    ofMultiple: multiples.median / earlier.median,
    hasMoved: hasMoved(multiples, earlier),
  };
}

/** A time, or a multiple of one: a value and how it spreads. */
export type Spread = Omit<Summary, 'samples'>;

/** A time as a multiple of the limit's: its spread is as wide as both of theirs make it. */
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
 * Whether two values differ by more than noise: their medians by 5% at least, and of each the middle
 * half lies beyond all there is of the other.
 */
export function hasMoved(now: Spread, before: Spread): boolean {
  const isFar = Math.abs(Math.log(now.median / before.median)) >= Math.log(1 + threshold);
  return isFar && (isBeyond(now, before) || isBeyond(before, now));
}

function isBeyond(higher: Spread, lower: Spread): boolean {
  return higher.lowerQuartile > lower.max && lower.upperQuartile < higher.min;
}
