import path from 'node:path';

import nodeGypBuild from 'node-gyp-build';

import type { Binding } from '../binding';
import { codedError } from './errors';

function load(): Binding {
  const root = path.join(__dirname, '..');
  try {
    return nodeGypBuild(root) as Binding;
  } catch (cause) {
    const { platform, arch, versions } = process;
    throw codedError(
      'ERR_ADDON_NOT_LOADED',
      `fused-rmsnorm has no native addon for ${platform}-${arch} (Node.js ${versions.node}) in ` +
        `${root}, neither in build/Release nor in prebuilds. Build it there with ` +
        `'npm run build:native' (needs CMake 3.22 and a C++20 compiler). ` +
        `The loader says: ${(cause as Error).message}`,
      { cause },
    );
  }
}

/** The native addon. */
export const binding: Binding = load();
