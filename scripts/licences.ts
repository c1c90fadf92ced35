// The licences of packages. Whoever distributes the code of a package must distribute its licence, too.

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** The folder of the package that a file below node_modules belongs to; undefined for other files. */
export function packageFolder(file: string): string | undefined {
  const [folder] = /^.*\bnode_modules\/(?:@[^/]+\/)?[^/]+/.exec(file) ?? [];
  return folder;
}

/** Name, version and licence of each package. Throws if one comes without a licence file. */
export function licencesOf(folders: readonly string[]): string {
  return folders
    .map(licenceOf)
    .sort()
    .join(`\n${'-'.repeat(80)}\n\n`);
}

function licenceOf(folder: string): string {
  const file = readdirSync(folder).find((name) => /^(licen[cs]e|copying)\b/i.test(name));
  if (file === undefined) throw new Error(`${folder} has no licence file`);
  const manifest = readFileSync(path.join(folder, 'package.json'), 'utf8');
  const { name, version } = JSON.parse(manifest) as { name: string; version: string };
  const text = readFileSync(path.join(folder, file), 'utf8').replaceAll('\r\n', '\n').trim();
  return `${name}@${version}\n\n${text}\n`;
}
