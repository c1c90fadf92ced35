// npm run bench:docs: what runs of `npm run bench -- --json FILE` measured, one after the other, as
// tables in README.md and docs/benchmarks.md and as docs/benchmarks.svg.

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';

import { callName } from '../bench/cases/cases';
import { readReport } from '../bench/report/baseline';
import { loadChart } from '../bench/report/chart';
import {
  gbPerSecond,
  oursOf,
  shareOfLimit,
  type CaseResult,
  type Report,
} from '../bench/report/result';
import {
  cellsOfCalls,
  cellsOfOurs,
  cellsOfRivals,
  groups,
  microseconds,
  percent,
  ratio,
  shapeName,
} from '../bench/report/table';
import { rivals } from '../bench/subjects/rivals/index';
import { markdownTable, writeGenerated } from './generated-text';

const root = path.join(__dirname, '..');

/** Rivals that come as packages of npm. */
const npmRivals = rivals.filter(({ packages }) => packages.length > 0).map(({ name }) => name);

function originOf({ date, machine, gpus, rivals: versions }: Report): string {
  const { cpu, processors, variant, threads, node, version, commit } = machine;
  const hardware = [`${cpu} with ${processors} processors`, ...gpus.map(({ name }) => name)];
  const names = Object.entries(versions).map((pair) => pair.join(' '));
  return (
    `${date.slice(0, 10)}, fused-rmsnorm ${version}${commit === null ? '' : ` at ${commit}`}, ` +
    `${hardware.join(', ')} (variant ${variant}, at most ${threads} threads), Node.js ${node}` +
    `${names.length === 0 ? '' : `; ${names.join(', ')}`}.`
  );
}

/** The fastest of some rivals that compute RMSNorm, and how many times as long as ours it takes. */
function fastest(result: CaseResult, isWanted: (name: string) => boolean): string {
  const [subject] = result.subjects
    .filter(({ name, computes }) => computes === 'rms-norm' && isWanted(name.replace(' fresh', '')))
    .sort((a, b) => a.time.median - b.time.median);
  return ratio(subject, oursOf(result));
}

/** What README.md shows. */
function isShown({ device, dtype, op }: CaseResult): boolean {
  return device === 'cpu' && dtype === 'float32' && op !== 'residual';
}

/** Float32 on the CPU in few columns. */
export function summaryTable({ cases }: Report): string {
  const rows = cases.filter(isShown).map((result) => {
    const ours = oursOf(result);
    return [
      `${result.op} ${shapeName(result)}`,
      microseconds(ours.time.median),
      gbPerSecond(result, ours).toFixed(1),
      percent(shareOfLimit(result, ours)),
      fastest(result, (name) => npmRivals.includes(name)),
      fastest(result, (name) => name === 'wasm-simd'),
      fastest(result, (name) => name === 'javascript'),
    ];
  });
  const head = 'float32,µs,GB/s,of the limit,npm packages,WebAssembly,JavaScript'.split(',');
  return markdownTable({ head, rows });
}

/** All subjects of a device, operation and dtype. */
export function groupTables(results: readonly CaseResult[]): string {
  const [{ op, dtype, device }] = results as [CaseResult, ...CaseResult[]];
  const own = `### ${op}, ${dtype}, ${device}\n\n${markdownTable(cellsOfOurs(results))}`;
  const rivalCells = cellsOfRivals(results, ['rms-norm', 'layer-norm']);
  if (rivalCells === null) return own;
  return `${own}\n\nTimes as long as ours:\n\n${markdownTable(rivalCells)}`;
}

/** Of several runs of the same program on the same machine, as one. */
function joined(files: readonly string[]): Report {
  const [first, ...others] = files.map(readReport);
  if (first === undefined) throw new Error('Expected the JSON files of runs.');
  for (const { machine } of others) {
    if (isDeepStrictEqual(machine, first.machine)) continue;
    throw new Error('The runs are not of one machine and one commit.');
  }
  const all = [first, ...others];
  const versions = Object.assign({}, ...all.map((report) => report.rivals)) as Report['rivals'];
  return {
    ...first,
    rivals: versions,
    cases: all.flatMap(({ cases }) => cases),
    calls: all.flatMap(({ calls }) => calls),
  };
}

async function main(files: readonly string[]): Promise<void> {
  const report = joined(files);
  const cpu = report.cases.filter(isShown);
  const drawChart = await loadChart();
  writeFileSync(path.join(root, 'docs/benchmarks.svg'), await drawChart({ ...report, cases: cpu }));
  const origin = originOf(report);
  const picture =
    '![Times of a call by shape, beside rivals: shorter is better](docs/benchmarks.svg)';
  const summary = `${origin}\n\n${summaryTable(report)}\n\n${picture}`;
  await writeGenerated(path.join(root, 'README.md'), 'benchmark', summary);
  const tables = [
    ...groups(report.cases).map(groupTables),
    ...report.calls.map(
      (calls) => `### ${callName(calls)}, cpu\n\n${markdownTable(cellsOfCalls(calls))}`,
    ),
  ].join('\n\n');
  const document = path.join(root, 'docs/benchmarks.md');
  await writeGenerated(document, 'benchmark', `${origin}\n\n${tables}`);
}

if (require.main === module) void main(process.argv.slice(2));
