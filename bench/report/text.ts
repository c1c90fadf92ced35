import type { WriteStream } from 'node:tty';

import Table from 'cli-table3';

import { caseName } from '../cases/cases';
import { describeGpu } from '../environment/machine';
import type { CaseResult, LeftOut, Report, TrafficResult } from './result';
import { compareReports, type Change } from './baseline';
import { groups, microseconds, tableOfOurs, tableOfRivals, tableOptions } from './table';

/** All that is said of a run in a terminal; in colours if the stream shows them. */
export function textOf(report: Report, earlier: Report | null, stream: WriteStream): string {
  // A stream that is no terminal has neither of these, whatever its type says.
  const isColoured = stream.isTTY && stream.hasColors();
  const parts = [
    header(report),
    ...groups(report.cases).flatMap((results) => groupText(results, isColoured)),
    ...trafficTable(report.traffic, isColoured),
    ...leftOutLines(report.leftOut),
    ...(earlier === null ? [] : [comparison(report, earlier)]),
  ];
  return `${parts.join('\n\n')}\n`;
}

/** The tables of a device, operation and dtype. */
function groupText(results: readonly CaseResult[], isColoured: boolean): string[] {
  const [{ op, dtype, device }] = results as [CaseResult, ...CaseResult[]];
  const title = `${op}, ${dtype}, ${device}`;
  const rivals = tableOfRivals(results, 'rms-norm', isColoured);
  const layerNorms = tableOfRivals(results, 'layer-norm', isColoured);
  return [
    `${title}: our time, against the limit\n${tableOfOurs(results, isColoured)}`,
    ...(rivals === null ? [] : [`${title}: rivals, times as long as ours\n${rivals}`]),
    ...(layerNorms === null
      ? []
      : [`${title}: LayerNorm, times as long as our RMSNorm\n${layerNorms}`]),
  ];
}

function header({ date, machine, gpus, rivals }: Report): string {
  const { cpu, processors, variant, threads, node, platform, version, commit } = machine;
  const lines = [
    `fused-rmsnorm ${version}${commit === null ? '' : ` (${commit})`}, ${date.slice(0, 10)}`,
    `${cpu}, ${processors} processors, ${platform}, Node.js ${node}`,
    `CPU variant ${variant}, ${threads} threads`,
    ...gpus.map(describeGpu),
  ];
  const versions = Object.entries(rivals).map((pair) => pair.join(' '));
  if (versions.length > 0) lines.push(`rivals: ${versions.join(', ')}`);
  return lines.join('\n');
}

function trafficTable(results: readonly TrafficResult[], isColoured: boolean): string[] {
  if (results.length === 0) return [];
  const table = new Table({
    head: ['case', 'launches', 'bytes moved', 'at least', ''],
    colAligns: ['left', 'right', 'right', 'right', 'right'],
    ...tableOptions(isColoured),
  });
  for (const result of results) {
    const moved = result.launches.reduce((sum, { movedBytes }) => sum + movedBytes, 0);
    const share = `${(moved / result.minimumBytes).toFixed(2)}x`;
    table.push([caseName(result), result.launches.length, moved, result.minimumBytes, share]);
  }
  return [
    `On a simulated GPU: the bits of the CPU; no times, but what the kernels move.\n${table.toString()}`,
  ];
}

/** By reason and device. */
function leftOutLines(leftOut: readonly LeftOut[]): string[] {
  const namesByReason = new Map<string, string[]>();
  for (const { reason, device, ...one } of leftOut) {
    const key = `Left out on ${device}, ${reason}:`;
    namesByReason.set(key, [...(namesByReason.get(key) ?? []), caseName(one)]);
  }
  return Array.from(namesByReason, ([key, names]) => `${key}\n${names.join(', ')}`);
}

function comparison(report: Report, earlier: Report): string {
  const changes = compareReports(report, earlier);
  const moved = changes.filter(({ hasMoved }) => hasMoved);
  const when = `${earlier.date.slice(0, 10)}${earlier.machine.commit === null ? '' : ` (${earlier.machine.commit})`}`;
  const lines = [`Against the baseline of ${when}, as multiples of the limit in the same run:`];
  if (earlier.machine.cpu !== report.machine.cpu) {
    lines.push(`It is of another machine: ${earlier.machine.cpu}.`);
  }
  lines.push(...moved.map(changeLine));
  lines.push(
    `${changes.length - moved.length} of ${changes.length} did not move beyond the noise.`,
  );
  return lines.join('\n');
}

function changeLine({ result, entry, before, ofTime, ofMultiple }: Change): string {
  const verdict = ofMultiple > 1 ? 'slower' : 'faster';
  const times = `${microseconds(before.time.median)} -> ${microseconds(entry.time.median)} µs`;
  return (
    `${verdict}: ${caseName(result)} ${result.device}, ${entry.name}: ` +
    `${ofMultiple.toFixed(2)}x of the limit, ${ofTime.toFixed(2)}x in time (${times})`
  );
}
