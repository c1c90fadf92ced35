// npm run bench:docs: runs the benchmark, and writes its tables into README.md and docs/benchmarks.md
// and the chart docs/benchmarks.svg.
//
//   npm run bench:docs                     the best variant of this processor
//   npm run bench:docs -- --variant avx2   another variant, in its own section; README and chart stay
//   npm run bench:docs -- --again          writes the results of the variant's last run again
//
// --time SECONDS, --shapes LIST: options of `bench`, for a trial.

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual, parseArgs } from 'node:util';

import { getCpuVariant } from 'fused-rmsnorm';

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
  dtypeTables,
  dtypeTitle,
  groupName,
  groups,
  microseconds,
  percent,
  ratio,
  shapeName,
} from '../bench/report/table';
import { rivals } from '../bench/subjects/rivals/index';
import { markdownTable, withGenerated, writeGenerated } from './generated-text';

const root = path.join(__dirname, '..');
const document = path.join(root, 'docs/benchmarks.md');

const wanted =
  'javascript,wasm-simd,tfjs-wasm,onnxruntime-node,onnxruntime-node layer-norm,onnxruntime-web';

/** The rivals that are npm packages. */
const npmRivals = rivals.filter(({ packages }) => packages.length > 0).map(({ name }) => name);

/** Whether RMSNORM_CPU_VARIANT chose another variant than the best one of the processor. */
function isForced({ machine: { variant, variants } }: Report): boolean {
  return variant !== variants[0];
}

/** The origin of a report in words: the date, the machine and all versions. */
export function originOf(report: Report): string {
  const { date, machine, gpus, rivals: versions } = report;
  const { cpu, processors, variants, threads, node, version, commit } = machine;
  const [best] = variants;
  const forced = `, forced by RMSNORM_CPU_VARIANT: the best of this processor is ${best}`;
  const variant = machine.variant + (isForced(report) ? forced : '');
  const hardware = [`${cpu} with ${processors} processors`, ...gpus.map(({ name }) => name)];
  const names = Object.entries(versions).map((pair) => pair.join(' '));
  return (
    `${date.slice(0, 10)}, fused-rmsnorm ${version}${commit === null ? '' : ` at ${commit}`}, ` +
    `${hardware.join(', ')} (variant ${variant}; at most ${threads} threads), Node.js ${node}` +
    `${names.length === 0 ? '' : `; ${names.join(', ')}`}.`
  );
}

/** The fastest of the wanted rivals that compute RMSNorm, and its time as a multiple of ours. */
function fastest(result: CaseResult, isWanted: (name: string) => boolean): string {
  const [subject] = result.subjects
    .filter(({ name, computes }) => computes === 'rms-norm' && isWanted(name.replace(' fresh', '')))
    .sort((a, b) => a.time.median - b.time.median);
  return ratio(subject, oursOf(result));
}

/** Whether README.md shows a case. */
function isShown({ device, dtype, op }: CaseResult): boolean {
  return device === 'cpu' && dtype === 'float32' && (op === 'forward' || op === 'backward');
}

/** A table of a few columns for float32 on the CPU. */
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

/** The tables of all subjects for one device, operation, dtype and cast order. */
export function groupTables(results: readonly CaseResult[]): string {
  const name = groupName(results[0] as CaseResult);
  const own = `### ${name}\n\n${markdownTable(cellsOfOurs(results))}`;
  const rivalCells = cellsOfRivals(results, ['rms-norm', 'layer-norm']);
  if (rivalCells === null) return own;
  return `${own}\n\nTimes as long as ours:\n\n${markdownTable(rivalCells)}`;
}

/** A run as a section of docs/benchmarks.md. */
export function sectionOf(report: Report): string {
  return [
    originOf(report),
    ...groups(report.cases).map(groupTables),
    ...dtypeTables(report.cases).map(
      ({ name, cells }) => `### ${name}: ${dtypeTitle}\n\n${markdownTable(cells)}`,
    ),
    ...report.calls.map(
      (calls) => `### ${callName(calls)}, cpu\n\n${markdownTable(cellsOfCalls(calls))}`,
    ),
  ].join('\n\n');
}

/** Joins the reports of several runs of one program on one machine. */
function joined(files: readonly string[]): Report {
  const [first, ...others] = files.map(readReport);
  if (first === undefined) throw new Error('Pass the JSON files of benchmark runs.');
  for (const { machine } of others) {
    if (isDeepStrictEqual(machine, first.machine)) continue;
    throw new Error('The runs are not from the same machine and commit.');
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

/** Runs the benchmark as users do. */
function measure(variant: string, args: readonly string[]): void {
  const program = path.join(root, 'dist/bench/cli.js');
  const { status } = spawnSync(process.execPath, [program, 'bench', ...args], {
    cwd: root,
    env: { ...process.env, RMSNORM_CPU_VARIANT: variant },
    stdio: 'inherit',
  });
  if (status !== 0) throw new Error(`The benchmark failed: ${args.join(' ')}`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      variant: { type: 'string', default: getCpuVariant() },
      time: { type: 'string', default: '240' },
      shapes: { type: 'string', default: 'llama' },
      again: { type: 'boolean', default: false },
    },
  });
  const { variant, time, shapes } = values;
  const section = `benchmark ${variant}`;
  withGenerated(readFileSync(document, 'utf8'), section, ''); // Throws before minutes are spent.

  const files = ['', '-dtypes', '-seed'].map((run) => `build/benchmark-${variant}${run}.json`);
  const [all = '', dtypes = '', seed = ''] = files.map((file) => path.join(root, file));
  if (!values.again) {
    // Other dtypes have their own run, since the cases of a run share its time equally. Rivals need most
    // of it, and all of them compute float32.
    const half = ['--shapes', shapes, '--time', String(Number(time) / 2)];
    const ops = ['--op', 'forward,backward,call', '--rivals', wanted];
    measure(variant, [...ops, ...half, '--json', all]);
    const kinds = ['--dtype', 'float64,bfloat16,float16', '--cast-order', 'both'];
    const others = ['--op', 'forward,backward', '--rivals', 'none', ...kinds];
    measure(variant, [...others, ...half, '--json', dtypes]);
    const more = ['--shapes', 'seed', '--rivals', `${wanted},layer-norm`, '--time', '30'];
    measure(variant, ['--op', 'forward', ...more, '--json', seed]);
  }
  const report = joined([all, dtypes, seed]);
  await writeGenerated(document, section, sectionOf(report));
  if (isForced(report)) return;
  const cases = report.cases.filter(isShown);
  const drawChart = await loadChart();
  writeFileSync(path.join(root, 'docs/benchmarks.svg'), await drawChart({ ...report, cases }));
  const picture =
    '![Times of a call by shape, beside rivals: shorter is better](docs/benchmarks.svg)';
  const summary = `${originOf(report)}\n\n${summaryTable(report)}\n\n${picture}`;
  await writeGenerated(path.join(root, 'README.md'), 'benchmark', summary);
}

if (require.main === module) void main();
