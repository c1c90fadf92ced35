// cmake-js.js [TARGET] [--CDNAME=VALUE...]: builds the addon, those of the benchmark and of the tests in
// build/Release, and the CUDA kernels in build/cuda where there is nvcc, or one target of these; with
// CMake's variables as named.

const { spawnSync } = require('node:child_process');
const { accessSync, constants, existsSync, readFileSync, rmSync } = require('node:fs');
const { availableParallelism } = require('node:os');
const path = require('node:path');

const root = path.join(__dirname, '..');

/** What a build folder was configured with; undefined before. */
function cached(folder, name) {
  const file = path.join(folder, 'CMakeCache.txt');
  if (!existsSync(file)) return undefined;
  return new RegExp(`^${name}:\\w+=(.+)$`, 'm').exec(readFileSync(file, 'utf8'))?.[1];
}

function isProgram(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * The generator for a build folder. cmake-js takes Ninja where it is installed, and CMake refuses a
 * folder of another generator: so a folder keeps its own, and starts anew once that has gone.
 */
function generatorArguments(folder) {
  const generator = cached(folder, 'CMAKE_GENERATOR');
  if (generator === undefined) return [];
  if (isProgram(cached(folder, 'CMAKE_MAKE_PROGRAM') ?? '')) return ['--generator', generator];
  rmSync(path.join(folder, 'CMakeCache.txt'));
  rmSync(path.join(folder, 'CMakeFiles'), { recursive: true, force: true });
  return [];
}

/** Runs `cmake-js configure` or `build` in a build folder; ends this process if that fails. */
function cmakeJs(folder, command, ...args) {
  const cli = require.resolve('cmake-js/bin/cmake-js');
  const folders = ['--directory', root, '--out', folder];
  // make does one thing at a time unless it is told otherwise.
  const jobs = process.env['CMAKE_BUILD_PARALLEL_LEVEL'] ?? String(availableParallelism());
  const how = command === 'build' ? ['--parallel', jobs] : [];
  const all = [cli, command, ...folders, ...generatorArguments(folder), ...how, ...args];
  const { status, error } = spawnSync(process.execPath, all, { stdio: 'inherit' });
  if (error !== undefined) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

module.exports = { cmakeJs };

if (require.main === module) {
  const folder = path.join(root, 'build');
  const args = process.argv.slice(2);
  const target = args.find((arg) => !arg.startsWith('--'));
  const variables = args.filter((arg) => arg.startsWith('--'));
  cmakeJs(
    folder,
    'configure',
    ...['--CDRMSNORM_BENCH=ON', '--CDRMSNORM_TEST_ADDON=ON'],
    ...variables,
  );
  cmakeJs(folder, 'build', ...(target === undefined ? [] : ['--target', target]));
}
