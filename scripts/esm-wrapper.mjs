// Writes the *.mjs of dist and their types: names for `import`, over the one CommonJS build, so that
// a process that both imports and requires the package has its classes once.

import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const dist = fileURLToPath(new URL('../dist/', import.meta.url));

for (const entry of ['index', 'tfjs']) {
  const names = Object.keys(createRequire(import.meta.url)(`${dist}${entry}.js`)).sort();
  writeFileSync(
    `${dist}${entry}.mjs`,
    `import cjs from './${entry}.js';\n\nexport const { ${names.join(', ')} } = cjs;\n`,
  );
  writeFileSync(`${dist}${entry}.d.mts`, `export * from './${entry}.js';\n`);
}
