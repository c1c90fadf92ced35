import { Command } from 'commander';
import { devices, type CudaDevice } from 'fused-rmsnorm';

import { loadedAddon } from '../environment/addon';
import { Failure } from '../environment/failure';
import { describeMachine, nvidiaDriver } from '../environment/machine';
import { showProgress } from '../report/progress';
import { textOf, type VerificationReport } from '../verify/text';
import { failureOf, verify, type Verification } from '../verify/verify';
import { exitCodesHelp } from './help';
import { readCudaDevice, readRegularExpression } from './parse';

interface Options {
  readonly device: string;
  readonly filter?: RegExp;
  readonly thorough?: true;
  readonly json?: true;
}

export function verifyCommand(): Command {
  return new Command('verify')
    .summary('checks that a GPU gives the same bits as the CPU')
    .description(
      'Compares a GPU with the CPU, bit for bit: every kernel, in calls of every kind, and graphs, ' +
        'streams, and allocations in random order.',
    )
    .option('--device <name>', 'cuda (the first GPU) or cuda:N', readCudaDevice, 'cuda')
    .option(
      '--filter <regexp>',
      'run only groups whose name matches, such as "^forward"',
      readRegularExpression,
    )
    .option('--thorough', 'also check larger calls, which takes minutes')
    .option('--json', 'print one JSON object; docs/device.md explains its names')
    .addHelpText('after', () => `\n${exitCodesHelp(exitCodes)}`)
    .action(check);
}

const exitCodes = {
  0: 'all bits are the same',
  1: 'some bits differ, a kernel was not reached, there is no GPU, or another error',
  2: 'wrong usage',
};

async function check({ device: name, filter = /(?:)/, thorough, json }: Options): Promise<void> {
  const device = findDevice(name);
  const isThorough = thorough === true;
  const progress = showProgress();
  let checked: Verification;
  try {
    checked = await verify({ device, isThorough, filter }, loadedAddon(), progress.update);
  } finally {
    progress.stop();
  }
  if (checked.groups.length === 0) throw new Failure('No group matches --filter.');
  const failure = failureOf(checked);
  const report: VerificationReport = {
    ...{ date: new Date().toISOString(), machine: describeMachine(), gpu: device },
    ...{ driver: nvidiaDriver(), isThorough, failure, ...checked },
  };
  process.stdout.write(json === true ? `${JSON.stringify(report, null, 2)}\n` : textOf(report));
  if (failure !== null) throw new Failure(failure);
}

function findDevice(name: string): CudaDevice {
  const gpus = devices();
  const wanted = name === 'cuda' ? 'cuda:0' : name;
  const found = gpus.find(({ device }) => device === wanted);
  if (found !== undefined) return found;
  const known = gpus.map(({ device }) => device).join(', ');
  throw new Failure(gpus.reason ?? `--device must be one of ${known}. Received '${name}'`);
}
