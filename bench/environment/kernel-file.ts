// Files of compiled kernels, as cmake/run_nvcc.cmake writes them and csrc/cuda/driver/kernel_image.cc
// reads them: a line such as `code 13000 181234 sm_80 sm_90 compute_80 11000`, an xz stream of machine
// code, of so many bytes, an xz stream of PTX, and a line with a checksum.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** Machine code or PTX in a file. */
export interface CompressedCode {
  /** Compute capabilities, such as 75. */
  readonly architectures: readonly number[];
  /** An xz stream. */
  readonly stream: Buffer;
}

export interface KernelFile {
  readonly machineCode: CompressedCode;
  readonly ptx: CompressedCode;
}

/** A file without its checksum. */
export function contentsOf(file: Buffer): Buffer {
  return file.subarray(0, file.lastIndexOf('SHA256 ('));
}

/** Reads a file. Throws RangeError if its format is another. */
export function readKernelFile(path: string): KernelFile {
  const contents = contentsOf(readFileSync(path));
  const begin = contents.indexOf('\n') + 1;
  const line = contents.toString('latin1', 0, begin);
  const [, bytes] = /^code \d+ (\d+)( sm_\d+)*( compute_\d+ \d+)*\n$/.exec(line) ?? [];
  if (bytes === undefined) throw new RangeError(`${path} is not a kernel file`);
  const architectures = (prefix: string) =>
    Array.from(line.matchAll(new RegExp(` ${prefix}_(\\d+)`, 'g')), ([, digits]) => Number(digits));
  const end = begin + Number(bytes);
  return {
    machineCode: { architectures: architectures('sm'), stream: contents.subarray(begin, end) },
    ptx: { architectures: architectures('compute'), stream: contents.subarray(end) },
  };
}

/** The file of this name with these contents. */
export function sealKernelFile(name: string, contents: Buffer): Buffer {
  const hash = createHash('sha256').update(contents).digest('hex');
  return Buffer.concat([contents, Buffer.from(`SHA256 (${name}) = ${hash}\n`)]);
}
