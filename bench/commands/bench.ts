import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { Command, Option } from 'commander';
import { devices, setNumThreads, type CastOrder, type CudaDevice, type DType } from 'fused-rmsnorm';

import { callName, callShape, caseName, dtypes } from '../cases/cases';
import { makeCases, quickShapes, shapeSets, type Shape } from '../cases/sets';
import { Failure } from '../environment/failure';
import { traceSimulator } from '../gpu/traffic';
import { readReport } from '../report/baseline';
import { loadChart } from '../report/chart';
import { showProgress } from '../report/progress';
import { wrap } from '../report/terminal';
import { textOf } from '../report/text';
import { run, type RunOptions } from '../run/run';
import {
  closeRivals,
  loadRivals,
  type ChosenRival,
  type RivalChoice,
} from '../subjects/rivals/chosen';
import type { Rival } from '../subjects/rivals/rival';
import { exitCodesHelp, section } from './help';
import {
  readCastOrders,
  readDevice,
  readDTypes,
  readOps,
  readRegularExpression,
  readRivals,
  readSeconds,
  readShapes,
  readThreads,
  type NamedOp,
} from './parse';

interface Options {
  readonly device: string;
  readonly op: readonly NamedOp[];
  readonly shapes?: readonly Shape[];
  readonly dtype: readonly DType[];
  readonly castOrder: readonly CastOrder[];
  readonly filter?: RegExp;
  readonly rivals: RivalChoice;
  readonly threads?: number;
  readonly time?: number;
  readonly quick?: true;
  readonly json?: string;
  readonly plot?: string;
  readonly baseline?: string;
}

/** Rounds, total seconds for all cases, and shapes: by default, and with `--quick`. */
const standard = { rounds: 9, seconds: 90, shapes: shapeSets.llama.shapes };
const quick = { rounds: 5, seconds: 3, shapes: quickShapes };

/** A shell's exit code for a process that was interrupted. */
const interrupted = 130;

export function benchCommand(rivals: readonly Rival[]): Command {
  const names = rivals.map(({ name }) => name);
  return new Command('bench')
    .summary('measures speed on this machine, against its limit and other packages')
    .description(
      'Measures RMSNorm on this machine. Compares it with the limit, which is the time to move the same ' +
        'bytes, and with rivals, which are other implementations. Checks every result before timing it.',
    )
    .option('--device <name>', 'cpu, cuda (the first GPU), cuda:N or all', readDevice, 'cpu')
    .addOption(
      new Option(
        '--op <names>',
        'forward, backward, residual, quantize, gated; both (the first two); call (see below)',
      )
        .argParser(readOps)
        .default(['forward', 'backward'], 'both'),
    )
    .option(
      '--shapes <list>',
      'shapes such as 32768x4096,1x64, or sets of them, see below',
      readShapes,
    )
    .addOption(
      new Option('--dtype <names>', dtypes.join(', '))
        .argParser(readDTypes)
        .default(['float32'], 'float32'),
    )
    .addOption(
      new Option('--cast-order <names>', 'for 16-bit dtypes: llama, float, both')
        .argParser(readCastOrders)
        .default(['llama'], 'llama'),
    )
    .option(
      '--filter <regexp>',
      'only cases whose name matches; a name is such as "forward 1x64 float32"',
      readRegularExpression,
    )
    .addOption(
      new Option('--rivals <names>', 'all, none, installed, or names, see below')
        .argParser((text) => readRivals(text, names))
        .default('installed', 'installed'),
    )
    .option(
      '--threads <count>',
      'maximum number of threads, for this package and the limit',
      readThreads,
    )
    .option(
      '--time <seconds>',
      `approximate total for all cases (default: ${standard.seconds}, with --quick ${quick.seconds}). ` +
        'Each case gets an equal share; a slow case takes longer',
      readSeconds,
    )
    .option('--quick', 'measure a few shapes in a few seconds')
    .option('--json <file>', 'write all results, with their units, to this file')
    .option(
      '--plot <file.svg>',
      'draw a chart of the times to this file; needs the packages vega and vega-lite',
    )
    .option(
      '--baseline <file>',
      'JSON file of an earlier run: report changes that exceed the noise',
    )
    .addHelpText('after', () => `\n${helpText(rivals)}`)
    .action((options: Options) => bench(options, rivals));
}

async function bench(options: Options, rivals: readonly Rival[]): Promise<void> {
  const { threads, json, plot, baseline } = options;
  if (threads !== undefined) setNumThreads(threads);
  const runOptions = readRunOptions(options);
  for (const file of [json, plot]) {
    if (file === undefined || existsSync(path.dirname(path.resolve(file)))) continue;
    throw new Failure(`The folder of the file '${file}' does not exist.`);
  }
  const earlier = baseline === undefined ? null : readReport(baseline);
  const drawChart = plot === undefined ? null : await loadChart();

  const chosen: ChosenRival[] = [];
  const progress = showProgress();
  const interrupt = () => {
    progress.stop();
    void closeRivals(chosen).finally(() => process.exit(interrupted));
  };
  process.once('SIGINT', interrupt);
  try {
    // Rivals run on the CPU only.
    if (runOptions.targets.includes('cpu')) {
      const able = rivals.filter((rival) => runOptions.cases.some((one) => rival.supports(one)));
      await loadRivals(options.rivals, able, chosen);
    }
    const report = await run(runOptions, chosen, progress.update);
    progress.stop();
    process.stdout.write(textOf(report, earlier, process.stdout));
    if (json !== undefined) writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`);
    if (plot !== undefined && drawChart !== null) writeFileSync(plot, await drawChart(report));
  } finally {
    progress.stop();
    process.off('SIGINT', interrupt);
    await closeRivals(chosen);
  }
}

function readRunOptions({ device, op, dtype, castOrder, ...options }: Options): RunOptions {
  const plan = options.quick === true ? quick : standard;
  const isWanted = (name: string) => options.filter?.test(name) ?? true;
  const ops = op.filter((each) => each !== 'call');
  const shapes = options.shapes ?? plan.shapes;
  const cases = makeCases(ops, dtype, shapes, castOrder).filter((one) => isWanted(caseName(one)));
  const calls = op.includes('call') && isWanted(callName(callShape));
  if (cases.length === 0 && !calls) throw new Failure('No case matches --filter.');
  if (calls && device !== 'cpu' && device !== 'all') {
    throw new Failure(`--op call measures only the CPU. Received --device ${device}`);
  }
  const { rounds, seconds } = plan;
  return {
    ...{ cases, calls, rounds },
    targets: readTargets(device),
    seconds: options.time ?? seconds,
  };
}

function readTargets(device: string): ('cpu' | CudaDevice)[] {
  if (device === 'cpu') return ['cpu'];
  traceSimulator();
  const gpus = devices();
  if (device === 'all') {
    if (gpus.reason !== null) process.stderr.write(`${gpus.reason}\n`);
    return ['cpu', ...gpus];
  }
  const wanted = device === 'cuda' ? 'cuda:0' : device;
  const found = gpus.find((gpu) => gpu.device === wanted);
  if (found !== undefined) return [found];
  const known = ['cpu', 'all', ...gpus.map((gpu) => gpu.device)].join(', ');
  throw new Failure(gpus.reason ?? `--device must be one of ${known}. Received '${device}'`);
}

function helpText(rivals: readonly Rival[]): string {
  const sets = Object.entries(shapeSets).map(([name, { description, shapes }]) => {
    const list = shapes.map((shape) => shape.join('x')).join(' ');
    return [name, `${description}:\n${list}`] as const;
  });
  const rivalItems = rivals.map(({ name, description, packages }) => {
    const needs = packages.length > 0 ? ` (needs ${packages.join(', ')})` : '';
    return [name, `${description}${needs}`] as const;
  });
  return [
    `--op call:\n  ${wrap(callHelp, 2)}`,
    section('Sets of shapes', sets),
    section('Rivals', rivalItems),
    exitCodesHelp({
      0: 'everything was measured',
      1: 'a wrong result, or an error',
      2: 'wrong usage',
      [interrupted]: 'interrupted',
    }),
  ].join('\n\n');
}

const callHelp =
  `The cost of a call itself, on one row of ${callShape.hiddenSize}, on the CPU. Measures each form of ` +
  'a call (options, outputs, tensors, modules, plans), and compares it with rmsNorm with the option out.';
