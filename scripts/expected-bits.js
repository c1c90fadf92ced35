// node scripts/expected-bits.js: writes test/package/expected-bits.json with the scalar variant. A
// changed file is a change of the numerics contract.

const { writeFileSync } = require('node:fs');
const path = require('node:path');

const lib = require('../dist');
const { bitsOf } = require('../test/package/bits.cjs');

lib.setCpuVariant('scalar');
const file = path.join(__dirname, '../test/package/expected-bits.json');
writeFileSync(file, `${JSON.stringify(bitsOf(lib), null, 2)}\n`);
