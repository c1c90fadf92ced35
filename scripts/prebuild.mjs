// npm run prebuild [-- --all | PLATFORM-ARCH...]: the addons that ship, and the benchmark's native
// modules beside them:
//
//   prebuilds/linux-x64/rmsnorm.glibc.node     bench/prebuilds/linux-x64/rmsnorm_bench.glibc.node
//   prebuilds/cuda/*.fatbin                    the kernels, the same for all platforms
//
// They are those of this machine, and of each platform that there is a cross compiler for, or of those
// that are named; with --all it is an error if a compiler is missing.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const require = createRequire(import.meta.url);
const prebuildify = promisify(require('prebuildify'));
const { cmakeJs } = require('./cmake-js.js');
const { fatbinOf, sealFatbin } = require('./sealed-fatbin.js');
const { shippedFatbin } = require('./shipped-fatbin.js');
const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');

/** Compilers of Debian's, for other platforms than this machine's. */
const crossTargets = [
  {
    platform: 'linux',
    arch: 'arm64',
    tools: 'aarch64-linux-gnu',
    package: 'g++-aarch64-linux-gnu',
  },
  {
    platform: 'win32',
    arch: 'x64',
    tools: 'x86_64-w64-mingw32',
    package: 'g++-mingw-w64-x86-64-posix',
  },
];

function isMachine({ platform, arch }) {
  return platform === process.platform && arch === process.arch;
}

function hasCompiler({ tools }) {
  return spawnSync(`${tools}-g++`, ['--version'], { stdio: 'ignore' }).status === 0;
}

/** Compiles the kernels where there is nvcc, and puts them where the package has them. */
function prebuildKernels() {
  const folder = path.join(root, 'build');
  cmakeJs(folder, 'configure', '--CDRMSNORM_BENCH=ON');
  cmakeJs(folder, 'build', '--target', 'cuda_kernels');
  const built = path.join(folder, 'cuda');
  const names = existsSync(built)
    ? readdirSync(built).filter((name) => name.endsWith('.fatbin'))
    : [];
  if (names.length === 0) {
    console.error('Without nvcc, prebuilds/cuda is left as it is.');
    return;
  }
  const shipped = path.join(root, 'prebuilds/cuda');
  rmSync(shipped, { recursive: true, force: true });
  mkdirSync(shipped, { recursive: true });
  for (const name of names) {
    const fatbin = fatbinOf(readFileSync(path.join(built, name)));
    writeFileSync(path.join(shipped, name), sealFatbin(name, shippedFatbin(fatbin)));
  }
}

/** Builds the modules of a platform. Those of this machine come from build/, which the tests used. */
async function prebuild({ platform, arch, tools }) {
  const isCross = tools !== undefined;
  const folder = path.join(root, 'build/prebuild', `${platform}-${arch}`);
  mkdirSync(folder, { recursive: true });
  process.env.RMSNORM_PREBUILD_FOLDER = isCross ? folder : path.join(root, 'build');
  process.env.RMSNORM_PREBUILD_TOOLCHAIN = isCross ? path.join(root, `cmake/${tools}.cmake`) : '';
  for (const [name, out] of [
    ['rmsnorm', root],
    ['rmsnorm_bench', path.join(root, 'bench')],
  ]) {
    process.env.RMSNORM_PREBUILD_MODULE = name;
    rmSync(path.join(out, 'prebuilds', `${platform}-${arch}`), { recursive: true, force: true });
    await prebuildify({
      ...{ name, platform, arch, cwd: folder, out, napi: true },
      // What the linker has stripped for Windows, strip would write the time of day into.
      strip: platform !== 'win32',
      ...(platform === 'linux' ? { tagLibc: 'glibc' } : {}),
      ...(isCross ? { stripBin: `${tools}-strip` } : {}),
      nodeGyp: path.join(root, 'scripts/prebuildify-backend.js'),
    });
  }
  console.error(`prebuilds/${platform}-${arch}: built`);
}

const wanted = process.argv.slice(2).filter((argument) => argument !== '--all');
const machine = { platform: process.platform, arch: process.arch };
const all = [machine, ...crossTargets.filter((target) => !isMachine(target))];

prebuildKernels();
for (const target of all) {
  const { platform, arch, tools } = target;
  const name = `${platform}-${arch}`;
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  if (tools === undefined || hasCompiler(target)) {
    await prebuild(target);
  } else {
    const missing = `there is no ${tools}-g++ (Debian's package ${target.package})`;
    console.error(`prebuilds/${name}: not built, since ${missing}`);
    if (process.argv.includes('--all') || wanted.length > 0) process.exitCode = 1;
  }
}
