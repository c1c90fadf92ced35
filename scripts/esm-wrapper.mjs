// Writes dist/index.mjs and its types: names for `import`, over the one CommonJS build, so that a
// process that both imports and requires the package has its classes once.

import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const dist = fileURLToPath(new URL('../dist/', import.meta.url));
const names = Object.keys(createRequire(import.meta.url)(`${dist}index.js`)).sort();

writeFileSync(
  `${dist}index.mjs`,
  `import cjs from './index.js';\n\nexport const { ${names.join(', ')} } = cjs;\n`,
);
writeFileSync(`${dist}index.d.mts`, `export * from './index.js';\n`);
