import js from '@eslint/js';
import tsdoc from 'eslint-plugin-tsdoc';
import tseslint from 'typescript-eslint';

/**
 * A rule for `files`: after `leaving`, an import's specifier must continue with one of `allowed`.
 * `leaving` and `allowed` are regular expressions.
 */
function layer(files, leaving, allowed) {
  const message = `Imports go one way: ${files.join(', ')} may import ${allowed.join(', ') || 'nothing else'}`;
  const regex = `^${leaving}(?!${allowed.join('|') || '$^'})`;
  const patterns = [{ regex, message: message.replaceAll(/[\\$]/g, '') }];
  return { files, rules: { 'no-restricted-imports': ['error', { patterns }] } };
}

const up = '\\.\\./';
/** The types of the addon, in the root folder. */
const types = `${up}binding$`;

// lib/binding.ts belongs to core. It is in lib/ since bundlers find prebuilds relative to it.
const lib = [
  layer(['lib/*.ts'], up, ['binding$']),
  layer(['lib/binding.ts'], '\\.\\.?/', ['core/', 'binding$']),
  layer(['lib/core/**'], up, [types]),
  layer(['lib/core/outputs.ts'], up, ['binding$', types]),
  layer(['lib/gpu/**'], up, ['core/', 'binding$', types]),
  layer(['lib/call/**'], up, ['core/', 'gpu/', 'binding$', types]),
];

/** The folders of bench. Each may import those before it, and the package by its name. */
const folders = 'environment measure cases subjects report gpu run verify commands'
  .split(' ')
  .map((name) => `${name}/`);
const below = (folder) => folders.slice(0, folders.indexOf(folder));
const bench = [
  layer(['bench/*.ts'], up, []),
  ...folders.map((folder) => layer([`bench/${folder}*.ts`], up, below(folder))),
  // No other subject may import rivals.
  layer(['bench/subjects/*.ts'], `(${up}|\\./(?=rivals/))`, below('subjects/')),
  layer(['bench/subjects/rivals/*.ts'], `(${up}){2}`, below('subjects/')),
  layer(['bench/subjects/rivals/models/*.ts'], `(${up}){3}`, below('subjects/')),
];

export default tseslint.config(
  // AssemblyScript is not TypeScript: its own compiler checks it.
  {
    ignores: [
      'dist',
      'build',
      'prebuilds',
      'coverage',
      'node_modules',
      'bench/subjects/rivals/assembly',
      // Its imports are installed only by test/package, which compiles it.
      'examples/server.mts',
    ],
  },
  js.configs.recommended,
  {
    files: ['**/*.{ts,mts}'],
    extends: [...tseslint.configs.strictTypeChecked, ...tseslint.configs.stylisticTypeChecked],
    plugins: { tsdoc },
    languageOptions: { parserOptions: { project: './tsconfig.json' } },
    rules: {
      '@typescript-eslint/no-invalid-void-type': ['error', { allowAsThisParameter: true }],
      'tsdoc/syntax': 'error',
      // `as T` is used where earlier checks prove what TypeScript does not see; `!` is not used.
      '@typescript-eslint/non-nullable-type-assertion-style': 'off',
      // Numbers read better in a template than in String().
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
    },
  },
  ...lib,
  ...bench,
  {
    files: ['**/*.{js,mjs,cjs}'],
    languageOptions: {
      globals: Object.fromEntries(
        ['process', 'console', 'module', 'require', '__dirname', '__filename', 'URL'].map(
          (name) => [name, 'readonly'],
        ),
      ),
    },
  },
);
