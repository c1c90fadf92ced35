/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  // The tests of the package need a tarball: scripts/test-package.sh runs them.
  testPathIgnorePatterns: ['/node_modules/', '<rootDir>/test/package/'],
  // The program of bench/ imports the package by its name.
  moduleNameMapper: {
    '^fused-rmsnorm$': '<rootDir>/lib/index.ts',
    '^fused-rmsnorm/package.json$': '<rootDir>/package.json',
  },
  transform: {
    '\\.ts$': ['@swc/jest', { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' } }],
    // tf's gradients of its own operations are missing from its CommonJS file.
    '/tfjs-core/dist/.*\\.js$': ['@swc/jest', { module: { type: 'commonjs' } }],
  },
  transformIgnorePatterns: [
    '/node_modules/(?!@tensorflow/tfjs-core/dist/)',
    'tf-core\\.node\\.js$',
  ],
  // The threads of the addon under test use all processors.
  maxWorkers: 2,
  // Some tests start processes, on machines that may be busy or emulated.
  testTimeout: 60_000,
};
