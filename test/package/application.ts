// Applications with the packed package installed: each test makes its own, as a user would.

import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

function fromEnvironment(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`Run scripts/test-package.sh: it sets ${name}`);
  return value;
}

/** The node_modules where npm has installed the tarball: the package and its dependencies. */
const installed = path.join(fromEnvironment('RMSNORM_APPLICATION'), 'node_modules');

/** The package in that node_modules. */
export const installedPackage = path.join(installed, 'fused-rmsnorm');

/** A node_modules with the packages of tools/package.json. */
export const tools = path.join(fromEnvironment('RMSNORM_TOOLS'), 'node_modules');

/** Runtimes by their names: the Node.js that runs the tests, newer ones, and others. */
export const runtimes = {
  node: process.execPath,
  'node-22': path.join(tools, 'node-22/bin/node'),
  'node-24': path.join(tools, 'node-24/bin/node'),
  'node-26': path.join(tools, 'node-26/bin/node'),
  bun: path.join(tools, '@oven/bun-linux-x64/bin/bun'),
  deno: path.join(tools, '@deno/linux-x64-glibc/deno'),
} as const;

/** The node_modules of the checkout. */
export const checkout = path.join(__dirname, '../../node_modules');

/** The program of one of the checkout's packages. */
export function developmentTool(name: string): string {
  return path.join(checkout, '.bin', name);
}

/** Programs that use the package, by how they load it. Each prints `printed`. */
const programs = {
  'app.cjs': `const { devices, rmsNorm } = require('fused-rmsnorm');`,
  'app.mjs': `import { devices, rmsNorm } from 'fused-rmsnorm';`,
};
export const programNames = Object.keys(programs);
const use = `
const x = new Float32Array([3, 4]);
const weight = new Float32Array([1, 1]);
rmsNorm.async(x, weight).then((y) => {
  const { reason } = devices();
  console.log(rmsNorm(x, weight)[0].toFixed(4), y[1].toFixed(4), reason === null || !reason.includes('kernels'));
});
`;
export const printed = '0.8485 1.1314 true\n';

const folders: string[] = [];

/** Makes a folder with these files, by their paths in it. */
export function makeFolder(files: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'rmsnorm-'));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), text);
  }
  return folder;
}

/** Makes a folder with the programs, these files, and the package in its node_modules. */
export function makeApplication(files: Readonly<Record<string, string>> = {}): string {
  const ours = Object.entries(programs).map(([name, load]) => [name, `${load}${use}`] as const);
  const folder = makeFolder({ ...Object.fromEntries(ours), ...files });
  cpSync(installed, path.join(folder, 'node_modules'), { recursive: true, verbatimSymlinks: true });
  return folder;
}

/** Removes all folders that have been made. */
export function removeFolders(): void {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}

/** Copies the addons and kernels of the package to a folder, as the package's error message advises. */
export function addPrebuilds(folder: string): void {
  cpSync(path.join(installedPackage, 'prebuilds'), path.join(folder, 'prebuilds'), {
    recursive: true,
  });
}

/** All files in a folder, by their paths in it, in order. */
export function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .sort();
}

export interface Ending {
  /** The exit code, or the signal. */
  readonly end: number | NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command in a folder. Its environment is PATH, HOME, NO_COLOR and `environment`. */
export function run(
  folder: string,
  command: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Ending {
  const { status, signal, stdout, stderr, error } = spawnSync(command, args, {
    cwd: folder,
    env: { PATH: process.env['PATH'] ?? '', HOME: tmpdir(), NO_COLOR: '1', ...environment },
    encoding: 'utf8',
  });
  if (error !== undefined) throw error;
  return { end: signal ?? status, stdout, stderr };
}

/** Runs a command, and throws unless it succeeds. Returns its stdout. */
export function outputOf(...call: Parameters<typeof run>): string {
  const { end, stdout, stderr } = run(...call);
  if (end === 0) return stdout;
  throw new Error(`${call[1]} ${call[2].join(' ')}: ended by ${String(end)}\n${stdout}${stderr}`);
}

/** Runs a command that cannot load the addon. Returns its stderr. */
export function failureOf(...call: Parameters<typeof run>): string {
  const { end, stderr } = run(...call);
  expect(end).toBe(1);
  expect(stderr).toContain('fused-rmsnorm cannot load its native addon');
  return stderr;
}
