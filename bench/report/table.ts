import Table, { type TableConstructorOptions } from 'cli-table3';

import {
  entryOf,
  gbPerSecond,
  limitOf,
  oursOf,
  shareOfLimit,
  type CaseResult,
  type Entry,
} from './result';
import type { Norm } from '../cases/verify';

/** Results of one device, operation and dtype, in their order. */
export function groups(results: readonly CaseResult[]): CaseResult[][] {
  const byKey = new Map<string, CaseResult[]>();
  for (const result of results) {
    const key = [result.device, result.op, result.dtype].join();
    byKey.set(key, [...(byKey.get(key) ?? []), result]);
  }
  return [...byKey.values()];
}

/** The contenders that took part in any of the results, of those that are wanted. */
function namesOf(results: readonly CaseResult[], isWanted: (entry: Entry) => boolean): string[] {
  const entries = results.flatMap(({ entries }) => entries);
  return [...new Set(entries.filter(isWanted).map(({ name }) => name))];
}

export function tableOptions(isColoured: boolean): TableConstructorOptions {
  return {
    style: { compact: true, head: isColoured ? ['bold'] : [], border: isColoured ? ['grey'] : [] },
  };
}

function makeTable(head: readonly string[], isColoured: boolean): Table.Table {
  return new Table({
    head: [...head],
    colAligns: head.map(() => 'right'),
    ...tableOptions(isColoured),
  });
}

/** Our times and what they are of the limit, for results of one group: a row a shape. */
export function tableOfOurs(results: readonly CaseResult[], isColoured: boolean): string {
  const others = namesOf(results, ({ name, role }) => role === 'ours' && name !== 'ours');
  const head = ['shape', 'µs', 'quartiles', 'GB/s', 'limit GB/s', 'by', 'share'];
  const table = makeTable(
    [...head, ...others.map((name) => `${name.replace('ours ', '')} µs`)],
    isColoured,
  );
  for (const result of results) {
    const ours = oursOf(result);
    const limit = limitOf(result);
    const { median, lowerQuartile, upperQuartile } = ours.time;
    table.push([
      shapeName(result),
      microseconds(median),
      `${microseconds(lowerQuartile)}–${microseconds(upperQuartile)}`,
      gbPerSecond(result, ours).toFixed(1),
      gbPerSecond(result, limit).toFixed(1),
      limit.name,
      percent(shareOfLimit(result, ours)),
      ...others.map((name) => {
        const entry = entryOf(result, name);
        return entry === undefined ? '' : microseconds(entry.time.median);
      }),
    ]);
  }
  return table.toString();
}

/** The times of rivals as multiples of ours, a row a shape; null if none took part. */
export function tableOfRivals(
  results: readonly CaseResult[],
  norm: Norm,
  isColoured: boolean,
): string | null {
  const rivals = namesOf(results, ({ role, computes }) => role === 'rival' && computes === norm);
  if (rivals.length === 0) return null;
  const table = makeTable(
    ['shape', ...rivals.map((name) => name.replaceAll(/[- ]/g, '\n'))],
    isColoured,
  );
  for (const result of results) {
    const ratios = rivals.map((name) => ratio(entryOf(result, name), oursOf(result)));
    table.push([shapeName(result), ...ratios]);
  }
  return table.toString();
}

export function shapeName({ rows, hiddenSize }: CaseResult): string {
  return `${rows}x${hiddenSize}`;
}

/** How many times as long as ours: `''` where it does not take part. */
export function ratio(entry: Entry | undefined, ours: Entry): string {
  return entry === undefined ? '' : `${threeDigits(entry.time.median / ours.time.median)}x`;
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(0)}%`;
}

/** Three significant digits. */
export function microseconds(nanoseconds: number): string {
  return threeDigits(nanoseconds / 1000);
}

function threeDigits(value: number): string {
  return value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(Math.max(value, 0.01)))));
}
