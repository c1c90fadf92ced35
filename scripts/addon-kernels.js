// Whether the kernels of an addon that was built here are there, which its tests on a GPU need.

const { existsSync, readFileSync } = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');

/** Where an addon in build/Release finds its kernels. */
const folders = ['build/cuda', 'prebuilds/cuda'].map((folder) => path.join(root, folder));

function hasKernels() {
  const addon = path.join(root, 'build/Release/rmsnorm.node');
  if (!existsSync(addon)) return false;
  // It holds the names of those that it asks for.
  const names = readFileSync(addon, 'latin1').match(/\w+\.[0-9a-f]{16}\.fatbin/g) ?? [];
  const areIn = (folder) => names.every((name) => existsSync(path.join(folder, name)));
  return names.length > 0 && folders.some(areIn);
}

module.exports = { hasKernels };
