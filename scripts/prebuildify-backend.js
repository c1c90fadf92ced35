#!/usr/bin/env node
// What prebuildify runs in place of node-gyp: the same build by cmake-js. Of node-gyp's arguments
// only the architecture means something here: Node-API does not depend on the version of Node.js.

const { spawnSync } = require('node:child_process');
const { cpSync, existsSync, readdirSync, rmSync } = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');
const arch = process.argv.find((argument) => argument.startsWith('--arch='));

function cmakeJs(...args) {
  const cli = require.resolve('cmake-js/bin/cmake-js');
  const { status, error } = spawnSync(process.execPath, [cli, ...args], { stdio: 'inherit' });
  if (error !== undefined) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

// Not a rebuild: compiling the kernels takes minutes. What the benchmark adds must not be packed.
rmSync(path.join(root, 'build/Release'), { recursive: true, force: true });
const archArguments = arch === undefined ? [] : ['--arch', arch.slice('--arch='.length)];
cmakeJs('configure', ...archArguments, '--CDRMSNORM_BENCH=OFF');
cmakeJs('build', ...archArguments);

// Builds without nvcc, and those for other processors, embed these kernels.
const built = path.join(root, 'build/cuda');
if (existsSync(built)) {
  for (const name of readdirSync(built).filter((name) => name.endsWith('.fatbin'))) {
    cpSync(path.join(built, name), path.join(root, 'prebuilds/cuda', name));
  }
}
