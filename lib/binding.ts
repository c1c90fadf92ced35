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
    return nodeGypBuild(root) as Binding;
  } catch (cause) {
    const failure = { root, file, error: cause as Error };
    throw codedError('ERR_ADDON_NOT_LOADED', describeFailure(failure, thisHost()), { cause });
  }
}

/** The native addon. */
export const binding: Binding = load();
