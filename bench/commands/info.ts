import { cpuVariants, devices } from 'fused-rmsnorm';
import { Command } from 'commander';

import { describeMachine } from '../machine';

export function infoCommand(): Command {
  return new Command('info')
    .description('Says what this package finds here: versions, CPU variant, threads, GPUs.')
    .action(info);
}

function info(): void {
  const { version, node, platform, cpu, variant, threads } = describeMachine();
  const list = devices();
  const lines = [
    ['fused-rmsnorm', version],
    ['Node.js', `${node}, Node-API ${process.versions['napi'] ?? 'unknown'}, ${platform}`],
    ['CPU', `${cpu}: ${variant} of ${cpuVariants().join(', ')}; ${threads} threads`],
    ['GPUs', list.reason ?? list.map(({ device, name }) => `${device} ${name}`).join(', ')],
  ] as const;
  for (const [name, value] of lines) process.stdout.write(`${name}: ${value}\n`);
}
