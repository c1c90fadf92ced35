// node check.cjs [--gpu]: checks that the installed package computes the expected bits, with every
// CPU variant of this machine, or with --gpu on its GPUs.

const assert = require('node:assert/strict');

const lib = require('fused-rmsnorm');
const { bitsOf } = require('./bits.cjs');
const expected = require('./expected-bits.json');

const { platform, arch, version } = process;
if (process.argv.includes('--gpu')) {
  const gpus = lib.devices();
  assert.equal(gpus.reason, null);
  for (const { device, name } of gpus) {
    const bits = bitsOf(lib, device);
    assert.deepEqual(
      bits,
      Object.fromEntries(Object.keys(bits).map((key) => [key, expected[key]])),
    );
    console.log(`${platform}-${arch}, Node.js ${version}, ${name}: the expected bits`);
  }
} else {
  for (const variant of lib.cpuVariants()) {
    lib.setCpuVariant(variant);
    assert.deepEqual(bitsOf(lib), expected);
  }
  const variants = lib.cpuVariants().join(', ');
  console.log(`${platform}-${arch}, Node.js ${version}, ${variants}: the expected bits`);
}
