import Table from 'cli-table3';

import {
  entryOf,
  gbPerSecond,
  limitOf,
  oursOf,
  shareOfLimit,
  type CaseResult,
  type Entry,
} from '../result';

/** The tables of a report, for a terminal: of each operation and dtype one, a row a shape. */
export function tables(results: readonly CaseResult[], isColoured: boolean): string {
  return groups(results)
    .map((group) => {
      const [{ op, dtype, device }] = group as [CaseResult, ...CaseResult[]];
      return `${op}, ${dtype}, ${device}\n${table(group, isColoured)}`;
    })
    .join('\n\n');
}

/** Results of one device, operation and dtype, in their order. */
export function groups(results: readonly CaseResult[]): CaseResult[][] {
  const byKey = new Map<string, CaseResult[]>();
  for (const result of results) {
    const key = [result.device, result.op, result.dtype].join();
    byKey.set(key, [...(byKey.get(key) ?? []), result]);
  }
  return [...byKey.values()];
}

/** The rivals that took part in any of the results. */
export function rivalNames(results: readonly CaseResult[]): string[] {
  const entries = results.flatMap(({ entries }) => entries);
  return [...new Set(entries.filter(({ role }) => role === 'rival').map(({ name }) => name))];
}

function table(results: readonly CaseResult[], isColoured: boolean): string {
  const rivals = rivalNames(results);
  const head = ['shape', 'µs', 'quartiles', 'GB/s', 'limit', 'of it', 'fresh', 'plan', ...rivals];
  const output = new Table({
    head,
    colAligns: head.map(() => 'right'),
    style: isColoured ? { compact: true } : { compact: true, head: [], border: [] },
    wordWrap: true,
  });
  for (const result of results) {
    const ours = oursOf(result);
    const { median, lowerQuartile, upperQuartile } = ours.time;
    const time = (name: string) => {
      const entry = entryOf(result, name);
      return entry === undefined ? '' : microseconds(entry.time.median);
    };
    output.push([
      `${result.rows}x${result.hiddenSize}`,
      microseconds(median),
      `${microseconds(lowerQuartile)}–${microseconds(upperQuartile)}`,
      gbPerSecond(result, ours).toFixed(1),
      gbPerSecond(result, limitOf(result)).toFixed(1),
      percent(shareOfLimit(result, ours)),
      time('ours fresh'),
      time('ours plan'),
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
