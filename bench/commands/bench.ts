import { writeFileSync } from 'node:fs';

import { SingleBar } from 'cli-progress';
import { Command, InvalidArgumentError, Option } from 'commander';
import { setNumThreads, type DType } from 'fused-rmsnorm';

import { caseName, dtypes, type Case, type Op } from '../cases';
import { closeRivals, loadRivals, type RivalChoice } from '../choose-rivals';
import { contest } from '../contest';
import { benchmarkCuda, cudaCases, cudaMachine, findDevice } from '../cuda';
import { describeMachine } from '../machine';
import { isColoured } from '../output';
import { tables } from '../report/table';
import type { CaseResult, Report } from '../result';
import type { Rival } from '../rivals/rival';
import { makeCases, quickShapes, shapeSets, type Shape } from '../sets';

interface Options {
  readonly device: string;
  readonly op: readonly Op[];
  readonly shapes?: readonly Shape[];
  readonly dtype: readonly DType[];
  readonly threads?: number;
  readonly rivals: RivalChoice;
  readonly time?: number;
  readonly quick?: true;
  readonly filter?: RegExp;
  readonly json?: string;
}

/** Rounds, and the seconds that all cases share. */
const plans = { usual: { rounds: 9, seconds: 90 }, quick: { rounds: 3, seconds: 3 } };

export function benchCommand(rivals: readonly Rival[]): Command {
  const names = rivals.map(({ name }) => name);
  return new Command('bench')
    .description('Times RMSNorm on this machine against what limits it and what else computes it.')
    .option('--device <name>', 'cpu, cuda or cuda:N', 'cpu')
    .option('--op <names>', 'forward, backward, residual, or both', readOps, [
      'forward',
      'backward',
    ])
    .option('--shapes <list>', 'such as 32768x4096,1x64, or names of sets (below)', readShapes)
    .option('--dtype <names>', dtypes.join(', '), readDTypes, ['float32'])
    .option('--threads <count>', 'threads at most', readThreads)
    .addOption(
      new Option('--rivals <names>', `installed, all, none, or of ${names.join(', ')}`)
        .argParser((text) => readRivals(text, names))
        .default('installed', 'installed'),
    )
    .option('--time <seconds>', 'for all cases together, about', readSeconds)
    .option('--quick', 'a few shapes in a few seconds')
    .option('--filter <regexp>', 'only cases like "forward 1x64 float32"', readRegularExpression)
    .option('--json <file>', 'write all figures there')
    .addHelpText('after', setsHelp())
    .action((options: Options) => bench(options, rivals));
}

async function bench(options: Options, rivals: readonly Rival[]): Promise<void> {
  const { device, filter, threads } = options;
  if (threads !== undefined) setNumThreads(threads);
  const plan = options.quick ? plans.quick : plans.usual;
  const isWanted = (one: Case) => filter?.test(caseName(one)) ?? true;
  if (device !== 'cpu') {
    const found = findDevice(device);
    if (typeof found === 'string') throw new Error(found);
    for (const [name, value] of Object.entries(cudaMachine(found))) {
      process.stdout.write(`${name}: ${value}\n`);
    }
    for (const one of cudaCases(found).filter(isWanted)) {
      process.stdout.write(`${benchmarkCuda(one, found, { rounds: plan.rounds, time: 30 })}\n`);
    }
    return;
  }
  const shapes =
    options.shapes ?? (options.quick ? quickShapes : (shapeSets['llama']?.shapes ?? []));
  const cases = makeCases(options.op, options.dtype, shapes).filter(isWanted);
  const participants = await loadRivals(options.rivals, rivals);
  const bar = new SingleBar({ format: '{bar} {value}/{total} {name}', clearOnComplete: true });
  const results: CaseResult[] = [];
  try {
    bar.start(cases.length * plan.rounds, 0, { name: '' });
    const seconds = options.time ?? plan.seconds;
    for (const one of cases) {
      bar.update({ name: caseName(one) });
      const caseMs = (1000 * seconds) / cases.length;
      // About so many ways of ours and of moving bytes.
      const visitMs = caseMs / plan.rounds / (9 + participants.length);
      const schedule = { rounds: plan.rounds, visitMs };
      results.push(
        await contest(one, participants, schedule, () => {
          bar.increment();
        }),
      );
    }
  } finally {
    bar.stop();
    await closeRivals(participants);
  }
  const report: Report = {
    schemaVersion: 1,
    date: new Date().toISOString(),
    machine: describeMachine(),
    versions: Object.fromEntries(
      participants.map(({ rival, loaded }) => [rival.name, loaded.version]),
    ),
    cases: results,
  };
  for (const [name, value] of Object.entries(report.machine)) {
    process.stdout.write(`${name}: ${String(value)}\n`);
  }
  process.stdout.write(`\n${tables(results, isColoured(process.stdout))}\n`);
  if (options.json !== undefined) {
    writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
  }
}

function setsHelp(): string {
  const lines = Object.entries(shapeSets).map(([name, { about, shapes }]) => {
    const list = shapes.map((shape) => shape.join('x')).join(' ');
    return `  ${name.padEnd(8)} ${about}: ${list}`;
  });
  return `\nSets of shapes:\n${lines.join('\n')}`;
}

function oneOf<T extends string>(text: string, known: readonly T[]): T {
  const found = known.find((name) => name === text);
  if (found !== undefined) return found;
  throw new InvalidArgumentError(`'${text}' is none of ${known.join(', ')}.`);
}

function readOps(text: string): Op[] {
  const ops = text.split(',').flatMap((name) => {
    const op = oneOf(name, ['forward', 'backward', 'residual', 'both']);
    return op === 'both' ? (['forward', 'backward'] as const) : [op];
  });
  return [...new Set(ops)];
}

function readDTypes(text: string): DType[] {
  return [...new Set(text.split(',').map((name) => oneOf(name, dtypes)))];
}

function readShapes(text: string): Shape[] {
  return text.split(',').flatMap((name) => {
    const set = shapeSets[name];
    if (set !== undefined) return set.shapes;
    const [, rows, hiddenSize] = /^([1-9]\d*)x([1-9]\d*)$/.exec(name) ?? [];
    if (rows !== undefined) return [[Number(rows), Number(hiddenSize)] as const];
    const sets = Object.keys(shapeSets).join(', ');
    throw new InvalidArgumentError(`'${name}' is no ROWSxHIDDENSIZE and none of ${sets}.`);
  });
}

function readRivals(text: string, known: readonly string[]): RivalChoice {
  if (text === 'installed' || text === 'all' || text === 'none') return text;
  return text.split(',').map((name) => oneOf(name, known));
}

function readThreads(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= 256) return count;
  throw new InvalidArgumentError('A whole number from 1 to 256.');
}

function readSeconds(text: string): number {
  const seconds = Number(text);
  if (seconds > 0 && Number.isFinite(seconds)) return seconds;
  throw new InvalidArgumentError('A number above 0.');
}

function readRegularExpression(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}
