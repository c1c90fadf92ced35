// No file of lib or bench imports itself through others. Type imports count, since a reader follows
// them, too. eslint.config.mjs states which folders may import which.

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

import ts from 'typescript';

const root = path.join(__dirname, '../..');

/** The files that each file imports. */
type Imports = ReadonlyMap<string, readonly string[]>;

/** The relative imports of all files, static and dynamic, of values and of types. */
function importsOf(folder: string): Imports {
  const names = readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' });
  const files = names
    .filter((name) => name.endsWith('.ts'))
    .map((name) => path.posix.join(folder, ...name.split(path.sep)));
  return new Map(
    files.map((file) => {
      const { importedFiles } = ts.preProcessFile(readFileSync(path.join(root, file), 'utf8'));
      const names = importedFiles.map(({ fileName }) => fileName);
      const relative = names.filter((name) => name.startsWith('.'));
      return [
        file,
        relative.map((name) => resolved(file, name, files)).filter((each) => each !== ''),
      ];
    }),
  );
}

/** The file that an import names, or `''` if it is not one of `files`. */
function resolved(from: string, name: string, files: readonly string[]): string {
  const base = path.posix.join(path.posix.dirname(from), name).replace(/\.js$/, '');
  const candidates = [`${base}.ts`, `${base}/index.ts`, `${base}.d.ts`];
  return candidates.find((candidate) => files.includes(candidate)) ?? '';
}

/** A chain of imports from a file to itself, or null if there is none. */
function findCircle(imports: Imports): string | null {
  const done = new Set<string>();
  const visit = (file: string, way: readonly string[]): string | null => {
    if (way.includes(file)) return [...way.slice(way.indexOf(file)), file].join(' -> ');
    if (done.has(file)) return null;
    for (const next of imports.get(file) ?? []) {
      const circle = visit(next, [...way, file]);
      if (circle !== null) return circle;
    }
    done.add(file);
    return null;
  };
  for (const file of imports.keys()) {
    const circle = visit(file, []);
    if (circle !== null) return circle;
  }
  return null;
}

test.each(['lib', 'bench'])('%s has no circular imports', (folder) => {
  const imports = importsOf(folder);
  expect(imports.size).toBeGreaterThan(10);
  expect([...imports.values()].flat().length).toBeGreaterThan(imports.size);
  expect(findCircle(imports)).toBeNull();
});

test('findCircle returns the chain of a circular import', () => {
  const straight: [string, string[]][] = [
    ['a', ['b', 'c']],
    ['b', ['c']],
    ['c', ['d']],
  ];
  expect(findCircle(new Map(straight))).toBeNull();
  expect(findCircle(new Map([...straight, ['d', ['b']]]))).toBe('b -> c -> d -> b');
  expect(findCircle(new Map([['a', ['a']]]))).toBe('a -> a');
});
