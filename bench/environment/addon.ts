import { createRequire } from 'node:module';

import { Failure } from './failure';

/** The functions of the addon that this program uses and the package does not export. */
export interface Addon {
  readonly cuda: {
    /**
     * Every kernel, the oldest architecture on which it is launched, such as 80, and how often this
     * process has launched it on a device.
     */
    launchCounts(
      ordinal: number,
    ): readonly { kernel: string; architecture: number; launches: number }[];
    /** Bytes of a device's memory that no process uses. */
    availableMemory(ordinal: number): number;
    /** The files of kernels, and the image that each was loaded from: `''` if no call has needed it. */
    loadedImages(ordinal: number): readonly { file: string; image: string }[];
  };
}

/** The distinct images of a device's kernels: `'machine code'`, or PTX such as `'compute_80'`. */
export function loadedImages({ cuda }: Addon, ordinal: number): string[] {
  const images = cuda.loadedImages(ordinal).map(({ image }) => image);
  return [...new Set(images)].filter((image) => image !== '');
}

/** The file of the addon that this process has loaded; null if it is unknown. */
export function addonFile(): string | null {
  const files = Object.keys(createRequire(__filename).cache);
  return files.find((file) => /rmsnorm[^/\\]*\.node$/.test(file)) ?? null;
}

/** The addon that this process has loaded. */
export function loadedAddon(): Addon {
  const file = addonFile();
  if (file === null) throw new Failure('The path of the addon is unknown in this process.');
  return createRequire(__filename)(file) as Addon;
}
