// Provides the headers of Node-API and of its C++ wrapper. Only a build needs their packages, so
// this package does not depend on them.

import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { Failure } from '../environment/failure';
import { installedPackage, isOlder, majorOf } from '../environment/optional-packages';
import { packageManifest } from '../environment/package';

const names = ['node-api-headers', 'node-addon-api'] as const;
type HeaderPackage = (typeof names)[number];

/** The range with which this package is developed, such as ^8.9.2. */
const rangeOf = (name: HeaderPackage) => packageManifest.devDependencies[name];

/**
 * Puts the packages into `folder`, whose path the compiler accepts. Copies the installed packages;
 * if any is missing, npm installs them. Returns the folders to include from.
 */
export function provideHeaders(folder: string): string[] {
  const modules = path.join(folder, 'node_modules');
  const installed = names.map(findInstalled);
  if (installed.includes(undefined)) {
    installInto(folder);
  } else {
    names.forEach((name, i) => {
      const from = installed[i] as string;
      cpSync(from, path.join(modules, name), { recursive: true, dereference: true });
    });
  }
  return [path.join(modules, 'node-api-headers/include'), path.join(modules, 'node-addon-api')];
}

/** The folder of a package. Other packages may have installed an older version or the next major. */
function findInstalled(name: HeaderPackage): string | undefined {
  const { version, folder } = installedPackage(name) ?? {};
  const oldest = rangeOf(name).slice(1);
  if (version === undefined || isOlder(version, oldest)) return undefined;
  return majorOf(version) === majorOf(oldest) ? folder : undefined;
}

function installInto(folder: string): void {
  const wanted = names.map((name) => `${name}@${rangeOf(name)}`).join(' and ');
  process.stdout.write(
    `The build needs ${wanted}. npm installs them into ${folder}, which is removed after the build.\n`,
  );
  mkdirSync(folder);
  // Ranges in a file need no quotes, which differ between shells.
  const dependencies = Object.fromEntries(names.map((name) => [name, rangeOf(name)]));
  writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ private: true, dependencies }));
  // A shell finds npm.cmd on Windows. In a script of a globally installed package, npm would
  // install globally, too.
  const command = 'npm install --prefix . --no-global --ignore-scripts --no-audit --no-fund';
  const { status, signal } = spawnSync(command, { cwd: folder, shell: true, stdio: 'inherit' });
  if (status === 0) return;
  if (signal === 'SIGINT') throw new Failure("'npm install …' was interrupted.");
  const hint = names.map((name) => `${name}@${majorOf(rangeOf(name).slice(1))}`).join(' ');
  throw new Failure(
    `npm could not install ${wanted}: see above. Install them where fused-rmsnorm is installed, and ` +
      `build again: npm install --no-save ${hint}`,
  );
}
