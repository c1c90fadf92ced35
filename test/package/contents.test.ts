// What an installation consists of: how many packages, how many bytes, and documents whose links lead
// to files that are there.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

import { installedPackage as folder } from './application';

const installed = path.dirname(folder);
const mostBytes = 8_000_000;

test('npm installs two packages', () => {
  const names = readdirSync(installed).filter((name) => !name.startsWith('.'));
  expect(names.sort()).toEqual(['fused-rmsnorm', 'node-gyp-build']);
});

test('they have at most 8 MB together', () => {
  const names = readdirSync(installed, { recursive: true }) as string[];
  const sizes = names
    .map((name) => statSync(path.join(installed, name)))
    .map((status) => (status.isFile() ? status.size : 0));
  const total = sizes.reduce((a, b) => a + b, 0);
  expect(total).toBeLessThanOrEqual(mostBytes);
  expect(total).toBeGreaterThan(mostBytes / 2); // the kernels and addons are there
});

/** The files that a document links to: those of this package, without the part of the file. */
function linksOf(document: string): string[] {
  const text = readFileSync(path.join(folder, document), 'utf8');
  const links = Array.from(text.matchAll(/\]\(([^)#]+)[^)]*\)/g), ([, link]) => link ?? '');
  return links.filter((link) => !link.includes('://'));
}

const documents = readdirSync(path.join(folder, 'docs')).filter((name) => name.endsWith('.md'));

test('the README links to documents and examples that are there', () => {
  const links = linksOf('README.md').filter((link) => /^(docs|examples)\b/.test(link));
  const named = documents.map((name) => `docs/${name}`);
  expect(links).toEqual(expect.arrayContaining([...named, 'docs/benchmarks.svg', 'examples']));
  expect(links.filter((link) => !existsSync(path.join(folder, link)))).toEqual([]);
});

test.each(documents)('so does docs/%s', (name) => {
  const links = linksOf(`docs/${name}`);
  expect(links.filter((link) => !existsSync(path.join(folder, 'docs', link)))).toEqual([]);
});
