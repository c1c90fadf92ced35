// The files of compiled kernels: a fatbin of nvcc 13, and a line about it that
// csrc/cuda/driver/kernel_files.cc checks. A fatbin is a header of u32 magic, u16 version, u16 bytes of
// the header and u64 bytes of what follows; then images, each of u16 kind (1 PTX, 2 machine code),
// u16 version, u32 bytes of the image's header, u64 bytes of what follows that, and at 28 the u32
// compute capability, such as 90.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** What a fatbin has for one architecture: machine code, or PTX for a driver to compile. */
export interface FatbinImage {
  readonly isPtx: boolean;
  readonly capability: number;
  /** Such as `'sm_90'` or `'compute_90'`. */
  readonly architecture: string;
  /** As they lie in the file: compressed, as a rule. */
  readonly bytes: Buffer;
}

const magic = 0xba55ed50;

/** The fatbin in the contents of a file. */
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
    const isPtx = fatbin.readUInt16LE(offset) === 1;
    const capability = fatbin.readUInt32LE(offset + 28);
    const size = fatbin.readUInt32LE(offset + 4) + Number(fatbin.readBigUInt64LE(offset + 8));
    const bytes = fatbin.subarray(offset, offset + size);
    const architecture = `${isPtx ? 'compute' : 'sm'}_${capability}`;
    images.push({ isPtx, capability, architecture, bytes });
    offset += size;
  }
  return images;
}

/**
 * What the package has of the fatbin in a file: all machine code, and the newest PTX. Older PTX is for
 * GPUs that there is machine code for, and so for simulated ones alone; it is a quarter of the file.
 * These are the bytes that nvcc makes of the same sources for fewer architectures.
 */
export function shippedFatbin(file: string): Buffer {
  const images = readFatbin(file);
  const newest = Math.max(...images.map(({ isPtx, capability }) => (isPtx ? capability : 0)));
  const kept = images.filter(({ isPtx, capability }) => !isPtx || capability === newest);
  const payload = Buffer.concat(kept.map(({ bytes }) => bytes));
  const contents = readFileSync(file);
  const header = contents.subarray(0, contents.readUInt16LE(6));
  header.writeBigUInt64LE(BigInt(payload.length), 8);
  return Buffer.concat([header, payload]);
}

/** The file of this name, as cmake/run_nvcc.cmake makes it of a fatbin. */
export function sealFatbin(name: string, fatbin: Buffer): Buffer {
  const hash = createHash('sha256').update(fatbin).digest('hex');
  return Buffer.concat([fatbin, Buffer.from(`SHA256 (${name}) = ${hash}\n`)]);
}
