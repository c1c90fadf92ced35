import { execFileSync } from 'node:child_process';

import { addon, hasSimulator, simulator } from './processes';

/**
 * The tests of the CUDA path run on the GPUs of this machine; where there is none, on three that
 * test/cudasim simulates, one of each compute capability that it knows.
 */
export default function setUp(): void {
  if (process.env['RMSNORM_LIBCUDA'] !== undefined || !hasSimulator || countGpus() > 0) return;
  process.env['RMSNORM_LIBCUDA'] = simulator;
  process.env['CUDASIM_DEVICES'] = '3';
  process.env['CUDASIM_CC'] = '7.5,8.0,9.0';
}

function countGpus(): number {
  const program = `console.log(require(${JSON.stringify(addon)}).devices().length ?? 0)`;
  return Number(execFileSync(process.execPath, ['-e', program], { encoding: 'utf8' }));
}
