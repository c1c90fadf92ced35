// Installs and builds everything that is missing or older than its sources. `npm test`, `npm run bench`
// and `npm run quickstart` run it first, so that each works right after `git clone`.
//
//   node scripts/prepare.mjs              the addons, the CUDA kernels where there is nvcc, and dist
//   node scripts/prepare.mjs --addon      only the addon, which is enough to compute on the CPU
//   node scripts/prepare.mjs --simulator  everything, and the simulated CUDA driver, which the tests of
//                                         the CUDA path use without a GPU

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, statSync, utimesSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const { hasKernels } = createRequire(import.meta.url)('./addon-kernels.js');
const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const isAddonAlone = process.argv.includes('--addon');
const wantsSimulator = process.argv.includes('--simulator');
// By default make runs one job at a time.
const jobs = ['--parallel', String(availableParallelism())];

// An npm that does not know `allowScripts` of package.json would let onnxruntime-node download libraries
// that the tests do not need.
const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' };

function fail(message) {
  console.error(message);
  process.exit(1);
}

/** Runs a command, whose output is shown. Returns a message if it failed. */
function attempt(command, ...args) {
  const line = [command, ...args].join(' ');
  console.error(`> ${line}`);
  const { status, signal, error } = spawnSync(command, args, {
    cwd: root,
    env,
    stdio: ['ignore', 2, 2],
  });
  if (error?.code === 'ENOENT') return `'${line}' failed: there is no program '${command}'.`;
  if (error !== undefined) throw error;
  if (status === 0) return undefined;
  return `'${line}' failed (${signal ?? `exit code ${status}`}): see above.`;
}

function run(command, ...args) {
  const failure = attempt(command, ...args);
  if (failure !== undefined) fail(failure);
}

/** The time of the last change to these files and to all files below these folders; 0 if missing. */
function modified(...names) {
  const times = names.map((name) => {
    const status = statSync(path.join(root, name), { throwIfNoEntry: false });
    const below = status?.isDirectory() ? readdirSync(path.join(root, name)) : [];
    return Math.max(status?.mtimeMs ?? 0, modified(...below.map((each) => path.join(name, each))));
  });
  return Math.max(0, ...times);
}

function hasTool(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

function checkTools() {
  const needs = 'The native addon needs CMake 3.22 and a C++20 compiler to be built';
  if (!hasTool('cmake')) fail(`${needs}: install cmake.`);
  // CMake looks for these compilers, or for the one that CXX names.
  if (process.env.CXX || ['c++', 'g++', 'clang++'].some(hasTool)) return;
  fail(`${needs}: install g++ or clang, or set CXX.`);
}

/**
 * Compiles the code that needs no npm packages while npm installs, which keeps only one processor busy.
 * Its output is not shown: the build after it continues the work, and reports errors.
 */
function beginToCompile() {
  // The flags are those of cmake-js: with other flags everything would be compiled again.
  const flags = '-DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS=-DBUILDING_NODE_EXTENSION';
  const build = `cmake --build build --target rmsnorm_core ${jobs.join(' ')}`;
  const commands = `cmake -S . -B build ${flags} && ${build}`;
  const child = spawn('sh', ['-c', commands], { cwd: root, env, stdio: 'ignore' });
  return once(child, 'close').catch(() => undefined);
}

const modules = isAddonAlone ? ['rmsnorm'] : ['rmsnorm', 'rmsnorm_bench', 'rmsnorm_test'];
const addons = modules.map((name) => `build/Release/${name}.node`);
const sources = 'csrc bench/native test/support/addon cmake CMakeLists.txt package.json'.split(' ');
const wantsBuild = addons.some((addon) => modified(addon) < modified(...sources));
if (wantsBuild) checkTools();

// Not `npm ci`: the lock file lacks optional packages for platforms that the registry did not have when
// it was made, which `npm ci` takes for an error.
if (modified('node_modules/.package-lock.json') < modified('package-lock.json')) {
  const isNew = !existsSync(path.join(root, 'build/CMakeCache.txt'));
  const compiling = wantsBuild && isNew ? beginToCompile() : undefined;
  const failure = attempt('npm', 'install', '--no-save');
  await compiling;
  if (failure !== undefined) fail(failure);
}

if (wantsBuild) {
  run('npm', 'run', '--silent', isAddonAlone ? 'build:addon' : 'build:native');
  // A build does not rewrite an addon whose code an edit did not change. Mark all as newer than their
  // sources, so that the next run does not build again.
  for (const addon of addons) utimesSync(path.join(root, addon), new Date(), new Date());
}

const scripts = 'lib bench tsconfig.json tsconfig.bench.json scripts/bundle-program.ts'.split(' ');
if (!isAddonAlone && modified('dist/bench/cli.js') < modified(...scripts)) {
  run('npm', 'run', '--silent', 'build:ts');
}

const simulator = 'build/cudasim/lib/libcuda.so.1';
if (wantsSimulator && hasKernels() && modified(simulator) < modified('test/cudasim')) {
  run('cmake', '-S', 'test/cudasim', '-B', 'build/cudasim', '-DCMAKE_BUILD_TYPE=Release');
  run('cmake', '--build', 'build/cudasim', '--target', 'cuda', ...jobs);
}
