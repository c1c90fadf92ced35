import path from 'node:path';

import nodeGypBuild from 'node-gyp-build';

import type { Binding } from '../binding';
import { codedError } from './errors';
import { describeFailure, thisHost } from './load-failure';

function load(): Binding {
  const root = path.join(__dirname, '..');
  let file: string | null = null;
  try {
    file = nodeGypBuild.resolve(root);
    const addon = nodeGypBuild(root) as Partial<Binding>;
    if (typeof addon.forward === 'function') return addon as Binding;
    throw new Error('this is an addon of another package');
  } catch (cause) {
    const failure = { root, file, error: cause as Error };
    throw codedError('ERR_ADDON_NOT_LOADED', describeFailure(failure, thisHost()), { cause });
  }
}

/** The native addon. */
export const binding: Binding = load();
