// Checks that `import` gives the same exports as `require`.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

import * as imported from 'fused-rmsnorm';

const required = createRequire(import.meta.url)('fused-rmsnorm');
assert.deepEqual(Object.keys(imported).sort(), Object.keys(required).sort());
for (const [name, value] of Object.entries(required)) assert.equal(imported[name], value, name);
console.log('import and require give the same');
