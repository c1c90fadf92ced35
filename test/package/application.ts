// Applications that have the packed package installed: each test makes one of its own, as a user would.

import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

function fromEnvironment(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`Run scripts/test-package.sh: it sets ${name}`);
  return value;
}

/** A node_modules with the package and what it depends on, as npm has installed the tarball. */
export const installed = path.join(fromEnvironment('RMSNORM_APPLICATION'), 'node_modules');

/** The checkout, whose development dependencies do the bundling and tracing. */
export const checkout = path.join(__dirname, '../..');

const folders: string[] = [];

/** A new folder with these files, by their paths in it. It is gone when the process ends. */
export function makeFolder(files: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'rmsnorm-'));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), text);
  }
  return folder;
}

/** A new folder with these files, and the package in its node_modules. */
export function makeApplication(files: Readonly<Record<string, string>>): string {
  const folder = makeFolder(files);
  cpSync(installed, path.join(folder, 'node_modules'), { recursive: true, verbatimSymlinks: true });
  return folder;
}

/** Removes the folders that were made so far. */
export function removeFolders(): void {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}

export interface Ending {
  /** The exit code, or the signal. */
  readonly end: number | NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command in a folder. Of the environment it has what is named, and PATH. */
export function run(
  folder: string,
  command: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Ending {
  const { status, signal, stdout, stderr, error } = spawnSync(command, args, {
    cwd: folder,
    env: { PATH: process.env['PATH'] ?? '', HOME: tmpdir(), ...environment },
    encoding: 'utf8',
  });
  if (error !== undefined) throw error;
  return { end: signal ?? status, stdout, stderr };
}

/** Runs it, and throws unless it ends well. Returns what it prints. */
export function outputOf(...call: Parameters<typeof run>): string {
  const { end, stdout, stderr } = run(...call);
  if (end === 0) return stdout;
  throw new Error(`${call[1]} ${call[2].join(' ')}: ended by ${String(end)}\n${stdout}${stderr}`);
}
