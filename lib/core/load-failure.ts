// Explains why the addon does not load.

import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import path from 'node:path';

import type { Host } from './host';

/** The oldest glibc that works with the prebuilt addons. */
const neededGlibc = '2.28';

/** A file that was tried, and what the loader threw. */
export interface Attempt {
  /** Null if the error came before a file was chosen. */
  readonly file: string | null;
  readonly error: Error & { readonly code?: string };
}

/** How all attempts failed. */
export interface Failure {
  /** The folder of the package. */
  readonly root: string;
  readonly attempts: readonly Attempt[];
}

/** The message of `ERR_ADDON_NOT_LOADED`: what was tried, what went wrong, and what to do. */
export function describeFailure(failure: Failure, host: Host): string {
  const { platform, nodeVersion, glibcVersion, runtime } = host;
  const facts = [
    `Node.js ${nodeVersion}`,
    ...(runtime === null ? [] : [runtime]),
    ...(glibcVersion == null ? [] : [`glibc ${glibcVersion}`]),
  ];
  return [
    `fused-rmsnorm cannot load its native addon on ${platform} (${facts.join(', ')}).`,
    'Tried:',
    ...triedLines(failure, host).map((line) => `- ${line}`),
    'What to do:',
    ...adviceFor(failure, host).map((line) => `- ${line}`),
  ].join('\n');
}

function triedLines({ root, attempts }: Failure, host: Host): string[] {
  const lines = attempts.flatMap(({ file, error: { message } }) => {
    if (file !== null) return [message.startsWith(file) ? message : `${file}: ${message}`];
    // emptyFolders() says this in more detail.
    return message.startsWith('No native build was found') ? [] : [`node-gyp-build: ${message}`];
  });
  const hasFile = attempts.some(({ file }) => file !== null);
  return hasFile ? lines : [...lines, ...emptyFolders(root, host)];
}

/** The folders without an addon, and what they have instead. */
function emptyFolders(root: string, host: Host): string[] {
  const folder = host.otherFolder ?? root;
  const prebuilds = host.isSingleExecutable ? [folder, host.programFolder] : [folder];
  return [
    `${path.join(folder, 'build/Release')}: ${host.prebuildsOnly ? 'skipped' : 'no addon'}`,
    ...prebuilds.map((parent) => shippedAddons(path.join(parent, 'prebuilds'))),
  ];
}

function shippedAddons(folder: string): string {
  const found = namesIn(folder);
  if (typeof found === 'string') return `${folder}: ${found}`;
  const names = found.filter((name) => name.includes('-'));
  return `${folder}: ${names.length === 0 ? 'no addons' : `addons for ${names.join(', ')}`}`;
}

const noFolder = 'no such folder';

/** The names in a folder, or why there are none. */
function namesIn(folder: string): string[] | string {
  try {
    return readdirSync(folder);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' ? noFolder : message;
  }
}

/** Advice for each attempt, and for all of them together. */
function adviceFor({ root, attempts }: Failure, host: Host): string[] {
  if (!isPackage(root)) return [bundleAdvice(host)];
  const files = attempts.filter(({ file }) => file !== null);
  const forbidden = (files.length > 0 ? files : attempts).flatMap(({ error }) =>
    permissionAdvice(root, error, host),
  );
  if (forbidden.length > 0) return unique(forbidden);
  const advice = [
    ...variableAdvice(host),
    ...platformAdvice(host),
    ...files.flatMap((attempt) => fileAdvice(attempt, host)),
  ];
  if (namesIn(path.join(root, 'prebuilds')) === noFolder) {
    advice.push(
      `The package's folder 'prebuilds' is missing: a bundler, a filter or a Docker COPY left it ` +
        `out. Copy the whole package, or install it there.`,
    );
  }
  const build =
    `Build the addon here: 'npx fused-rmsnorm build' in your project. It needs CMake 3.22 and a ` +
    `C++20 compiler.`;
  const canBuildHelp = !attempts.some(({ error }) => isNoExec(error));
  return unique([...advice, ...(canBuildHelp ? [build] : [])]);
}

function unique(lines: readonly string[]): string[] {
  return [...new Set(lines)];
}

/** Advice for code that does not run from the package's folder. */
function bundleAdvice({ isSingleExecutable, programFolder }: Host): string {
  if (isSingleExecutable) {
    return (
      `This program is a single executable. Put the package's folder 'prebuilds' beside it: ` +
      `cp -r node_modules/fused-rmsnorm/prebuilds ${programFolder}`
    );
  }
  return (
    `This code does not run from the package's folder: a bundler copied it without the addon. Make ` +
    `'fused-rmsnorm' external to the bundle (esbuild: --external:fused-rmsnorm, Next.js: ` +
    `serverExternalPackages), and install it where the bundle runs.`
  );
}

/** Advice on the permissions that the process needs; empty if they are not the reason. */
function permissionAdvice(root: string, { code, message }: Attempt['error'], host: Host): string[] {
  if (code === 'ERR_DLOPEN_DISABLED') {
    return [
      'This process may not load addons. Remove --no-addons; with the permission model, add ' +
        '--allow-addons.',
    ];
  }
  if (code === 'ERR_ACCESS_DENIED') {
    return [
      `This process may not read the addon. Add --allow-addons and --allow-fs-read=${root}/*.`,
    ];
  }
  if (host.runtime?.startsWith('Deno') === true && /--allow-\w+/.test(message)) {
    return ['Deno loads addons only with --allow-ffi and --allow-read. Run it with both.'];
  }
  return [];
}

/** Advice on environment variables that exclude an addon. */
function variableAdvice({ otherFolder, prebuildsOnly }: Host): string[] {
  const advice: string[] = [];
  if (otherFolder !== null) {
    advice.push(
      `Unset the environment variable FUSED_RMSNORM_PREBUILD, which is '${otherFolder}': it replaces ` +
        `the package's folder as the place of the addon.`,
    );
  }
  if (prebuildsOnly) {
    advice.push(
      'Unset the environment variable PREBUILDS_ONLY: it makes the loader skip an addon that was ' +
        'built here.',
    );
  }
  return advice;
}

/** Advice for systems with special needs: Electron and musl. */
function platformAdvice({ platform, runtime, glibcVersion }: Host): string[] {
  const advice: string[] = [];
  if (runtime?.startsWith('Electron') === true) {
    advice.push(
      'The addon needs no rebuild for Electron. It cannot be loaded from an asar archive: unpack ' +
        `'**/node_modules/fused-rmsnorm/**' (asarUnpack).`,
    );
  }
  if (platform.startsWith('linux') && glibcVersion === null) {
    advice.push(
      `This Node.js is built for musl, as on Alpine. There is no addon for musl, since NVIDIA has no ` +
        `driver for it. Use a Node.js for glibc, such as the image node:22-slim.`,
    );
  }
  return advice;
}

/** Advice on a file that exists but does not load. */
function fileAdvice({ file, error }: Attempt, { platform, glibcVersion }: Host): string[] {
  if (file === null) return [];
  if (isNoExec(error)) {
    return [
      `The file system of ${path.dirname(file)} is mounted noexec, or a security policy forbids ` +
        `running code from it. Install the package on another file system, or mount this one with exec.`,
    ];
  }
  const needed = /version [`']?GLIBC_([\d.]+)/.exec(error.message)?.[1];
  if (needed !== undefined) {
    return [
      `This system's glibc is ${glibcVersion ?? 'unknown'}, and the addon needs ${needed}. Prebuilt ` +
        `addons need ${neededGlibc}, which Debian 10, Ubuntu 20.04 and RHEL 8 have.`,
    ];
  }
  const made = platformOfFile(file);
  if (made === null || platform.startsWith(made)) return [];
  return [
    `${file} is for ${made}: it was copied from another machine. Install the package here ` +
      `(npm install), or delete ${path.dirname(file)} if you built it.`,
  ];
}

function isNoExec({ message }: Error): boolean {
  return message.includes('failed to map segment from shared object');
}

function isPackage(root: string): boolean {
  try {
    const { name } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
      name?: string;
    };
    return name === 'fused-rmsnorm';
  } catch {
    return false;
  }
}

const elfMachines: Readonly<Record<number, string>> = {
  0x03: 'ia32',
  0x28: 'arm',
  0x3e: 'x64',
  0xb7: 'arm64',
};

/**
 * The platform that a file was built for, such as `'linux-arm64'` or `'win32'`; null if its head does
 * not tell.
 */
function platformOfFile(file: string): string | null {
  const head = Buffer.alloc(20);
  try {
    const descriptor = openSync(file, 'r');
    readSync(descriptor, head, 0, head.length, 0);
    closeSync(descriptor);
  } catch {
    return null;
  }
  if (head.toString('latin1', 0, 4) === '\x7fELF') {
    const arch = elfMachines[head.readUInt16LE(18)];
    return arch === undefined ? null : `linux-${arch}`;
  }
  if (head.toString('latin1', 0, 2) === 'MZ') return 'win32';
  return head.readUInt32LE(0) === 0xfeedfacf ? 'darwin' : null;
}
