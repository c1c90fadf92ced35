#!/usr/bin/env node
// What prebuildify runs in place of node-gyp: the same build by cmake-js. Of node-gyp's arguments
// only the architecture means something here: Node-API does not depend on the version of Node.js.

const { spawnSync } = require('node:child_process');
const { cpSync, existsSync, readdirSync } = require('node:fs');
const path = require('node:path');

const arch = process.argv.find((argument) => argument.startsWith('--arch='));
const { status, error } = spawnSync(
  process.execPath,
  [
    require.resolve('cmake-js/bin/cmake-js'),
    'rebuild',
    ...(arch === undefined ? [] : ['--arch', arch.slice('--arch='.length)]),
    '--CDRMSNORM_BENCH=OFF',
  ],
  { stdio: 'inherit' },
);
if (error !== undefined) throw error;

// Builds without nvcc, and those for other processors, embed these kernels.
const [built, shipped] = ['build/cuda', 'prebuilds/cuda'].map((folder) =>
  path.join(__dirname, '..', folder),
);
if (status === 0 && existsSync(built)) {
  for (const name of readdirSync(built).filter((name) => name.endsWith('.fatbin'))) {
    cpSync(path.join(built, name), path.join(shipped, name));
  }
}
process.exit(status ?? 1);
