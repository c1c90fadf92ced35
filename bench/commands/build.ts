import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import path from 'node:path';

import { Command } from 'commander';

import { Failure } from '../failure';
import { packageRoot } from '../package';

/** For where the package has no addon, or none that loads: this command needs none. */
export function buildCommand(): Command {
  return new Command('build')
    .summary('the native addon from source')
    .description('Builds the native addon from source, into build/Release of this package.')
    .addHelpText(
      'after',
      '\nNeeds CMake 3.22 and a C++20 compiler (CXX names another than c++). Kernels for GPUs come with' +
        '\nthe package; where they do not, nvcc compiles them if it is there.',
    )
    .action(build);
}

function build(): void {
  const compiler = process.env['CXX'] ?? 'c++';
  requireTool('cmake', 'CMake 3.22 or newer (https://cmake.org, or the package cmake)');
  requireTool(compiler, 'a C++20 compiler, such as GCC 11 or clang 14 (the package g++)');
  const folder = path.join(packageRoot, 'build/from-source');
  const release = path.join(packageRoot, 'build/Release');
  const clean = () => {
    rmSync(folder, { recursive: true, force: true });
  };
  clean();
  run('cmake', [
    ...['-S', packageRoot, '-B', folder, '-DCMAKE_BUILD_TYPE=Release', '-DRMSNORM_BENCH=ON'],
    `-DCMAKE_LIBRARY_OUTPUT_DIRECTORY=${release}`,
    `-DCMAKE_JS_INC=${headerFolders().join(';')}`,
    `-DRMSNORM_CUDA=${existsSync(path.join(packageRoot, 'prebuilds/cuda')) ? 'OFF' : 'AUTO'}`,
  ]);
  run('cmake', ['--build', folder, '--parallel', String(availableParallelism())]);
  clean();
  const program = "require('fused-rmsnorm').cpuVariants()";
  run(process.execPath, ['-e', program], { cwd: packageRoot });
  process.stdout.write(`${path.join(release, 'rmsnorm.node')} is built, and loads.\n`);
}

/** Of Node-API and its C++ wrapper: packages that this one depends on. */
function headerFolders(): string[] {
  const require = createRequire(__filename);
  return ['node-api-headers/include', 'node-addon-api'].map((name) => {
    const [wrapper = '', ...rest] = name.split('/');
    return path.join(path.dirname(require.resolve(`${wrapper}/package.json`)), ...rest);
  });
}

function requireTool(name: string, what: string): void {
  if (spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0) return;
  throw new Failure(`The build needs ${what}. There is no '${name}' that runs.`);
}

function run(command: string, args: readonly string[], options = {}): void {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', ...options });
  if (error !== undefined) throw error;
  if (status === 0) return;
  throw new Failure(`'${path.basename(command)} ${args[0] ?? ''} …' failed: see above.`);
}
