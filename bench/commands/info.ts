import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

import { Command } from 'commander';
import { cpuVariants, devices } from 'fused-rmsnorm';

import { readFatbin } from '../environment/fatbin';
import { describeGpu, describeMachine, describeVersion } from '../environment/machine';

export function infoCommand(): Command {
  return new Command('info')
    .summary('what the package finds here')
    .description('Says what the package finds here: versions, CPU variants, GPUs, kernels.')
    .action(info);
}

function info(): void {
  const machine = describeMachine();
  const { node, platform, cpu, processors, variant, threads } = machine;
  const list = devices();
  const addon = loadedAddon();
  const lines: [string, string][] = [
    ['fused-rmsnorm', describeVersion(machine)],
    ['Node.js', `${node}, Node-API ${process.versions['napi'] ?? 'unknown'}, ${platform}`],
    ['addon', addon ?? 'unknown'],
    ['CPU', `${cpu}, ${processors} processors`],
    ['variant', `${variant} (there are ${cpuVariants().join(', ')})`],
    ['threads', `${threads} at most`],
    ...list.map((device): [string, string] => ['GPU', describeGpu(device)]),
    ...(list.reason === null ? [] : [['GPU', `none. ${list.reason}`] as [string, string]]),
    ...(addon === null ? [] : kernelLines(addon)),
  ];
  for (const [name, value] of lines) process.stdout.write(`${`${name}:`.padEnd(15)}${value}\n`);
}

/** The file of the addon that this process has loaded. */
function loadedAddon(): string | null {
  const files = Object.keys(createRequire(__filename).cache);
  return files.find((file) => /rmsnorm[^/\\]*\.node$/.test(file)) ?? null;
}

/** The fatbins, which lie next to an addon (csrc/cuda/driver/kernel_files.cc), and what they are for. */
function kernelLines(addon: string): [string, string][] {
  const near = path.join(path.dirname(addon), '..');
  const folder = [path.join(near, 'cuda'), path.join(near, '../prebuilds/cuda')].find(
    (candidate) => fatbinsIn(candidate).length > 0,
  );
  if (folder === undefined) return [['kernels', `none, neither in ${near}/cuda nor in prebuilds`]];
  const bytesByArchitecture = new Map<string, number>();
  for (const file of fatbinsIn(folder)) {
    for (const { architecture, bytes } of readFatbin(path.join(folder, file))) {
      bytesByArchitecture.set(
        architecture,
        (bytesByArchitecture.get(architecture) ?? 0) + bytes.length,
      );
    }
  }
  const sizes = Array.from(
    bytesByArchitecture,
    ([architecture, bytes]) => `${architecture} ${(bytes / 1024).toFixed(0)} KiB`,
  );
  return [
    ['kernels', `${fatbinsIn(folder).length} files in ${folder}`],
    ['architectures', `${sizes.sort().join(', ')} (sm: machine code, compute: PTX)`],
  ];
}

function fatbinsIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.fatbin')) : [];
}
