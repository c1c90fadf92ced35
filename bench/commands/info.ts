import { Command } from 'commander';
import {
  devices,
  getNumThreadsSource,
  type CudaDevice,
  type NumThreadsSource,
} from 'fused-rmsnorm';

import { addonFile } from '../environment/addon';
import { findKernels, type Kernels } from '../environment/kernels';
import {
  describeGpu,
  describeMachine,
  describeVersion,
  type Machine,
} from '../environment/machine';
import { wrap } from '../report/terminal';
import { exitCodesHelp } from './help';

export function infoCommand(): Command {
  return new Command('info')
    .summary('shows what the package finds on this machine')
    .description(
      'Shows what the package finds on this machine: versions, CPU variants, GPUs, kernels.',
    )
    .option('--json', 'print one JSON object; docs/benchmarks.md explains its names')
    .addHelpText('after', () => `\n${exitCodesHelp(exitCodes)}`)
    .action(({ json }: { readonly json?: true }) => {
      const found = findAll();
      process.stdout.write(json === true ? `${JSON.stringify(found, null, 2)}\n` : textOf(found));
    });
}

const exitCodes = {
  0: 'success, with or without a GPU',
  1: 'the addon does not load, or another error',
  2: 'wrong usage',
};

/** The findings that `info --json` prints. docs/benchmarks.md explains the names. */
interface Info extends Machine {
  readonly nodeApi: number | null;
  /** The file of the addon that this process has loaded. */
  readonly addon: string | null;
  /** The source of `threads`. */
  readonly threadsSource: NumThreadsSource;
  readonly gpus: readonly CudaDevice[];
  /** Why there are no GPUs; null if there are. */
  readonly gpusReason: string | null;
  readonly kernels: Kernels | null;
}

function findAll(): Info {
  const gpus = devices();
  const addon = addonFile();
  return {
    ...describeMachine(),
    nodeApi: Number(process.versions['napi']) || null,
    addon,
    threadsSource: getNumThreadsSource(),
    gpus: [...gpus],
    gpusReason: gpus.reason,
    kernels: addon === null ? null : findKernels(addon),
  };
}

function textOf(found: Info): string {
  const { gpus, gpusReason, kernels } = found;
  const lines: [string, string][] = [
    ['fused-rmsnorm', describeVersion(found)],
    ['Node.js', `${found.node}, Node-API ${found.nodeApi ?? 'unknown'}, ${found.platform}`],
    ['addon', found.addon ?? 'unknown'],
    ['CPU', `${found.cpu}, ${found.processors} processors`],
    ['variant', `${found.variant} (available: ${found.variants.join(', ')})`],
    ['threads', `at most ${found.threads} (source: ${found.threadsSource})`],
    ...gpus.map((gpu): [string, string] => ['GPU', describeGpu(gpu)]),
    ...(gpusReason === null ? [] : [['GPU', `none. ${gpusReason}`] as [string, string]]),
    ...kernelLines(kernels),
  ];
  return lines.map(([name, text]) => `${`${name}:`.padEnd(15)}${wrap(text, 15)}\n`).join('');
}

function kernelLines(kernels: Kernels | null): [string, string][] {
  if (kernels === null)
    return [['kernels', 'none found, neither beside the addon nor in prebuilds']];
  const { files, folder, bytesByArchitecture } = kernels;
  const sizes = Object.entries(bytesByArchitecture).map(
    ([architecture, bytes]) => `${architecture} ${(bytes / 1024).toFixed(0)} KiB`,
  );
  return [
    ['kernels', `${files} files in ${folder}`],
    ['architectures', `${sizes.join(', ')} (sm: machine code, compute: PTX)`],
  ];
}
