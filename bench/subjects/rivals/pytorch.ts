// PyTorch of the user's Python: pytorch.py in one process that stays, which takes its own time, so
// that what is told between the processes is not in it.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';

import { getNumThreads } from 'fused-rmsnorm';

import type { Arrays } from '../../cases/arrays';
import { eps, type Case } from '../../cases/cases';
import { packageRoot } from '../../environment/package';
import { startLineProcess, type LineProcess } from './line-process';
import { MissingRival, type LoadedRival, type PreparedRival, type Rival } from './rival';

const python = process.platform === 'win32' ? 'python' : 'python3';
const hint = `${python} with PyTorch 2.4 or newer: pip install torch`;

export const pytorch: Rival = {
  name: 'pytorch',
  computes: 'rms-norm',
  description: "PyTorch's rms_norm and its autograd, on as many threads",
  packages: [],
  outputs: ['fresh'],
  supports: ({ dtype }) => dtype !== 'float64',
  load,
};

async function load(): Promise<LoadedRival> {
  const script = path.join(packageRoot, 'bench/subjects/rivals/pytorch.py');
  const child = await startLineProcess(python, [script]).catch((cause: unknown) => {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
    throw new MissingRival('pytorch', hint, { cause });
  });
  const { version, missing } = await child.request({ command: 'start', threads: getNumThreads() });
  if (typeof version !== 'string') {
    await child.close();
    throw new MissingRival('pytorch', `${hint} (${String(missing)})`);
  }
  let cases = 0;
  return {
    version,
    prepare: (one, arrays) => prepare(child, ++cases, one, arrays),
    close: () => child.close(),
  };
}

async function prepare(
  child: LineProcess,
  number: number,
  one: Case,
  arrays: Arrays,
): Promise<PreparedRival> {
  await inFolder(async (folder) => {
    for (const name of ['x', 'weight', 'dy', 'residual'] as const) {
      await writeFile(path.join(folder, name), arrays[name]);
    }
    await child.request({ command: 'prepare', case: number, folder, eps, ...one });
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

/** Where arrays lie while they go from one process to the other. */
async function inFolder<Result>(work: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'fused-rmsnorm-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}
