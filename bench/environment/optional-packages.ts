// Packages that only some features of the benchmark need. They are not peer dependencies: a peer
// range would change or refuse the versions that a user's project has for its own reasons.

import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

/** The oldest version of each package that the benchmark works with. */
const oldestVersions = {
  '@tensorflow/tfjs-backend-cpu': '4.0.0',
  '@tensorflow/tfjs-backend-wasm': '4.0.0',
  '@tensorflow/tfjs-core': '4.0.0',
  'onnxruntime-node': '1.20.0',
  'onnxruntime-web': '1.20.0',
  vega: '6.0.0',
  'vega-lite': '6.0.0',
} as const;

export type OptionalPackage = keyof typeof oldestVersions;

export const optionalPackages = Object.keys(oldestVersions) as OptionalPackage[];

/** Why packages cannot be used. `cause` is the error of loading them if none is too old. */
export interface Unusable extends ErrorOptions {
  /** The package that is too old, and the version that is needed. */
  readonly outdated?: string;
}

/**
 * Loads packages that the user has installed. If one is missing or too old, throws the error that
 * `unusable` makes; `hint` is the command that installs the packages.
 */
export async function importOptional<Module>(
  packages: readonly OptionalPackage[],
  load: () => Promise<Module>,
  unusable: (hint: string, why: Unusable) => Error,
): Promise<Module> {
  // The newest version that is known to work has the same major version as the oldest.
  const wanted = packages.map((name) => `${name}@${majorOf(oldestVersions[name])}`);
  const hint = `npm install ${wanted.join(' ')}`;
  for (const name of packages) {
    const version = installedPackage(name)?.version;
    const oldest = oldestVersions[name];
    if (version === undefined || !isOlder(version, oldest)) continue;
    const outdated = `${name} has version ${version}; ${oldest} or newer is required`;
    throw unusable(hint, { outdated });
  }
  try {
    return await load();
  } catch (cause) {
    if (!/^(ERR_)?MODULE_NOT_FOUND$/.test((cause as NodeJS.ErrnoException).code ?? '')) throw cause;
    throw unusable(hint, { cause });
  }
}

/** Finds a package in the folders that Node.js searches: it need not export its package.json. */
export function installedPackage(name: string) {
  const folders = createRequire(__filename).resolve.paths(name) ?? [];
  const folder = folders
    .map((each) => path.join(each, name))
    .find((each) => existsSync(path.join(each, 'package.json')));
  if (folder === undefined) return undefined;
  const manifest = readFileSync(path.join(folder, 'package.json'), 'utf8');
  const { version } = JSON.parse(manifest) as { version?: string };
  return { folder, version };
}

export function majorOf(version: string): string | undefined {
  return version.split('.')[0];
}

/** Whether a version is older than another, by its numbers: a pre-release counts as its release. */
export function isOlder(version: string, oldest: string): boolean {
  return version.localeCompare(oldest, 'en', { numeric: true }) < 0;
}
