import { execFileSync } from 'node:child_process';

import { hasKernels } from '../../scripts/addon-kernels.js';
import { addon, hasSimulator, simulator } from './processes';

/**
 * The tests of the CUDA path run on the GPUs of this machine. Without a GPU they run on three that
 * test/cudasim simulates, one of each compute capability that it knows. If neither is possible they
 * are skipped, and one line says why.
 */
export default function setUp(): void {
  if (process.env['RMSNORM_LIBCUDA'] === undefined && hasSimulator && countGpus() === 0) {
    process.env['RMSNORM_LIBCUDA'] = simulator;
    process.env['CUDASIM_DEVICES'] = '3';
    process.env['CUDASIM_CC'] = '7.5,8.0,9.0';
  }
  if (!hasSimulator) process.stderr.write(`\n${whySkipped()}\n`);
}

function whySkipped(): string {
  const reason =
    process.platform !== 'linux'
      ? 'the simulated CUDA driver is for Linux'
      : hasKernels()
        ? 'the simulated CUDA driver is not built: run `npm test`, which builds it'
        : 'there are no compiled kernels: install nvcc 13 (on the PATH, or where CUDA_PATH says), and run `npm test` again';
  return `The tests of CUDA are skipped, since ${reason}.`;
}

function countGpus(): number {
  const program = `console.log(require(${JSON.stringify(addon)}).devices().length ?? 0)`;
  return Number(execFileSync(process.execPath, ['-e', program], { encoding: 'utf8' }));
}
