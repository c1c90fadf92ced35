// The files of compiled kernels, as cmake/run_nvcc.cmake makes them and
// csrc/cuda/driver/kernel_files.cc reads them: a fatbin of machine code, PTX, and a line with a checksum.
//
// A fatbin is a header of u32 magic, u16 version, u16 bytes of the header and u64 bytes of what follows;
// then images, each of u16 kind, u16 version, u32 bytes of the image's header, u64 bytes of what follows
// that, and at 28 the u32 compute capability, such as 90. Then there is a line such as
// `sm 13000 compute_75 10000 compute_80 11000`, with the CUDA that machine code and each PTX need, and an
// xz stream of all PTX.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** What a file has for one architecture: machine code; or the PTX of several. */
export interface FatbinImage {
  /** Such as `'sm_90'`, or `'compute_75+80'` for PTX. */
  readonly architecture: string;
  readonly isPtx: boolean;
  /** As they lie in the file: compressed, as a rule. */
  readonly bytes: Buffer;
}

const magic = 0xba55ed50;

/** A file without its checksum. */
export function contentsOf(file: Buffer): Buffer {
  return file.subarray(0, file.lastIndexOf('SHA256 ('));
}

/** The fatbin at the beginning of a file. */
export function fatbinOf(file: Buffer): Buffer {
  return file.subarray(0, file.readUInt16LE(6) + Number(file.readBigUInt64LE(8)));
}

/** The images in a file. Throws RangeError if it has no fatbin. */
export function readFatbin(file: string): FatbinImage[] {
  const contents = readFileSync(file);
  if (contents.readUInt32LE(0) !== magic) throw new RangeError(`${file} is no fatbin`);
  const fatbin = fatbinOf(contents);
  const images: FatbinImage[] = [];
  for (let offset = fatbin.readUInt16LE(6); offset < fatbin.length;) {
    const capability = fatbin.readUInt32LE(offset + 28);
    const size = fatbin.readUInt32LE(offset + 4) + Number(fatbin.readBigUInt64LE(offset + 8));
    const bytes = fatbin.subarray(offset, offset + size);
    images.push({ architecture: `sm_${capability}`, isPtx: false, bytes });
    offset += size;
  }
  const ptx = contentsOf(contents).subarray(fatbin.length);
  const line = ptx.toString('latin1', 0, ptx.indexOf('\n'));
  const capabilities = Array.from(line.matchAll(/compute_(\d+)/g), ([, digits]) => digits);
  if (capabilities.length > 0) {
    images.push({
      architecture: `compute_${capabilities.join('+')}`,
      isPtx: true,
      bytes: ptx,
    });
  }
  return images;
}

/** The file of this name with these contents. */
export function sealFatbin(name: string, contents: Buffer): Buffer {
  const hash = createHash('sha256').update(contents).digest('hex');
  return Buffer.concat([contents, Buffer.from(`SHA256 (${name}) = ${hash}\n`)]);
}
