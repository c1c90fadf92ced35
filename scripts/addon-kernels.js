// Whether the kernels of an addon that was built here are there, which its tests on a GPU need.

const { existsSync, readFileSync } = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');

/** Where an addon in build/Release finds its kernels. */
const kernelFolders = ['build/cuda', 'prebuilds/cuda'];

/** The files that the addon asks for, whose names it holds; none without an addon. */
function kernelFiles() {
  const addon = path.join(root, 'build/Release/rmsnorm.node');
  if (!existsSync(addon)) return [];
  const names = readFileSync(addon, 'latin1').match(/\w+\.[0-9a-f]{16}\.fatbin/g);
  return [...new Set(names)];
}

function hasKernels() {
  const names = kernelFiles();
  return (
    names.length > 0 &&
    kernelFolders.some((folder) => names.every((name) => existsSync(path.join(root, folder, name))))
  );
}

module.exports = { hasKernels };
