import { readFileSync } from 'node:fs';

/** What a fatbin has for one architecture: machine code, or PTX for a driver to compile. */
export interface FatbinImage {
  /** Such as `'sm_90'` or `'compute_90'`. */
  readonly architecture: string;
  /** As it lies in the file: compressed, as a rule. */
  readonly bytes: number;
}

const magic = 0xba55ed50;

/**
 * The images of a fatbin, as nvcc 13 writes them: a header of u32 magic, u16 version, u16 size and
 * u64 bytes that follow, up to the file's checksum; of each image u16 kind (1 PTX, 2 machine code),
 * 4 bytes on u32 size of its header, u64 bytes that follow, and at 28 the u32 architecture. Throws
 * RangeError if that is not what is there.
 */
export function readFatbin(file: string): FatbinImage[] {
  const bytes = readFileSync(file);
  if (bytes.readUInt32LE(0) !== magic) throw new RangeError(`${file} is no fatbin`);
  const images: FatbinImage[] = [];
  let offset = bytes.readUInt16LE(6);
  const end = offset + Number(bytes.readBigUInt64LE(8));
  while (offset < end) {
    const kind = bytes.readUInt16LE(offset) === 1 ? 'compute' : 'sm';
    const size = bytes.readUInt32LE(offset + 4) + Number(bytes.readBigUInt64LE(offset + 8));
    images.push({ architecture: `${kind}_${bytes.readUInt32LE(offset + 28)}`, bytes: size });
    offset += size;
  }
  return images;
}
