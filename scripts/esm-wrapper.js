// Writes the *.mjs files of dist, and their types. They export the names of the one CommonJS build, so
// that a process that both imports and requires the package has its classes once.
//
//   index.mjs           for Node.js, and for tools that load CommonJS as Node.js does
//   index.bundled.mjs   for bundlers, which choose it by the condition `module` of package.json.
//                       CommonJS in a bundle of modules has neither `require` nor __dirname, so this
//                       file requires the package where the bundle runs

const { writeFileSync } = require('node:fs');
const path = require('node:path');

const dist = path.join(__dirname, '../dist/');

const bundled = (entry, specifier) => `import { createRequire } from 'node:module';

function load() {
  // esbuild leaves it out of a bundle that is CommonJS, and follows this \`require\`.
  if (import.meta.url === undefined) return require('./${entry}.js');
  try {
    return createRequire(import.meta.url)('${specifier}');
  } catch (error) {
    if (!/MODULE_NOT_FOUND/.test(error.code) || !error.message.includes("'${specifier}'")) throw error;
    const message =
      'fused-rmsnorm cannot load its native addon from a bundle of modules. ' +
      "Make 'fused-rmsnorm' external to the bundle, and install it where the bundle runs.";
    throw Object.assign(new Error(message, { cause: error }), { code: 'ERR_ADDON_NOT_LOADED' });
  }
}

const cjs = load();
`;

for (const [entry, specifier] of [
  ['index', 'fused-rmsnorm'],
  ['tfjs', 'fused-rmsnorm/tfjs'],
]) {
  const names = Object.keys(require(`${dist}${entry}.js`)).sort();
  const exported = `export const { ${names.join(', ')} } = cjs;\n`;
  writeFileSync(`${dist}${entry}.mjs`, `import cjs from './${entry}.js';\n\n${exported}`);
  writeFileSync(`${dist}${entry}.bundled.mjs`, `${bundled(entry, specifier)}${exported}`);
  writeFileSync(`${dist}${entry}.d.mts`, `export * from './${entry}.js';\n`);
}
