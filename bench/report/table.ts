import Table, { type TableConstructorOptions } from 'cli-table3';

import {
  entryOf,
  gbPerSecond,
  limitOf,
  oursOf,
  shareOfLimit,
  type CaseResult,
  type Entry,
} from '../result';

/** Results of one device, operation and dtype, in their order. */
export function groups(results: readonly CaseResult[]): CaseResult[][] {
  const byKey = new Map<string, CaseResult[]>();
  for (const result of results) {
    const key = [result.device, result.op, result.dtype].join();
    byKey.set(key, [...(byKey.get(key) ?? []), result]);
  }
  return [...byKey.values()];
}

/** The contenders of a role that took part in any of the results. */
export function namesOf(results: readonly CaseResult[], role: Entry['role']): string[] {
  const entries = results.flatMap(({ entries }) => entries);
  return [...new Set(entries.filter((entry) => entry.role === role).map(({ name }) => name))];
}

export function tableOptions(isColoured: boolean): TableConstructorOptions {
  return { style: isColoured ? { compact: true } : { compact: true, head: [], border: [] } };
}

/** A table of results of one group, a row a shape. */
export function tableOf(results: readonly CaseResult[], isColoured: boolean): string {
  const others = namesOf(results, 'ours').filter((name) => name !== 'ours');
  const rivals = namesOf(results, 'rival');
  const head = [
    ...['shape', 'µs', 'quartiles', 'GB/s', 'limit', 'of it'],
    ...others.map((name) => name.replace('ours ', '')),
    ...rivals.map((name) => name.replaceAll(/[- ]/g, '\n')),
  ];
  const output = new Table({
    head,
    colAligns: head.map(() => 'right'),
    ...tableOptions(isColoured),
  });
  for (const result of results) {
    const ours = oursOf(result);
    const { median, lowerQuartile, upperQuartile } = ours.time;
    output.push([
      `${result.rows}x${result.hiddenSize}`,
      microseconds(median),
      `${microseconds(lowerQuartile)}–${microseconds(upperQuartile)}`,
      gbPerSecond(result, ours).toFixed(1),
      gbPerSecond(result, limitOf(result)).toFixed(1),
      percent(shareOfLimit(result, ours)),
      ...others.map((name) => {
        const entry = entryOf(result, name);
        return entry === undefined ? '' : microseconds(entry.time.median);
      }),
      ...rivals.map((name) => ratio(entryOf(result, name), ours)),
    ]);
  }
  return output.toString();
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
