// Installs and builds what is missing or older than its sources: what `npm test`, `npm run bench` and
// `npm run quickstart` run first, so that each works right after `git clone`.
//
//   node scripts/prepare.mjs              the addons, the CUDA kernels where there is nvcc, and dist
//   node scripts/prepare.mjs --addon      the addon alone: all that computing on the CPU takes
//   node scripts/prepare.mjs --simulator  everything, and the simulated CUDA driver, which the tests
//                                         of the CUDA path run on where there is no GPU

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync, utimesSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const { hasKernels } = createRequire(import.meta.url)('./addon-kernels.js');
const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const isAddonAlone = process.argv.includes('--addon');
const wantsSimulator = process.argv.includes('--simulator');

// An npm that does not know `allowScripts` of package.json yet would let onnxruntime-node download
// what its tests do without.
const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' };

function fail(message) {
  console.error(message);
  process.exit(1);
}

/** Runs a command, whose last lines say what is wrong where it fails. */
function run(command, ...args) {
  const line = [command, ...args].join(' ');
  console.error(`> ${line}`);
  const { status, signal, error } = spawnSync(command, args, {
    cwd: root,
    env,
    stdio: ['ignore', 2, 2],
  });
  if (error?.code === 'ENOENT') fail(`'${line}' failed: there is no program '${command}'.`);
  if (error !== undefined) throw error;
  if (status !== 0) fail(`'${line}' failed (${signal ?? `exit code ${status}`}): see above.`);
}

function modified(file) {
  const full = path.join(root, file);
  return existsSync(full) ? statSync(full).mtimeMs : 0;
}

function newest(...folders) {
  const files = folders.flatMap((folder) =>
    readdirSync(path.join(root, folder), { recursive: true }).map((name) =>
      path.join(folder, name),
    ),
  );
  return Math.max(...files.map(modified));
}

function hasTool(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

function checkTools() {
  const needs = 'The native addon needs CMake 3.22 and a C++20 compiler to be built';
  if (!hasTool('cmake')) fail(`${needs}: install cmake.`);
  // CMake itself looks for these, or for what CXX says.
  if (process.env.CXX || ['c++', 'g++', 'clang++'].some(hasTool)) return;
  fail(`${needs}: install g++ or clang, or set CXX.`);
}

// Not `npm ci`: the lock file lacks optional packages of platforms whose registry had none when it
// was made, which `npm ci` takes for an error.
if (modified('node_modules/.package-lock.json') < modified('package-lock.json')) {
  run('npm', 'install', '--no-save');
}

const modules = isAddonAlone ? ['rmsnorm'] : ['rmsnorm', 'rmsnorm_bench', 'rmsnorm_test'];
const addons = modules.map((name) => `build/Release/${name}.node`);
const sources = Math.max(newest('csrc', 'bench/native', 'test/addon', 'cmake'), modified('CMakeLists.txt'));
if (Math.min(...addons.map(modified)) < sources) {
  checkTools();
  run('npm', 'run', '--silent', isAddonAlone ? 'build:addon' : 'build:native');
  // A build leaves a file alone that an edit did not change: now it is up to date all the same.
  for (const addon of addons) utimesSync(path.join(root, addon), new Date(), new Date());
}

const scripts = [
  newest('lib', 'bench'),
  modified('tsconfig.json'),
  modified('tsconfig.bench.json'),
];
if (!isAddonAlone && modified('dist/bench/cli.js') < Math.max(...scripts)) {
  run('npm', 'run', '--silent', 'build:ts');
}

const simulator = 'build/cudasim/lib/libcuda.so.1';
if (wantsSimulator && hasKernels() && modified(simulator) < newest('test/cudasim')) {
  const jobs = ['--parallel', String(availableParallelism())];
  run('cmake', '-S', 'test/cudasim', '-B', 'build/cudasim', '-DCMAKE_BUILD_TYPE=Release');
  run('cmake', '--build', 'build/cudasim', '--target', 'cuda', ...jobs);
}
