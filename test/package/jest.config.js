// Tests the package as users install it: scripts/test-package.sh packs and installs it, and runs
// them.

const base = require('../../jest.config.js');

/** @type {import('jest').Config} */
module.exports = {
  ...base,
  rootDir: '../..',
  globalSetup: undefined,
  moduleNameMapper: undefined,
  testMatch: ['<rootDir>/test/package/**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/'],
};
