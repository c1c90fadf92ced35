// Packages that only the benchmark needs: it checks their versions itself, and no install depends on
// them. What it says about those that are too old is in bench-cli.test.ts.

import { readFileSync } from 'node:fs';
import path from 'node:path';

import { importOptional, isOlder } from '../bench/optional-packages';

interface Manifest {
  readonly name: string;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta: Readonly<Record<string, object>>;
  readonly optionalDependencies?: unknown;
}

const read = (file: string): unknown =>
  JSON.parse(readFileSync(path.join(__dirname, '..', file), 'utf8'));
const manifest = read('package.json') as Manifest;

test("the only peer is the one of the package's own entry fused-rmsnorm/tfjs", () => {
  expect(manifest.peerDependencies).toEqual({ '@tensorflow/tfjs-core': '^4.0.0' });
  expect(manifest.peerDependenciesMeta).toEqual({ '@tensorflow/tfjs-core': { optional: true } });
  expect(manifest.optionalDependencies).toBeUndefined();
});

test('the lock file has the same', () => {
  const { packages } = read('package-lock.json') as {
    packages: Readonly<Record<string, Manifest>>;
  };
  const fields = ['dependencies', 'devDependencies', 'peerDependencies', 'peerDependenciesMeta'];
  const pick = (from: Manifest) =>
    fields.map((field) => [field, from[field as keyof Manifest]] as const);
  expect(pick(packages[''] as Manifest)).toEqual(pick(manifest));
});

test.each([
  ['1.19.2', '1.20.0', true],
  ['1.3.0', '1.20.0', true],
  ['0.99.99', '1.20.0', true],
  ['5.33.1', '6.0.0', true],
  ['1.20.1', '1.20.2', true],
  ['1.20.0', '1.20.0', false],
  ['1.20.0-dev.20240918', '1.20.0', false],
  ['1.100.0', '1.20.0', false],
  ['2.0.0', '1.20.0', false],
  ['10.0.0', '6.0.0', false],
])('version %s is older than %s: %p', (version, oldest, expected) => {
  expect(isOlder(version, oldest)).toBe(expected);
});

test('packages that are there, and new enough, are loaded', async () => {
  const loaded = await importOptional(['onnxruntime-node', 'vega'], () => Promise.resolve('them'));
  expect(loaded).toBe('them');
});
