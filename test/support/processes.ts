// Runs programs in new processes, for behaviour that the environment decides once per process.

import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { hasKernels } from '../../scripts/addon-kernels.js';

const root = path.join(__dirname, '../..');

/** The native addon under test. */
export const addon = path.join(root, 'build/Release/rmsnorm.node');

/** The stand-in for the CUDA driver, and whether it can run the addon's kernels. */
export const simulator = path.join(root, 'build/cudasim/lib/libcuda.so.1');
export const hasSimulator = hasKernels() && existsSync(simulator);

/** The process ids of children that a process has not waited for, zombies included. Linux only. */
export function childrenOf(pid: number): string[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter(Boolean);
}

/** How a process ended: its exit code or signal, and what it printed. */
export interface Ending {
  readonly end: unknown;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program that has the public API as `lib`, with these environment variables. A variable
 * whose value is `undefined` is removed.
 */
export function runProgram(
  program: string,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<Ending> {
  const env: NodeJS.ProcessEnv = { ...process.env, ...environment };
  for (const name of Object.keys(env)) {
    const isOfSimulator = name.startsWith('CUDASIM_') && !(name in environment);
    if (env[name] === undefined || isOfSimulator) Reflect.deleteProperty(env, name);
  }
  const load = `const lib = require(${JSON.stringify(path.join(root, 'lib'))});`;
  const args = ['-r', 'tsx/cjs', '-e', load + program];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { env, cwd: root }, (error, stdout, stderr) => {
      resolve({ end: error === null ? 0 : (error.signal ?? error.code), stdout, stderr });
    });
  });
}

/**
 * The values that a program passes to `print`, at least one. The process must end with exit code 0.
 */
export async function printedBy(
  program: string,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<unknown[]> {
  const print = "const print = (value) => process.stdout.write(JSON.stringify(value) + '\\n');";
  const { end, stdout, stderr } = await runProgram(print + program, environment);
  if (end !== 0) throw new Error(`ended by ${String(end)}: ${stderr}`);
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
}
