import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';

import { readKernelFile } from './kernel-file';

/** The files of compiled kernels. */
export interface Kernels {
  readonly folder: string;
  /** How many there are. */
  readonly files: number;
  /**
   * Compressed bytes of all files together, by names such as `'sm_80+90'` for machine code and
   * `'compute_75+80'` for PTX.
   */
  readonly bytesByArchitecture: Readonly<Record<string, number>>;
}

/** The kernels near an addon, where csrc/cuda/driver/kernel_files.cc looks; null if there are none. */
export function findKernels(addon: string): Kernels | null {
  const near = path.join(path.dirname(addon), '..');
  const folder = [path.join(near, 'cuda'), path.join(near, '../prebuilds/cuda')].find(
    (candidate) => fatbinsIn(candidate).length > 0,
  );
  if (folder === undefined) return null;
  const files = fatbinsIn(folder);
  const bytes = new Map<string, number>();
  for (const { machineCode, ptx } of files.map((file) => readKernelFile(path.join(folder, file)))) {
    for (const [prefix, { architectures, stream }] of [
      ['sm', machineCode],
      ['compute', ptx],
    ] as const) {
      const name = `${prefix}_${architectures.join('+')}`;
      if (architectures.length > 0) bytes.set(name, (bytes.get(name) ?? 0) + stream.length);
    }
  }
  return { folder, files: files.length, bytesByArchitecture: Object.fromEntries(bytes) };
}

function fatbinsIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.fatbin')) : [];
}
