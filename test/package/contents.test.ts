// Tests what an installation consists of: how many packages, how many bytes, and documents whose
// links lead to existing targets.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

import { findKernels } from '../../bench/environment/kernels';
import { filesIn, installedPackage as folder } from './application';

const installed = path.dirname(folder);
const mostBytes = 10_500_000;

test('npm installs two packages', () => {
  const names = readdirSync(installed).filter((name) => !name.startsWith('.'));
  expect(names.sort()).toEqual(['fused-rmsnorm', 'node-gyp-build']);
});

test('the packages have at most 10.5 MB together', () => {
  const names = readdirSync(installed, { recursive: true }) as string[];
  const sizes = names
    .map((name) => statSync(path.join(installed, name)))
    .map((status) => (status.isFile() ? status.size : 0));
  const total = sizes.reduce((a, b) => a + b, 0);
  expect(total).toBeLessThanOrEqual(mostBytes);
  expect(total).toBeGreaterThan(mostBytes / 2); // the kernels and addons are there
});

test('the kernels have machine code for every architecture, and PTX for older drivers', () => {
  const kernels = findKernels(path.join(folder, 'prebuilds/linux-x64/rmsnorm.glibc.node'));
  const architectures = Object.keys(kernels?.bytesByArchitecture ?? {});
  expect(architectures).toEqual(['sm_75+80+86+90+100+120', 'compute_75+80+90+100']);
});

const documents = filesIn(folder).filter((name) => name.endsWith('.md'));
const textOf = (document: string) => readFileSync(path.join(folder, document), 'utf8');
const withoutCode = (text: string) => text.replaceAll(/^```.*?^```|`[^`\n]*`/gms, '');

/** The links of a document to files, as paths in the package, and the anchors they name. */
function linksOf(document: string): { file: string; anchor: string }[] {
  const links = Array.from(withoutCode(textOf(document)).matchAll(/\]\(([^)\s]+)/g), ([, link]) =>
    String(link),
  );
  return links
    .filter((link) => !/^[a-z]+:/.test(link))
    .map((link) => {
      const [file = '', anchor = ''] = link.split('#');
      return { file: file === '' ? document : path.join(path.dirname(document), file), anchor };
    });
}

/** The anchors of a document: its own, and those that viewers make from its headings. */
function anchorsOf(document: string): Set<string> {
  const text = textOf(document);
  const own = Array.from(text.matchAll(/<a id="([^"]+)">/g), ([, id]) => String(id));
  const headings = Array.from(
    text.replaceAll(/^```.*?^```/gms, '').matchAll(/^#+ (.*)$/gm),
    ([, title]) => String(title),
  );
  const made = headings.map((title) =>
    title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  );
  return new Set([...own, ...made]);
}

test('the documents include the API reference', async () => {
  const written = ['README.md', 'CHANGELOG.md', 'docs/migration.md', 'docs/design.md'];
  expect(documents).toEqual(expect.arrayContaining([...written, 'docs/api/index.md']));
  const reference = textOf('docs/api/index.md');
  const exported = (await import(folder)) as object;
  for (const name of Object.keys(exported).filter((each) => each !== 'default')) {
    expect(reference).toMatch(new RegExp(`^### ${name}(\\(\\))?$`, 'm'));
  }
  expect(textOf('docs/api/tfjs.md')).toContain('### rmsNorm()');
});

test('the README links to all documents, and to the examples', () => {
  const links = linksOf('README.md').map(({ file }) => file);
  const own = documents.filter((name) => path.dirname(name) === 'docs');
  const others = ['docs/api/index.md', 'docs/benchmarks.svg', 'examples', 'CHANGELOG.md'];
  expect(links).toEqual(expect.arrayContaining([...own, ...others]));
});

test.each(documents)('all links of %s lead to the contents of the package', (document) => {
  const broken = linksOf(document).filter(({ file, anchor }) => {
    if (file.startsWith('..') || !existsSync(path.join(folder, file))) return true;
    return anchor !== '' && !anchorsOf(file).has(anchor);
  });
  expect(broken).toEqual([]);
});
