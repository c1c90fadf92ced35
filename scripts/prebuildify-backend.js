#!/usr/bin/env node
// What prebuildify runs in place of node-gyp, from scripts/prebuild.mjs: a build by cmake-js of one
// module, which it finds in build/Release of the current folder. Of node-gyp's arguments none means
// anything here: Node-API does not depend on the version of Node.js.

const { spawnSync } = require('node:child_process');
const { cpSync, mkdirSync, rmSync } = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');
const {
  RMSNORM_PREBUILD_FOLDER: folder,
  RMSNORM_PREBUILD_TOOLCHAIN: toolchain,
  RMSNORM_PREBUILD_MODULE: name,
} = process.env;

function cmakeJs(command, ...args) {
  const cli = require.resolve('cmake-js/bin/cmake-js');
  const all = [cli, command, '--directory', root, '--out', folder, ...args];
  const { status, error } = spawnSync(process.execPath, all, { stdio: 'inherit' });
  if (error !== undefined) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

// A build for another platform has kernels already: they are the same.
const cross = [`--CDCMAKE_TOOLCHAIN_FILE=${toolchain}`, '--CDRMSNORM_CUDA=OFF'];
cmakeJs('configure', '--CDRMSNORM_BENCH=ON', ...(toolchain === '' ? [] : cross));
cmakeJs('build', '--target', name);

const found = path.resolve('build/Release');
rmSync(found, { recursive: true, force: true });
mkdirSync(found, { recursive: true });
cpSync(path.join(folder, 'Release', `${name}.node`), path.join(found, `${name}.node`));
