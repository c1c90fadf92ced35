// npm run bench:docs: runs the benchmark. Writes its tables into README.md and docs/benchmarks.md, and the
// chart docs/benchmarks.svg.
//
//   npm run bench:docs                     the best variant of this processor
//   npm run bench:docs -- --variant avx2   only the section of another variant; README and chart stay
//   npm run bench:docs -- --again          does not measure: writes the variant's last run again
//
// --time SECONDS and --shapes LIST are options of `bench`, for a trial.

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
  shapeName,
  threeDigits,
} from '../bench/report/table';
import { rivals } from '../bench/subjects/rivals/index';
import { markdownTable, withGenerated, writeGenerated } from './generated-text';

const root = path.join(__dirname, '..');
const document = path.join(root, 'docs/benchmarks.md');

const wanted =
  'javascript,wasm-simd,tfjs-wasm,onnxruntime-node,onnxruntime-node layer-norm,onnxruntime-web';

/** The rivals in README.md's tables, with the heads of their columns: npm packages first. */
const shownRivals: readonly { readonly name: string; readonly title: string }[] = [
  ...rivals
    .filter(({ computes, packages }) => computes === 'rms-norm' && packages.length > 0)
    .map(({ name, packages }) => ({ name, title: `\`${packages.at(-1)}\`` })),
  { name: 'wasm-simd', title: 'WebAssembly SIMD' },
  { name: 'javascript', title: 'plain JavaScript' },
];

/** Whether RMSNORM_CPU_VARIANT chose another variant than the best one of the processor. */
function isForced({ machine: { variant, variants } }: Report): boolean {
  return variant !== variants[0];
}

/** The origin of a report in words: the date, the command, the machine and all versions. */
export function originOf(report: Report): string {
  const { date, machine, gpus, rivals: versions } = report;
  const { cpu, processors, variant, variants, threads, node, version, commit } = machine;
  const [best] = variants;
  const forced = ` forced by RMSNORM_CPU_VARIANT (the best of this processor is ${best})`;
  const facts = [
    `fused-rmsnorm ${version}${commit === null ? '' : ` at commit ${commit}`}`,
    ...[`${cpu} with ${processors} processors`, ...gpus.map(({ name }) => name)],
    `variant ${variant}${isForced(report) ? forced : ''}`,
    `at most ${threads} threads`,
    `Node.js ${node}`,
  ];
  const command = `npm run bench:docs${isForced(report) ? ` -- --variant ${variant}` : ''}`;
  const names = Object.entries(versions).map((pair) => pair.join(' '));
  const compared = names.length === 0 ? '' : ` Rivals and their versions: ${names.join(', ')}.`;
  return `Measured on ${date.slice(0, 10)} by \`${command}\`: ${facts.join(', ')}.${compared}`;
}

/** README.md's shapes: from a head of attention to large batches, in the caches and in memory. */
const summaryShapes = '1x64 1x4096 8x4096 4096x128 512x4096 2048x4096 8192x4096 32768x4096'.split(
  ' ',
);

/** Whether a case is of a kind that README.md and the chart show. */
function isShown({ device, dtype, op }: CaseResult): boolean {
  return device === 'cpu' && dtype === 'float32' && (op === 'forward' || op === 'backward');
}

/** The time of a rival's fastest mode as a multiple of ours; `''` if the rival has no time. */
function multipleOf(rival: string, result: CaseResult): string {
  const times = result.subjects
    .filter(({ name }) => name === rival || name === `${rival} fresh`)
    .map(({ time }) => time.median);
  return times.length === 0 ? '' : threeDigits(Math.min(...times) / oursOf(result).time.median);
}

/** A table of these cases, smallest first, with a column for each rival that has a time. */
function summaryOf(cases: readonly CaseResult[]): string {
  const sorted = [...cases].sort((a, b) => a.rows * a.hiddenSize - b.rows * b.hiddenSize);
  const present = shownRivals.filter(({ name }) =>
    sorted.some((result) => multipleOf(name, result) !== ''),
  );
  const rows = sorted.map((result) => {
    const ours = oursOf(result);
    return [
      shapeName(result),
      microseconds(ours.time.median),
      gbPerSecond(result, ours).toFixed(1),
      (100 * shareOfLimit(result, ours)).toFixed(0),
      ...present.map(({ name }) => multipleOf(name, result)),
    ];
  });
  const own = [
    `${sorted[0]?.op}, rows x hiddenSize`,
    'time (µs)',
    'bandwidth (GB/s)',
    'of the limit (%)',
  ];
  const head = [...own, ...present.map(({ title }) => `${title} (× our time)`)];
  return markdownTable({ head, rows });
}

/** README.md's tables: float32 on the CPU, forward and backward apart. */
export function summaryTables({ cases }: Report): string {
  return (['forward', 'backward'] as const)
    .map((op) => cases.filter((one) => isShown(one) && one.op === op))
    .filter((shown) => shown.length > 0)
    .map(summaryOf)
    .join('\n\n');
}

/** Explains the tables of README.md. */
const summaryHelp =
  'Everything is float32 on the CPU; backward computes dx and dweight. ' +
  "A rival's figure is its time divided by ours: above 1, the rival is slower. Some rivals can write " +
  'into existing memory or into new memory; then the faster of both counts.';

/** The tables of all subjects for one device, operation, dtype and cast order. */
export function groupTables(results: readonly CaseResult[]): string {
  const name = groupName(results[0] as CaseResult);
  const own = `### ${name}\n\n${markdownTable(cellsOfOurs(results))}`;
  const rivalCells = cellsOfRivals(results, ['rms-norm', 'layer-norm']);
  if (rivalCells === null) return own;
  return `${own}\n\nEach subject's time as a multiple of ours:\n\n${markdownTable(rivalCells)}`;
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
    // The other dtypes have their own run: the cases of a run share its time equally, and the rivals,
    // which need most of it, are measured in float32 only.
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
    '![Time of a call for each shape, beside rivals: shorter is better](docs/benchmarks.svg)';
  const summarized = cases.filter((result) => summaryShapes.includes(shapeName(result)));
  const tables = summaryTables({ ...report, cases: summarized });
  const summary = [originOf(report), tables, summaryHelp, picture].join('\n\n');
  await writeGenerated(path.join(root, 'README.md'), 'benchmark', summary);
}

if (require.main === module) void main();
