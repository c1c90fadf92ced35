import { writeFileSync } from 'node:fs';

import { Command, InvalidArgumentError } from 'commander';

import { allCases, caseName, makeArrays, makeCall, minimumBytes, type Case } from './cases';
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

function main(options: Options): void {
  if (options.threads !== undefined) setNumThreads(options.threads);
  const cases = allCases().filter((one) => options.filter?.test(caseName(one)) ?? true);
  const description = machine();
  for (const [name, value] of Object.entries(description)) console.log(`${name}: ${value}`);

  const rows = cases.map((one) => {
    process.stderr.write(`${caseName(one)}\n`);
    return benchmark(one, options);
  });
  console.log(table(rows));
  if (options.json !== undefined) {
    writeFileSync(options.json, `${JSON.stringify({ machine: description, rows }, null, 2)}\n`);
  }
}

new Command('bench')
  .description(
    'Times forward and backward through the public API against the fastest copy (forward) or sum ' +
      '(backward) over the same buffers, on one thread or all, with plain or streaming stores. ' +
      'Bandwidths are of minimum traffic: each element of x and dy read once, of y or dx written once.',
  )
  .option(
    '--filter <regexp>',
    'only cases whose name matches, such as "forward.*float32"',
    regularExpression,
  )
  .option('--rounds <count>', 'visits to each contender; the median is reported', wholeNumber, 9)
  .option('--time <ms>', 'length of a visit', wholeNumber, 30)
  .option('--threads <count>', 'threads at most', wholeNumber)
  .option('--json <file>', 'write all figures there')
  .action(main)
  .parse();
