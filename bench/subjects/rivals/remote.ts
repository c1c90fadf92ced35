// A rival in a separate process. It measures its own times, which therefore exclude the
// communication between the processes. pytorch.py and served.ts are the other side.

import { rmSync } from 'node:fs';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';

import { getNumThreads } from 'fused-rmsnorm';

import type { Arrays } from '../../cases/arrays';
import { eps, type Case } from '../../cases/cases';
import type { OutputMode } from '../subject';
import type { LineProcess, Message } from './line-process';
import type { LoadedRival, MissingRival, PreparedRival } from './rival';

/** The arrays that a process receives, each as a file. */
export const inputNames = ['x', 'weight', 'dy', 'residual', 'rstd'] as const;

/** Loads the rival in its process. `missing` makes the error for an answer without a version. */
export async function loadRemote(
  child: LineProcess,
  missing: (answer: Message) => MissingRival,
): Promise<LoadedRival> {
  try {
    const answer = await child.request({ command: 'start', threads: getNumThreads() });
    const { version } = answer;
    if (typeof version !== 'string') throw missing(answer);
    let cases = 0;
    return {
      version,
      prepare: (...of) => prepare(child, ++cases, ...of),
      close: () => child.close(),
    };
  } catch (error) {
    await child.close();
    throw error;
  }
}

async function prepare(
  child: LineProcess,
  number: number,
  one: Case,
  arrays: Arrays,
  outputs: OutputMode,
): Promise<PreparedRival> {
  await inFolder(async (folder) => {
    for (const name of inputNames) await writeFile(path.join(folder, name), arrays[name]);
    await child.request({ command: 'prepare', case: number, folder, eps, outputs, ...one });
  });
  return {
    run: async (repeats) => {
      const { ns } = await child.request({ command: 'run', case: number, repeats });
      return Number(ns);
    },
    results: () =>
      inFolder(async (folder) => {
        const answer = await child.request({ command: 'results', case: number, folder });
        const results: Record<string, Float32Array> = {};
        for (const name of answer['names'] as string[]) {
          const bytes = new Uint8Array(await readFile(path.join(folder, name)));
          results[name] = new Float32Array(bytes.buffer);
        }
        return results;
      }),
    dispose: async () => {
      await child.request({ command: 'dispose', case: number });
    },
  };
}

/** Runs `work` with a temporary folder for arrays that go from one process to the other. */
async function inFolder<Result>(work: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'fused-rmsnorm-'));
  const remove = () => {
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', remove); // an interrupt does not wait for `finally`
  try {
    return await work(folder);
  } finally {
    process.off('exit', remove);
    remove();
  }
}
