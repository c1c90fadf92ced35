import { execFileSync } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';

import Table from 'cli-table3';

import { type Case } from './cases';
import { type Timing } from './measure';
import { shipped } from './shipped';

/** One case's figures. Bandwidths in GB/s of minimum traffic. */
export interface Row extends Case {
  readonly ours: Timing;
  readonly limit: Timing;
  readonly limitBy: string;
  readonly gbPerSecond: number;
  readonly limitGbPerSecond: number;
  readonly elementsPerMicrosecond: number;
  readonly shareOfLimit: number;
}

/** What the figures depend on. */
export function machine(): Record<string, string | number> {
  return {
    date: new Date().toISOString().slice(0, 10),
    commit: commit(),
    cpu: os.cpus()[0]?.model ?? 'unknown',
    processors: os.availableParallelism(),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    variant: shipped.getCpuVariant(),
    threads: shipped.getNumThreads(),
  };
}

function commit(): string {
  try {
    const git = (...args: string[]) =>
      execFileSync('git', args, { cwd: path.join(__dirname, '..'), encoding: 'utf8' }).trim();
    const state = git('status', '--porcelain') === '' ? '' : ' and changes';
    return git('rev-parse', '--short', 'HEAD') + state;
  } catch {
    return 'unknown';
  }
}

export function table(rows: readonly Row[]): string {
  const output = new Table({
    head: ['', 'dtype', 'shape', 'µs', 'spread', 'GB/s', 'limit GB/s', 'by', 'share'],
    colAligns: ['left', 'left', 'right', 'right', 'right', 'right', 'right', 'left', 'right'],
    style: process.stdout.isTTY ? {} : { head: [], border: [] },
  });
  for (const row of rows) {
    output.push([
      row.op,
      row.dtype,
      `${row.rows}x${row.hiddenSize}`,
      microseconds(row.ours.median),
      `${microseconds(row.ours.min)}–${microseconds(row.ours.max)}`,
      row.gbPerSecond.toFixed(1),
      row.limitGbPerSecond.toFixed(1),
      row.limitBy,
      `${(100 * row.shareOfLimit).toFixed(0)}%`,
    ]);
  }
  return output.toString();
}

/** Three significant digits. */
function microseconds(nanoseconds: number): string {
  const value = nanoseconds / 1000;
  return value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(Math.max(value, 0.01)))));
}
