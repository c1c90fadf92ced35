// cmake-js.ts [TARGET...] [--CDNAME=VALUE...]: builds the named targets. Without names it builds all: the
// addon and the native modules of the benchmark and the tests in build/Release, and, if there is nvcc, the
// CUDA kernels in build/cuda. --CDNAME=VALUE sets the CMake variable NAME.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';

const root = path.join(__dirname, '..');

/**
 * Arguments that make a build folder keep its generator. cmake-js would choose Ninja if it is installed,
 * but CMake refuses a folder of another generator. If the program of the generator no longer exists, the
 * folder is configured from the start.
 */
function generatorArguments(folder: string): string[] {
  const cache = path.join(folder, 'CMakeCache.txt');
  if (!existsSync(cache)) return [];
  const lines = readFileSync(cache, 'utf8');
  const cached = (name: string) => new RegExp(`^${name}:\\w+=(.+)$`, 'm').exec(lines)?.[1];
  const generator = cached('CMAKE_GENERATOR');
  if (generator === undefined) return [];
  if (existsSync(cached('CMAKE_MAKE_PROGRAM') ?? '')) return ['--generator', generator];
  rmSync(cache);
  rmSync(path.join(folder, 'CMakeFiles'), { recursive: true, force: true });
  return [];
}

/** Configures a build folder, and builds all or some of its targets. Ends this process on failure. */
export function build(folder: string, variables: readonly string[], ...targets: string[]): void {
  const run = (...command: string[]) => {
    const cli = require.resolve('cmake-js/bin/cmake-js');
    const how = ['--directory', root, '--out', folder, ...generatorArguments(folder)];
    const { status, error } = spawnSync(process.execPath, [cli, ...command, ...how], {
      stdio: 'inherit',
    });
    if (error !== undefined) throw error;
    if (status !== 0) process.exit(status ?? 1);
  };
  run('configure', ...variables);
  // By default make runs one job at a time.
  const jobs = process.env['CMAKE_BUILD_PARALLEL_LEVEL'] ?? String(availableParallelism());
  const wanted = targets.length === 0 ? [[]] : targets.map((target) => ['--target', target]);
  for (const target of wanted) run('build', '--parallel', jobs, ...target);
}

if (require.main === module) {
  const args = process.argv.slice(2);
  const variables = args.filter((arg) => arg.startsWith('--'));
  const targets = args.filter((arg) => !variables.includes(arg));
  const all = ['--CDRMSNORM_BENCH=ON', '--CDRMSNORM_TEST_ADDON=ON', ...variables];
  build(path.join(root, 'build'), all, ...targets);
}
