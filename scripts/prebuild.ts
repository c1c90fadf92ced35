// npm run prebuild [-- --all | PLATFORM-ARCH...]: builds the addons that ship, and the native modules of
// the benchmark:
//
//   prebuilds/linux-x64/rmsnorm.glibc.node     bench/prebuilds/linux-x64/rmsnorm_bench.glibc.node
//   prebuilds/cuda/*.fatbin                    the kernels, the same for all platforms
//
// It builds for this machine and for each platform that has a cross compiler here, or only for the named
// platforms. With any argument a missing compiler is an error.

import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

import prebuildify from 'prebuildify';

import { build } from './cmake-js';

const root = path.join(__dirname, '..');
const withBench = '--CDRMSNORM_BENCH=ON';

interface Target {
  /** The platform, as node-gyp-build names it. */
  readonly name: string;
  /** The prefix of the cross compiler's programs, and its Debian package; undefined for this machine. */
  readonly tools?: string;
  readonly package?: string;
}

const machine = `${process.platform}-${process.arch}`;
const crossTargets: readonly Target[] = [
  { name: 'linux-arm64', tools: 'aarch64-linux-gnu', package: 'g++-aarch64-linux-gnu' },
  { name: 'win32-x64', tools: 'x86_64-w64-mingw32', package: 'g++-mingw-w64-x86-64-posix' },
];
const targets: readonly Target[] = [
  { name: machine },
  ...crossTargets.filter(({ name }) => name !== machine),
];

/** Creates a folder, or empties it. Returns its path. */
function emptied(folder: string): string {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** Compiles the kernels where there is nvcc, and copies them into prebuilds/cuda. */
function prebuildKernels(): void {
  build(path.join(root, 'build'), [withBench], 'cuda_kernels');
  const built = path.join(root, 'build/cuda');
  const files = existsSync(built) ? readdirSync(built) : [];
  const names = files.filter((name) => name.endsWith('.fatbin'));
  if (names.length === 0) {
    console.error('There is no nvcc, so prebuilds/cuda stays unchanged.');
    return;
  }
  const shipped = emptied(path.join(root, 'prebuilds/cuda'));
  for (const name of names) {
    cpSync(path.join(built, name), path.join(shipped, name));
  }
}

/** Builds the modules of a platform. Those of this machine come from build/, which the tests use. */
async function prebuild({ name, tools }: Target): Promise<void> {
  const folder = path.join(root, tools === undefined ? 'build' : `build/prebuild/${name}`);
  // A cross build needs no kernels: they are the same for all platforms.
  const cross = [
    `--CDCMAKE_TOOLCHAIN_FILE=${path.join(root, `cmake/${tools}.cmake`)}`,
    '--CDRMSNORM_CUDA=OFF',
  ];
  const variables = [withBench, ...(tools === undefined ? [] : cross)];
  build(folder, variables, 'rmsnorm', 'rmsnorm_bench');
  const [platform = '', arch = ''] = name.split('-');
  for (const [module, owner] of [
    ['rmsnorm', '.'],
    ['rmsnorm_bench', 'bench'],
  ] as const) {
    // prebuildify packs the one module that it finds in build/Release of a folder.
    const cwd = path.join(folder, 'prebuildify', module);
    const built = emptied(path.join(cwd, 'build/Release'));
    cpSync(path.join(folder, 'Release', `${module}.node`), path.join(built, `${module}.node`));
    rmSync(path.join(root, owner, 'prebuilds', name), { recursive: true, force: true });
    await promisify(prebuildify)({
      ...{ name: module, platform, arch, cwd, out: path.join(root, owner), napi: true },
      // The linker strips modules for Windows. The program strip would write the time of day into them.
      strip: platform !== 'win32',
      ...(platform === 'linux' && { tagLibc: 'glibc' }),
      ...(tools !== undefined && { stripBin: `${tools}-strip` }),
      nodeGyp: path.join(__dirname, 'prebuildify-backend.js'),
    });
  }
  console.error(`prebuilds/${name}: built`);
}

const args = process.argv.slice(2);
const wanted = args.filter((argument) => argument !== '--all');

async function main(): Promise<void> {
  prebuildKernels();
  for (const target of targets) {
    const { name, tools } = target;
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    const compiler = `${tools}-g++`;
    if (
      tools === undefined ||
      spawnSync(compiler, ['--version'], { stdio: 'ignore' }).status === 0
    ) {
      await prebuild(target);
    } else {
      const missing = `there is no ${compiler} (Debian's package ${target.package})`;
      console.error(`prebuilds/${name}: not built, since ${missing}`);
      if (args.length > 0) process.exitCode = 1;
    }
  }
}

void main();
