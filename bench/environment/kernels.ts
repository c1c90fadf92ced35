import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';

import { readFatbin } from './fatbin';

/** The files of compiled kernels. */
export interface Kernels {
  readonly folder: string;
  /** How many there are. */
  readonly files: number;
  /**
   * Of all files together, by names such as `'sm_90'`, machine code, and `'compute_75+80'`, PTX of
   * both.
   */
  readonly bytesByArchitecture: Readonly<Record<string, number>>;
}

/** The kernels of an addon, which lie near it (csrc/cuda/driver/kernel_files.cc); null if it has none. */
export function findKernels(addon: string): Kernels | null {
  const near = path.join(path.dirname(addon), '..');
  const folder = [path.join(near, 'cuda'), path.join(near, '../prebuilds/cuda')].find(
    (candidate) => fatbinsIn(candidate).length > 0,
  );
  if (folder === undefined) return null;
  const files = fatbinsIn(folder);
  const bytes = new Map<string, number>();
  for (const image of files.flatMap((file) => readFatbin(path.join(folder, file)))) {
    const { architecture } = image;
    bytes.set(architecture, (bytes.get(architecture) ?? 0) + image.bytes.length);
  }
  return {
    folder,
    files: files.length,
    bytesByArchitecture: Object.fromEntries([...bytes].sort()),
  };
}

function fatbinsIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.fatbin')) : [];
}
