// PyTorch in the user's Python, through pytorch.py.

import path from 'node:path';

import { isBasic } from '../../cases/cases';
import { packageRoot } from '../../environment/package';
import { startLineProcess } from './line-process';
import { loadRemote } from './remote';
import { MissingRival, type LoadedRival, type Rival } from './rival';

const python = process.platform === 'win32' ? 'python' : 'python3';
const hint = `${python} with PyTorch 2.4 or newer: pip install torch`;

export const pytorch: Rival = {
  name: 'pytorch',
  computes: 'rms-norm',
  description: "PyTorch's rms_norm and its autograd, with as many threads as ours",
  packages: [],
  outputs: ['fresh'],
  supports: (one) => isBasic(one) && one.dtype !== 'float64',
  load,
};

async function load(): Promise<LoadedRival> {
  const script = path.join(packageRoot, 'bench/subjects/rivals/pytorch.py');
  const child = await startLineProcess(python, [script]).catch((cause: unknown) => {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
    throw new MissingRival('pytorch', hint, { cause });
  });
  return loadRemote(
    child,
    ({ missing }) => new MissingRival('pytorch', `${hint} (${String(missing)})`),
  );
}
