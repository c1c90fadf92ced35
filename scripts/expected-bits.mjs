// node scripts/expected-bits.mjs: writes test/package/expected-bits.json, by the scalar variant. A change
// there is a change of the numerics contract.

import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const lib = require('../dist/index.js');
const { bitsOf } = require('../test/package/bits.cjs');

lib.setCpuVariant('scalar');
const file = fileURLToPath(new URL('../test/package/expected-bits.json', import.meta.url));
writeFileSync(file, JSON.stringify(bitsOf(lib), null, 2) + '\n');
