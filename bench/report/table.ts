import { kindName } from '../cases/cases';
import type { Norm } from '../cases/verify';
import type { SubjectResult } from '../subjects/subject';
import {
  gbPerSecond,
  limitOf,
  oursOf,
  shareOfLimit,
  subjectOf,
  type CallResult,
  type CaseResult,
} from './result';

/** The texts of a table. The terminal and the documents format them differently. */
export interface Cells {
  readonly head: readonly string[];
  readonly rows: readonly (readonly (string | number)[])[];
}

/** Groups results by device, operation, dtype and cast order, in their order. */
export function groups(results: readonly CaseResult[]): CaseResult[][] {
  return groupsBy(results, groupName);
}

/** Such as `'forward, bfloat16 float, cpu'`. */
export function groupName(result: CaseResult): string {
  return [result.op, kindName(result), result.device].join(', ');
}

function groupsBy(
  results: readonly CaseResult[],
  keyOf: (result: CaseResult) => string,
): CaseResult[][] {
  const byKey = new Map<string, CaseResult[]>();
  for (const result of results) {
    byKey.set(keyOf(result), [...(byKey.get(keyOf(result)) ?? []), result]);
  }
  return [...byKey.values()];
}

/** The distinct names of the wanted subjects in the results. */
function namesOf(
  results: readonly CaseResult[],
  isWanted: (subject: SubjectResult) => boolean,
): string[] {
  const subjects = results.flatMap((result) => result.subjects);
  return [...new Set(subjects.filter(isWanted).map(({ name }) => name))];
}

/** Our times, compared with the limit, for the results of one group: one row for each shape. */
export function cellsOfOurs(results: readonly CaseResult[]): Cells {
  const others = namesOf(results, ({ name, role }) => role === 'ours' && name !== 'ours');
  const head = ['shape', 'µs', 'quartiles', 'GB/s', 'limit GB/s', 'by', 'share'];
  const rows = results.map((result) => {
    const ours = oursOf(result);
    const limit = limitOf(result);
    return [
      ...[shapeName(result), ...timeCells(ours, microseconds)],
      gbPerSecond(result, ours).toFixed(1),
      gbPerSecond(result, limit).toFixed(1),
      limit.name,
      percent(shareOfLimit(result, ours)),
      ...others.map((name) => {
        const subject = subjectOf(result, name);
        return subject === undefined ? '' : microseconds(subject.time.median);
      }),
    ];
  });
  return { head: [...head, ...others.map((name) => `${name.replace('ours ', '')} µs`)], rows };
}

/** Compares other dtypes with float32, for one operation on one device. */
export interface DTypeTable {
  /** Such as `'forward, cpu'`. */
  readonly name: string;
  readonly cells: Cells;
}

/**
 * Our elements per microsecond in each other dtype and cast order, as a multiple of float32's. One
 * row for each shape that was measured in both, one column for each other dtype.
 */
export function dtypeTables(results: readonly CaseResult[]): DTypeTable[] {
  return groupsBy(results, ({ op, device }) => `${op}, ${device}`).flatMap((of) => {
    const [{ op, device }] = of as [CaseResult, ...CaseResult[]];
    const others = of.filter(({ dtype }) => dtype !== 'float32');
    const kinds = [...new Set(others.map(kindName))];
    const rows = of
      .filter(({ dtype }) => dtype === 'float32')
      .map((single) => [
        shapeName(single),
        ...kinds.map((kind) => {
          const other = others.find(
            (each) => kindName(each) === kind && shapeName(each) === shapeName(single),
          );
          return other === undefined ? '' : ratio(oursOf(single), oursOf(other));
        }),
      ])
      .filter((cells) => cells.slice(1).some((text) => text !== ''));
    const cells = { head: ['shape', ...kinds], rows };
    return rows.length === 0 ? [] : [{ name: `${op}, ${device}`, cells }];
  });
}

/** The title of a {@link DTypeTable}: elements per microsecond, relative to float32. */
export const dtypeTitle = 'elements per microsecond, as a multiple of float32';

/** The same table without the column of this name. */
export function withoutColumn({ head, rows }: Cells, name: string): Cells {
  const column = head.indexOf(name);
  const rest = (_: unknown, i: number) => i !== column;
  return { head: head.filter(rest), rows: rows.map((row) => row.filter(rest)) };
}

/**
 * The times of rivals as multiples of ours, one row for each shape; null without rivals. Rivals that
 * allocate results although they need not come last.
 */
export function cellsOfRivals(
  results: readonly CaseResult[],
  norms: readonly Norm[],
): Cells | null {
  const isNorm = (computes: string) => norms.some((norm) => norm === computes);
  const names = namesOf(results, ({ role, computes }) => role === 'rival' && isNorm(computes)).sort(
    (a, b) => Number(a.endsWith(' fresh')) - Number(b.endsWith(' fresh')),
  );
  if (names.length === 0) return null;
  const rows = results.map((result) => {
    const ratios = names.map((name) => ratio(subjectOf(result, name), oursOf(result)));
    return [shapeName(result), ...ratios];
  });
  return { head: ['shape', ...names], rows };
}

/** The times of the forms of a call, and their ratios to the first. */
export function cellsOfCalls({ subjects }: CallResult): Cells {
  const calls = subjects.filter(({ role }) => role === 'ours');
  const [first] = calls;
  const rows = calls.map((call) => [
    ...[call.name, ...timeCells(call, threeDigits)],
    ratio(call, first ?? call),
  ]);
  return { head: ['form of the call', 'ns', 'quartiles', 'ratio'], rows };
}

/** A median and its quartiles. */
function timeCells({ time }: SubjectResult, text: (nanoseconds: number) => string): string[] {
  return [text(time.median), `${text(time.lowerQuartile)}–${text(time.upperQuartile)}`];
}

export function shapeName({ rows, hiddenSize }: CaseResult): string {
  return `${rows}x${hiddenSize}`;
}

/** A subject's time as a multiple of ours; `''` if the subject was not measured. */
export function ratio(subject: SubjectResult | undefined, ours: SubjectResult): string {
  return subject === undefined ? '' : `${threeDigits(subject.time.median / ours.time.median)}x`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)}%`;
}

/** Nanoseconds as microseconds, with three significant digits. */
export function microseconds(nanoseconds: number): string {
  return threeDigits(nanoseconds / 1000);
}

export function threeDigits(value: number): string {
  return value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(Math.max(value, 0.01)))));
}
