// The files of compiled kernels: a fatbin, and a line about it that csrc/cuda/driver/kernel_files.cc checks.

const { Buffer } = require('node:buffer');
const { createHash } = require('node:crypto');

/** The file of this name, as cmake/run_nvcc.cmake makes it of what nvcc has compiled. */
function sealFatbin(name, fatbin) {
  const hash = createHash('sha256').update(fatbin).digest('hex');
  return Buffer.concat([fatbin, Buffer.from(`SHA256 (${name}) = ${hash}\n`)]);
}

/** The fatbin in a file. At 6 it has the bytes of its header, and at 8 how many follow that. */
function fatbinOf(file) {
  return file.subarray(0, file.readUInt16LE(6) + Number(file.readBigUInt64LE(8)));
}

module.exports = { fatbinOf, sealFatbin };
