// Finds out whether the kernels of the locally built addon exist. Its GPU tests need them.

const { existsSync, readFileSync } = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');

/** Where an addon in build/Release finds its kernels. */
const folders = ['build/cuda', 'prebuilds/cuda'].map((folder) => path.join(root, folder));

function hasKernels() {
  const addon = path.join(root, 'build/Release/rmsnorm.node');
  if (!existsSync(addon)) return false;
  // The addon contains the names of the files that it loads.
  const names = readFileSync(addon, 'latin1').match(/\w+\.[0-9a-f]{16}\.fatbin/g) ?? [];
  const areIn = (folder) => names.every((name) => existsSync(path.join(folder, name)));
  return names.length > 0 && folders.some(areIn);
}

module.exports = { hasKernels };
