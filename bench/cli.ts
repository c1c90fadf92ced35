import { writeFileSync } from 'node:fs';

import { Command, InvalidArgumentError } from 'commander';

import { allCases, caseName, makeArrays, makeCall, minimumBytes, type Case } from './cases';
import { benchmarkCuda, cudaCases, cudaMachine, findDevice } from './cuda';
import { movers } from './limits';
import { contender, measure } from './measure';
import { machine, table, type Row } from './report';
import { shipped } from './shipped';
import { verify } from './verify';

const { getNumThreads, setNumThreads } = shipped;

interface Options {
  readonly filter?: RegExp;
  readonly rounds: number;
  readonly time: number;
  readonly threads?: number;
  readonly json?: string;
  readonly device: string;
}

function benchmark(one: Case, { rounds, time }: Options): Row {
  const arrays = makeArrays(one);
  const call = makeCall(one, arrays);
  call();
  verify(one, arrays);

  const limits = movers(arrays, getNumThreads());
  const timings = measure([contender('ours', call), ...limits], { rounds, visitMs: time });
  call();
  verify(one, arrays);

  const ours = timings.get('ours');
  timings.delete('ours');
  const [best] = [...timings].sort(([, a], [, b]) => a.median - b.median);
  if (ours === undefined || best === undefined) throw new Error('nothing was measured');
  const [limitBy, limit] = best;
  const bytes = minimumBytes(one);
  return {
    ...one,
    ours,
    limit,
    limitBy,
    gbPerSecond: bytes / ours.median,
    limitGbPerSecond: bytes / limit.median,
    elementsPerMicrosecond: (1000 * one.rows * one.hiddenSize) / ours.median,
    shareOfLimit: limit.median / ours.median,
  };
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1) return value;
  throw new InvalidArgumentError('A whole number from 1 up.');
}

function regularExpression(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

/** All that are asked for; text is a line about a case that has no figures. */
function report(
  cases: readonly Case[],
  description: Record<string, string | number>,
  { filter, json }: Options,
  run: (one: Case) => Row | string,
): void {
  for (const [name, value] of Object.entries(description)) console.log(`${name}: ${value}`);

  const rows: Row[] = [];
  for (const one of cases.filter((one) => filter?.test(caseName(one)) ?? true)) {
    process.stderr.write(`${caseName(one)}\n`);
    const row = run(one);
    if (typeof row === 'string') console.log(row);
    else rows.push(row);
  }
  if (rows.length > 0) console.log(table(rows));
  if (json !== undefined) {
    writeFileSync(json, `${JSON.stringify({ machine: description, rows }, null, 2)}\n`);
  }
}

function main(options: Options): void {
  if (options.threads !== undefined) setNumThreads(options.threads);
  if (options.device === 'cpu') {
    report(allCases(), machine(), options, (one) => benchmark(one, options));
    return;
  }
  const device = findDevice(options.device);
  if (typeof device === 'string') {
    console.error(device);
    process.exitCode = 1;
    return;
  }
  report(cudaCases(device), cudaMachine(device), options, (one) =>
    benchmarkCuda(one, device, options),
  );
}

new Command('bench')
  .description(
    'Times forward and backward through the public API against the fastest copy (forward) or sum ' +
      '(backward) over the same buffers, on one thread or all, with plain or streaming stores. ' +
      'Bandwidths are of minimum traffic: each element of x and dy read once, of y or dx written once. ' +
      'On a GPU: the kernels alone, against a copy from device to device of as many bytes.',
  )
  .option(
    '--filter <regexp>',
    'only cases whose name matches, such as "forward.*float32"',
    regularExpression,
  )
  .option('--rounds <count>', 'visits to each contender; the median is reported', wholeNumber, 9)
  .option('--time <ms>', 'length of a visit', wholeNumber, 30)
  .option('--device <name>', 'cpu, cuda or cuda:N', 'cpu')
  .option('--threads <count>', 'threads at most', wholeNumber)
  .option('--json <file>', 'write all figures there')
  .action(main)
  .parse();
