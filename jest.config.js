/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  // They need a tarball: scripts/test-package.sh runs them.
  testPathIgnorePatterns: ['/node_modules/', '<rootDir>/test/package/'],
  // The program of bench/ imports the package by its name.
  moduleNameMapper: {
    '^fused-rmsnorm$': '<rootDir>/lib/index.ts',
    '^fused-rmsnorm/package.json$': '<rootDir>/package.json',
  },
  transform: {
    '\\.ts$': ['@swc/jest', { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' } }],
    // tf's gradients of its own operations, which its CommonJS file leaves out.
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
