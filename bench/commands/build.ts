import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
} from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';

import { Command } from 'commander';

import { Failure } from '../environment/failure';
import { packageRoot } from '../environment/package';
import { wrap } from '../report/terminal';
import { provideHeaders } from './headers';
import { exitCodesHelp } from './help';

/** The command works without an addon, since it is for packages that have none, or none that loads. */
export function buildCommand(): Command {
  return new Command('build')
    .summary('builds the native addon from source')
    .description('Builds the native addon from source, into build/Release of this package.')
    .addHelpText('after', () => `\n${wrap(needs)}\n\n${exitCodesHelp(exitCodes)}`)
    .action(build);
}

const needs =
  'Needs CMake 3.22 and a C++20 compiler. The environment variable CXX chooses the compiler, with ' +
  'arguments if it needs some. The package contains the GPU kernels; if they are missing, nvcc compiles ' +
  'them, if it is installed. npm installs the headers of Node-API for the build if they are missing.';

const exitCodes = {
  0: 'the addon was built and loads',
  1: 'a tool is missing, or the build failed or was interrupted',
  2: 'wrong usage',
};

function build(): void {
  requireTool('cmake', 'CMake 3.22 or newer (https://cmake.org, or the package cmake)');
  requireCompiler();
  const folder = mkdtempSync(path.join(temporaryFolder(), 'fused-rmsnorm-build-'));
  // With a listener, an interrupt ends the running tool and then this function, not the process.
  const interrupt = () => undefined;
  process.on('SIGINT', interrupt);
  try {
    copySources(path.join(folder, 'source'));
    const headers = provideHeaders(path.join(folder, 'headers'));
    compile(folder, headers);
    install(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
    process.off('SIGINT', interrupt);
  }
  const program = "require('fused-rmsnorm').cpuVariants()";
  run(process.execPath, ['-e', program], { cwd: packageRoot });
  const addon = path.join(packageRoot, 'build/Release/rmsnorm.node');
  process.stdout.write(`${addon} was built and loads.\n`);
}

/**
 * The folder to build in: a temporary one whose path CMake and make accept. The package's own path may
 * contain a `$`, a `;` or a `"`, which they do not accept.
 */
function temporaryFolder(): string {
  const safePath =
    process.platform === 'win32' ? /^[\p{L}\p{N} ._~:\\-]+$/u : /^[\p{L}\p{N} ._~/-]+$/u;
  const folders = [tmpdir(), ...(process.platform === 'win32' ? [] : ['/tmp', '/var/tmp'])];
  const found = folders.find((folder) => existsSync(folder) && safePath.test(realpathSync(folder)));
  if (found !== undefined) return realpathSync(found);
  throw new Failure(
    `The build cannot use the temporary folder '${tmpdir()}': set TMPDIR to a folder whose path has ` +
      'only letters, digits, spaces and the characters ._~- in it.',
  );
}

/** Copies the files that the compiler reads. */
function copySources(folder: string): void {
  for (const name of ['CMakeLists.txt', 'package.json', 'cmake', 'csrc', 'bench/native']) {
    cpSync(path.join(packageRoot, name), path.join(folder, name), { recursive: true });
  }
}

function compile(folder: string, headers: readonly string[]): void {
  const out = path.join(folder, 'build');
  run('cmake', [
    ...['-S', path.join(folder, 'source'), '-B', out],
    ...['-DCMAKE_BUILD_TYPE=Release', '-DRMSNORM_BENCH=ON'],
    `-DCMAKE_LIBRARY_OUTPUT_DIRECTORY=${path.join(out, 'Release')}`,
    `-DCMAKE_JS_INC=${headers.join(';')}`,
    `-DRMSNORM_NODE=${process.execPath}`,
    `-DRMSNORM_CUDA=${existsSync(path.join(packageRoot, 'prebuilds/cuda')) ? 'OFF' : 'AUTO'}`,
  ]);
  run('cmake', ['--build', out, '--parallel', String(availableParallelism())]);
}

/** Copies the built files, with kernels if there are any, to the folders where the package looks for them. */
function install(folder: string): void {
  for (const [from, extension] of [
    ['Release', '.node'],
    ['cuda', '.fatbin'],
  ] as const) {
    const built = path.join(folder, 'build', from);
    const names = existsSync(built) ? readdirSync(built) : [];
    const into = path.join(packageRoot, 'build', from);
    for (const name of names.filter((each) => each.endsWith(extension))) {
      mkdirSync(into, { recursive: true });
      // Removed first, because overwriting a file that a process has loaded would crash that
      // process.
      rmSync(path.join(into, name), { force: true });
      cpSync(path.join(built, name), path.join(into, name));
    }
  }
}

function hasTool(name: string): boolean {
  return spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0;
}

function requireTool(name: string, what: string): void {
  if (hasTool(name)) return;
  throw new Failure(`The build needs ${what}. '${name}' cannot be run.`);
}

/** Requires the compiler that CXX names (a path, or a command with arguments) or that CMake finds. */
function requireCompiler(): void {
  const what = 'a C++20 compiler, such as GCC 11 or clang 14 (the package g++)';
  const wanted = process.env['CXX']?.trim() ?? '';
  if (wanted === '' && ['c++', 'g++', 'clang++'].some(hasTool)) return;
  if (wanted !== '' && existsSync(wanted)) return;
  const [, , quoted, bare] = /^(["'])(.*?)\1|^(\S+)/.exec(wanted) ?? [];
  requireTool(quoted ?? bare ?? 'c++', what);
}

function run(command: string, args: readonly string[], options = {}): void {
  const { status, signal, error } = spawnSync(command, args, { stdio: 'inherit', ...options });
  if (error !== undefined) throw error;
  if (status === 0) return;
  const how = signal === 'SIGINT' ? 'was interrupted.' : 'failed: see above.';
  throw new Failure(`'${path.basename(command)} ${args[0] ?? ''} …' ${how}`);
}
