// Tests packages that only the benchmark needs: it checks their versions itself. bench-cli.test.ts
// has its messages about packages that are too old.

import { importOptional, isOlder } from '../../bench/environment/optional-packages';

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
])('isOlder(%s, %s) is %p', (version, oldest, expected) => {
  expect(isOlder(version, oldest)).toBe(expected);
});

test('installed packages that are new enough are loaded', async () => {
  const loaded = await importOptional(
    ['onnxruntime-node', 'vega'],
    () => Promise.resolve('them'),
    (hint) => new Error(hint),
  );
  expect(loaded).toBe('them');
});
