import js from '@eslint/js';
import tsdoc from 'eslint-plugin-tsdoc';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  // AssemblyScript is no TypeScript: its own compiler checks it.
  {
    ignores: [
      'dist',
      'build',
      'prebuilds',
      'coverage',
      'node_modules',
      'bench/subjects/rivals/assembly',
    ],
  },
  js.configs.recommended,
  {
    files: ['**/*.{ts,mts}'],
    extends: [...tseslint.configs.strictTypeChecked, ...tseslint.configs.stylisticTypeChecked],
    plugins: { tsdoc },
    languageOptions: { parserOptions: { project: './tsconfig.json' } },
    rules: {
      'tsdoc/syntax': 'error',
      // Numbers read better in a template than in String().
      // `as T` where the checks before it prove what TypeScript does not see; `!` is not used.
      '@typescript-eslint/non-nullable-type-assertion-style': 'off',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
    },
  },
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
