import type { WriteStream } from 'node:tty';

import { callName, caseName } from '../cases/cases';
import type { Norm } from '../cases/verify';
import { describeGpu, describeVersion } from '../environment/machine';
import { compareReports, type Change } from './baseline';
import type { CaseResult, LeftOut, Report, TrafficResult } from './result';
import { busyMachineLines } from './spread';
import {
  cellsOfCalls,
  cellsOfOurs,
  cellsOfRivals,
  dtypeTables,
  dtypeTitle,
  groupName,
  groups,
  microseconds,
  withoutColumn,
  type Cells,
} from './table';
import { setTable, wrap } from './terminal';

/** The report for a terminal of 80 columns, coloured if the stream supports colours. */
export function textOf(
  report: Report,
  earlier: Report | null,
  stream: Pick<WriteStream, 'isTTY' | 'hasColors'>,
): string {
  // A stream that is not a terminal lacks both properties, although its type has them.
  const isColoured = stream.isTTY && stream.hasColors();
  const sections = [
    header(report),
    ...groups(report.cases).flatMap((results) => groupText(results, isColoured)),
    ...dtypeTables(report.cases).map(({ name, cells }) => {
      const table = setTable(cells, { isColoured, firstColumn: 'right' });
      return `${name}: ${dtypeTitle}\n${table}`;
    }),
    ...report.calls.map((result) => {
      const table = setTable(cellsOfCalls(result), { isColoured, firstColumn: 'left' });
      return `${callName(result)}, cpu: time of each form of a call, and its ratio to the first\n${table}`;
    }),
    ...trafficTable(report.traffic, isColoured),
    ...leftOutLines(report.leftOut),
    ...busyMachineLines(report),
    ...(earlier === null ? [] : [comparison(report, earlier)]),
  ];
  return `${sections.join('\n\n')}\n`;
}

/** The tables of one device, operation, dtype and cast order. */
function groupText(results: readonly CaseResult[], isColoured: boolean): string[] {
  const name = groupName(results[0] as CaseResult);
  const text = (title: string, cells: Cells | null): string[] => {
    if (cells === null) return [];
    const table = setTable(cells, { isColoured, firstColumn: 'right' });
    return [`${name}: ${title}\n${table}`];
  };
  const rivals = (norm: Norm) => cellsOfRivals(results, [norm]);
  return [
    ...text('our time, compared with the limit', withoutColumn(cellsOfOurs(results), 'by')),
    ...text("rivals' time / our time", rivals('rms-norm')),
    ...text("LayerNorm's time / our RMSNorm's time", rivals('layer-norm')),
  ];
}

function header({ date, machine, gpus, rivals }: Report): string {
  const { cpu, processors, variant, threads, node, platform } = machine;
  const lines = [
    `fused-rmsnorm ${describeVersion(machine)}, ${date.slice(0, 10)}`,
    `${cpu}, ${processors} processors, ${platform}, Node.js ${node}`,
    `CPU variant ${variant}, ${threads} threads`,
    ...gpus.map(describeGpu),
  ];
  const versions = Object.entries(rivals).map((pair) => pair.join(' '));
  if (versions.length > 0) lines.push(`rivals: ${versions.join(', ')}`);
  return lines.map((line) => wrap(line, 2)).join('\n');
}

function trafficTable(results: readonly TrafficResult[], isColoured: boolean): string[] {
  if (results.length === 0) return [];
  const rows = results.map((result) => {
    const moved = result.launches.reduce((sum, { movedBytes }) => sum + movedBytes, 0);
    const share = `${(moved / result.minimumBytes).toFixed(2)}x`;
    return [caseName(result), result.launches.length, moved, result.minimumBytes, share];
  });
  const head = ['case', 'launches', 'bytes moved', 'minimum', 'ratio'];
  const table = setTable({ head, rows }, { isColoured, firstColumn: 'left' });
  return [
    `Simulated GPU: the same bits as the CPU. Bytes moved by the kernels (no times):\n${table}`,
  ];
}

/** The cases that were not measured, grouped by reason and device. */
function leftOutLines(leftOut: readonly LeftOut[]): string[] {
  const namesByReason = new Map<string, string[]>();
  for (const { reason, device, ...one } of leftOut) {
    const key = `Not measured on ${device}: ${reason}.`;
    namesByReason.set(key, [...(namesByReason.get(key) ?? []), caseName(one)]);
  }
  return Array.from(namesByReason, ([key, names]) => wrap(`${key}\n${names.join(', ')}`));
}

function comparison(report: Report, earlier: Report): string {
  const changes = compareReports(report, earlier);
  const moved = changes.filter(({ hasMoved }) => hasMoved);
  const { commit } = earlier.machine;
  const when = `${earlier.date.slice(0, 10)}${commit === null ? '' : ` (${commit})`}`;
  const lines = [
    wrap(`Compared with the baseline of ${when}, as multiples of the limit in the same run:`),
  ];
  if (earlier.machine.cpu !== report.machine.cpu) {
    lines.push(wrap(`The baseline is from another machine: ${earlier.machine.cpu}.`));
  }
  lines.push(...moved.map(changeLine));
  lines.push(
    `${changes.length - moved.length} of ${changes.length} times did not change by more than the noise.`,
  );
  return lines.join('\n');
}

function changeLine({ name, before, now, ofMultiple }: Change): string {
  const verdict = ofMultiple > 1 ? 'slower' : 'faster';
  const times = `${microseconds(before.median)} -> ${microseconds(now.median)} µs`;
  const ofTime = (now.median / before.median).toFixed(2);
  return `${name}\n  ${verdict}: ${ofMultiple.toFixed(2)}x vs the limit, ${ofTime}x in time (${times})`;
}
