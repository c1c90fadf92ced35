// Tests package.json as installers of the package see it, and whether other files agree with it.

import { readFileSync } from 'node:fs';
import path from 'node:path';

interface Manifest {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta: Readonly<Record<string, object>>;
  readonly optionalDependencies?: unknown;
}

const read = (file: string): string => readFileSync(path.join(__dirname, '../..', file), 'utf8');
const manifest = JSON.parse(read('package.json')) as Manifest;

test('the only peer dependency serves the entry point fused-rmsnorm/tfjs', () => {
  expect(manifest.peerDependencies).toEqual({ '@tensorflow/tfjs-core': '^4.0.0' });
  expect(manifest.peerDependenciesMeta).toEqual({ '@tensorflow/tfjs-core': { optional: true } });
  expect(manifest.optionalDependencies).toBeUndefined();
});

test('the only dependency is node-gyp-build, which finds the addon', () => {
  expect(Object.keys(manifest.dependencies)).toEqual(['node-gyp-build']);
});

// bench/commands/headers.ts reads these ranges.
test.each(['node-addon-api', 'node-api-headers'])('%s has a range of one major version', (name) => {
  expect(manifest.devDependencies[name]).toMatch(/^\^[1-9]\d*\.\d+\.\d+$/);
});

test('the lock file has the same dependencies', () => {
  const { packages } = JSON.parse(read('package-lock.json')) as {
    packages: Readonly<Record<string, Manifest>>;
  };
  const fields = ['dependencies', 'devDependencies', 'peerDependencies', 'peerDependenciesMeta'];
  const pick = (from: Manifest) =>
    fields.map((field) => [field, from[field as keyof Manifest]] as const);
  expect(pick(packages[''] as Manifest)).toEqual(pick(manifest));
});

test('the changelog begins with the version, unreleased or with the date of its release', () => {
  const [first] = /^## .*$/m.exec(read('CHANGELOG.md')) ?? [];
  const [, version, state] = /^## (\S+) – (.*)$/.exec(first ?? '') ?? [];
  expect(version).toBe(manifest.version);
  expect(state).toMatch(/^(unreleased|\d{4}-\d{2}-\d{2})$/);
});
