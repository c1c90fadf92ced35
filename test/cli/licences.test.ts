// Tests the licences of packages that are bundled into the program. test/package tests those that
// ship.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { licencesOf, packageFolder } from '../../scripts/licences';

let root = '';
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'rmsnorm-licences-'));
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

/** Makes a package with these files. */
function makePackage(name: string, files: Readonly<Record<string, string>>): string {
  const folder = path.join(root, name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name, version: '1.2.3' }));
  for (const [file, text] of Object.entries(files)) writeFileSync(path.join(folder, file), text);
  return folder;
}

test.each(['LICENSE', 'license', 'LICENCE.md', 'LICENSE-MIT.txt', 'COPYING'])(
  'a licence is found in %s',
  (file) => {
    const folder = makePackage('one', { [file]: 'Do what\r\nyou want.\r\n\r\n' });
    expect(licencesOf([folder])).toBe('one@1.2.3\n\nDo what\nyou want.\n');
  },
);

test('the licences of several packages are in the order of their names', () => {
  const folders = ['b', '@a/c'].map((name) => makePackage(name, { LICENSE: 'Yes.' }));
  expect(licencesOf(folders)).toBe(`@a/c@1.2.3\n\nYes.\n\n${'-'.repeat(80)}\n\nb@1.2.3\n\nYes.\n`);
});

test('a package without a licence file cannot be bundled', () => {
  const folder = makePackage('one', { 'readme.md': 'MIT', 'licensed.js': '' });
  expect(() => licencesOf([folder])).toThrow(`${folder} has no licence file`);
});

test.each([
  ['node_modules/one/lib/index.js', 'node_modules/one'],
  ['node_modules/@a/b/index.js', 'node_modules/@a/b'],
  ['node_modules/one/node_modules/two/index.js', 'node_modules/one/node_modules/two'],
  ['bench/cli.ts', undefined],
])('%s belongs to %s', (file, folder) => {
  expect(packageFolder(file)).toBe(folder);
});
