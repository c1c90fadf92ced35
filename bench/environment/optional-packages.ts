// Packages that only parts of the benchmark need. They are no peers of this package: a range there
// would change, or refuse, what a user's project has of them for reasons of its own.

import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

import { Failure } from './failure';

/** The oldest version of each that the benchmark works with. */
const oldestVersions = {
  '@tensorflow/tfjs-backend-cpu': '4.0.0',
  '@tensorflow/tfjs-backend-wasm': '4.0.0',
  '@tensorflow/tfjs-core': '4.0.0',
  'onnxruntime-node': '1.20.0',
  vega: '6.0.0',
  'vega-lite': '6.0.0',
} as const;

export type OptionalPackage = keyof typeof oldestVersions;

export const optionalPackages = Object.keys(oldestVersions) as OptionalPackage[];

interface UnusableOptions extends ErrorOptions {
  /** Which package is too old, and what is needed. */
  readonly outdated?: string;
}

/** Packages that are missing, or of which one is too old. */
export class UnusablePackages extends Failure {
  readonly outdated: string | undefined;
  /** The command that installs what is needed. */
  readonly hint: string;

  constructor(packages: readonly OptionalPackage[], { outdated, ...options }: UnusableOptions) {
    super(outdated ?? `${packages.join(' or ')} is not installed`, options);
    this.outdated = outdated;
    // The newest version that is known to work has the major number of the oldest.
    const wanted = packages.map((name) => `${name}@${numbersOf(oldestVersions[name])[0]}`);
    this.hint = `npm install ${wanted.join(' ')}`;
  }
}

/** Loads packages of the user's. Throws UnusablePackages if one is missing or too old. */
export async function importOptional<Module>(
  packages: readonly OptionalPackage[],
  load: () => Promise<Module>,
): Promise<Module> {
  for (const name of packages) {
    const version = installedPackage(name)?.version;
    const oldest = oldestVersions[name];
    if (version === undefined || !isOlder(version, oldest)) continue;
    const outdated = `${name} is of version ${version}, and ${oldest} or newer is needed`;
    throw new UnusablePackages(packages, { outdated });
  }
  try {
    return await load();
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? '';
    if (!['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND'].includes(code)) throw cause;
    throw new UnusablePackages(packages, { cause });
  }
}

interface InstalledPackage {
  readonly folder: string;
  readonly version: string | undefined;
}

/** What the folders say that Node.js looks in from here: no package has to export its package.json. */
export function installedPackage(name: string): InstalledPackage | undefined {
  const folders = createRequire(__filename).resolve.paths(name) ?? [];
  const folder = folders
    .map((each) => path.join(each, name))
    .find((each) => existsSync(path.join(each, 'package.json')));
  if (folder === undefined) return undefined;
  const manifest = readFileSync(path.join(folder, 'package.json'), 'utf8');
  const { version } = JSON.parse(manifest) as { version?: string };
  return { folder, version };
}

/** Major, minor and patch; a pre-release counts as its release. */
export function numbersOf(version: string): [number, number, number] {
  const [, ...parts] = /^(\d+)\.(\d+)\.(\d+)/.exec(version) ?? [];
  const [major = 0, minor = 0, patch = 0] = parts.map(Number);
  return [major, minor, patch];
}

/** Whether a version is older than another, by its numbers. */
export function isOlder(version: string, oldest: string): boolean {
  const [found, wanted] = [numbersOf(version), numbersOf(oldest)];
  const first = found.findIndex((number, i) => number !== wanted[i]);
  return first !== -1 && (found[first] as number) < (wanted[first] as number);
}
