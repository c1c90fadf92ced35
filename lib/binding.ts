// Loads the native addon: the first file that is the addon of this package and of this version.
//
// `require` and __dirname are written in the form that static tracers recognise (@vercel/nft,
// @vercel/ncc, Turbopack). So these tools include the folders `prebuilds` and `built` below, with the addon
// and its kernel files. ncc also replaces the two paths by the paths in its output, since a module has no
// __dirname there.
/* eslint-disable @typescript-eslint/no-require-imports */

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';

import type { Binding } from '../binding';
import { codedError } from './core/errors';
import { thisHost, type Host } from './core/host';
import { describeFailure, type Attempt } from './core/load-failure';

const path = require('node:path') as typeof import('node:path');

const prebuilds = path.join(__dirname, '../prebuilds');
const built = path.join(prebuilds, '../build/Release');
const root = path.dirname(prebuilds);

const { name, version } = require('../package.json') as { name: string; version: string };

/** The value that the addon of this package and version exports as `package`. */
const self = `${name}@${version}`;

function load(): Binding {
  const attempts: Attempt[] = [];
  const attempt = <T>(file: string | null, action: () => T): T | null => {
    try {
      return action();
    } catch (error) {
      attempts.push({ file, error: error as Error });
      return null;
    }
  };
  const chosen = attempt(null, chooseByNodeGypBuild);
  const addon = chosen === null ? null : attempt(chosen, () => loadFile(chosen));
  if (addon !== null) return addon;
  const host = thisHost();
  for (const file of findByName(host)) {
    const own = file === chosen ? null : attempt(file, () => loadFile(file));
    if (own !== null) return own;
  }
  const message = describeFailure({ root, attempts }, host);
  throw codedError('ERR_ADDON_NOT_LOADED', message, { cause: attempts[0]?.error });
}

/** The file that node-gyp-build takes for the addon. It may be the addon of another package. */
function chooseByNodeGypBuild(): string {
  // node-gyp-build is required here, inside an attempt: loading it reads files and environment variables,
  // which the process may not be allowed to do.
  const nodeGypBuild = require('node-gyp-build') as { resolve(folder: string): string };
  return nodeGypBuild.resolve(root);
}

/** The files named like the package's addons, in the package's folders or beside the program. */
function findByName({ platform, glibcVersion, programFolder, ...host }: Host): string[] {
  const prebuilt = ['rmsnorm.node', ...(glibcVersion === null ? [] : ['rmsnorm.glibc.node'])];
  const folders =
    host.otherFolder === null
      ? [prebuilds, path.join(programFolder, 'prebuilds')]
      : [path.join(host.otherFolder, 'prebuilds')];
  return [
    ...(host.prebuildsOnly || host.otherFolder !== null ? [] : [path.join(built, 'rmsnorm.node')]),
    ...folders.flatMap((folder) => prebuilt.map((file) => path.join(folder, platform, file))),
  ].filter(exists);
}

function exists(file: string): boolean {
  try {
    return existsSync(file);
  } catch {
    // Node.js's permission model can forbid the check.
    return false;
  }
}

/** Loads a file, if it is this package's addon. */
function loadFile(file: string): Binding {
  const foreign = 'it is the addon of another package';
  if (!path.basename(file).startsWith('rmsnorm.')) throw new Error(foreign);
  // In a single executable application, `require` loads only Node.js's own modules. So a `require` function
  // is created for the file.
  const addon = createRequire(file)(file) as Partial<Binding> | null;
  if (addon?.package === self) return addon as Binding;
  const other = addon?.package;
  throw new Error(other === undefined ? foreign : `it is the addon of ${other}, not of ${self}`);
}

/** The native addon. */
export const binding: Binding = load();
