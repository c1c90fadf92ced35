// Installs and builds what is missing or older than its sources: what `npm test`, `npm run bench`
// and `npm run quickstart` run first, so that each works right after `git clone`. With --simulator
// also what the tests of the CUDA path run on where there is no GPU.

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');

// An npm that does not know `allowScripts` of package.json yet would let onnxruntime-node download
// what its tests do without.
const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' };

function run(command, ...args) {
  console.error(`> ${command} ${args.join(' ')}`);
  const { status, error } = spawnSync(command, args, { cwd: root, env, stdio: ['ignore', 2, 2] });
  if (error !== undefined) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

function modified(file) {
  const full = path.join(root, file);
  return existsSync(full) ? statSync(full).mtimeMs : 0;
}

function newest(folder) {
  return Math.max(
    ...readdirSync(path.join(root, folder), { recursive: true }).map((name) =>
      modified(path.join(folder, name)),
    ),
  );
}

function hasTool(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

// Not `npm ci`: the lock file lacks optional packages of platforms whose registry had none when it
// was made, which `npm ci` takes for an error.
if (modified('node_modules/.package-lock.json') < modified('package-lock.json')) {
  run('npm', 'install', '--no-save');
}

const addon = 'build/Release/rmsnorm.node';
const bench = 'build/Release/rmsnorm_bench.node';
const sources = Math.max(newest('csrc'), newest('bench/native'), modified('CMakeLists.txt'));
if (Math.min(modified(addon), modified(bench)) < sources) {
  for (const tool of ['cmake', 'c++']) {
    if (hasTool(tool)) continue;
    console.error(
      `The native addon needs ${tool} to be built: install CMake 3.22 and a C++20 compiler.`,
    );
    process.exit(1);
  }
  run('npm', 'run', '--silent', 'build:native');
}

const scripts = [newest('lib'), newest('bench'), modified('tsconfig.json')];
if (modified('dist/bench/cli.js') < Math.max(...scripts, modified('tsconfig.bench.json'))) {
  run('npm', 'run', '--silent', 'build:ts');
}

const simulator = 'build/cudasim/lib/libcuda.so.1';
const hasKernels = existsSync(path.join(root, 'build/cuda'));
if (
  process.argv.includes('--simulator') &&
  hasKernels &&
  modified(simulator) < newest('test/cudasim')
) {
  const sources = ['-S', 'test/cudasim', '-B', 'build/cudasim', '-DCMAKE_BUILD_TYPE=Release'];
  run('cmake', ...sources);
  run('cmake', '--build', 'build/cudasim', '--target', 'cuda', '--parallel');
}
