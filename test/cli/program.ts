// Runs the command line program as it ships: compiled, in a separate process.

import { spawn } from 'node:child_process';
import path from 'node:path';
import { stripVTControlCharacters } from 'node:util';

export const root = path.join(__dirname, '../..');
const program = path.join(root, 'dist/bench/cli.js');

export interface Ending {
  readonly end: number | NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Settings {
  readonly program?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** A command that runs the program, which is passed as its arguments. */
  readonly by?: readonly string[];
  /** A signal to send as soon as something is written to stderr. */
  readonly signal?: NodeJS.Signals;
}

/** Runs the program. Its environment is PATH and `settings.env`. */
export function cli(args: readonly string[], settings: Settings = {}): Promise<Ending> {
  const env = { PATH: process.env['PATH'], ...settings.env };
  const node = [process.execPath, settings.program ?? program];
  const [file = '', ...rest] = [...(settings.by ?? []), ...node, ...args];
  const child = spawn(file, rest, { env, cwd: root });
  const written = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      written[name] += text;
    });
  }
  const { signal } = settings;
  if (signal !== undefined) child.stderr.once('data', () => child.kill(signal));
  return new Promise((resolve) => {
    child.on('close', (code, bySignal) => {
      resolve({ end: code ?? bySignal, ...written });
    });
  });
}

/** The columns that a text takes in a terminal, without the codes of colours. */
export function widthOf(text: string): number {
  return Math.max(
    ...stripVTControlCharacters(text)
      .split('\n')
      .map((line) => line.length),
  );
}
