#!/usr/bin/env node
// What prebuildify runs in place of node-gyp, from scripts/prebuild.mjs: a build by cmake-js of one
// module, which it finds in build/Release of the current folder. Of node-gyp's arguments none means
// anything here: Node-API does not depend on the version of Node.js.

const { cpSync, mkdirSync, rmSync } = require('node:fs');
const path = require('node:path');

const { cmakeJs } = require('./cmake-js.js');
const {
  RMSNORM_PREBUILD_FOLDER: folder,
  RMSNORM_PREBUILD_TOOLCHAIN: toolchain,
  RMSNORM_PREBUILD_MODULE: name,
} = process.env;

// A build for another platform has kernels already: they are the same.
const cross = [`--CDCMAKE_TOOLCHAIN_FILE=${toolchain}`, '--CDRMSNORM_CUDA=OFF'];
cmakeJs(folder, 'configure', '--CDRMSNORM_BENCH=ON', ...(toolchain === '' ? [] : cross));
cmakeJs(folder, 'build', '--target', name);

const found = path.resolve('build/Release');
rmSync(found, { recursive: true, force: true });
mkdirSync(found, { recursive: true });
cpSync(path.join(folder, 'Release', `${name}.node`), path.join(found, `${name}.node`));
