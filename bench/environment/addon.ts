import { createRequire } from 'node:module';

import { Failure } from './failure';

/** What the program asks the addon of the package for, and the package itself does not say. */
export interface Addon {
  readonly cuda: {
    /**
     * Every kernel there is, the oldest architecture that it is launched on, such as 80, and how often
     * this process has launched it on a device.
     */
    launchCounts(
      ordinal: number,
    ): readonly { kernel: string; architecture: number; launches: number }[];
    /** Bytes of a device that no process uses. */
    availableMemory(ordinal: number): number;
    /** The files of kernels, and what each was loaded from: `''` where no call has needed it. */
    loadedImages(ordinal: number): readonly { file: string; image: string }[];
  };
}

/** What a device's kernels were loaded from, each once: `'machine code'`, or PTX such as `'compute_80'`. */
export function loadedImages({ cuda }: Addon, ordinal: number): string[] {
  const images = cuda.loadedImages(ordinal).map(({ image }) => image);
  return [...new Set(images)].filter((image) => image !== '');
}

/** The file of the addon that this process has loaded; null if that is not known. */
export function addonFile(): string | null {
  const files = Object.keys(createRequire(__filename).cache);
  return files.find((file) => /rmsnorm[^/\\]*\.node$/.test(file)) ?? null;
}

/** The addon that this process has loaded. */
export function loadedAddon(): Addon {
  const file = addonFile();
  if (file === null) throw new Failure('The file of the addon is not known in this process.');
  return createRequire(__filename)(file) as Addon;
}
