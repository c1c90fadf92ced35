// Machine code of kernels, out of a fatbin of nvcc 13 (bench/environment/fatbin.ts has its layout): for
// each architecture a 64-bit ELF file with a section .text.NAME for each kernel.

import { createRequire } from 'node:module';

import { readFatbin, type FatbinImage } from '../../bench/environment/fatbin';

/** A kernel as one architecture runs it. */
export interface KernelCode {
  readonly name: string;
  /** Such as `'sm_90'`. */
  readonly architecture: string;
  /** Instructions of 16 bytes. */
  readonly text: Buffer;
  /** Where each indirect branch can lead, by the address of the branch. */
  readonly indirectTargets: ReadonlyMap<number, readonly number[]>;
}

type Decompress = (to: Buffer, capacity: number, frame: Buffer, bytes: number) => number;
/** As far as it is used: its own types are those of an ES module, which this one cannot import. */
interface Koffi {
  load(library: string): { func(declaration: string): Decompress };
}
let decompress: Decompress | undefined;

/** A zstd frame's content. Node.js 20 has no zstd, so this takes the library that test/cudasim takes. */
function unzstd(frame: Buffer, bytes: number): Buffer {
  decompress ??= (createRequire(__filename)('koffi') as Koffi)
    .load('libzstd.so.1')
    .func('size_t ZSTD_decompress(void *to, size_t capacity, const void *frame, size_t bytes)');
  const content = Buffer.alloc(bytes);
  if (decompress(content, bytes, frame, frame.length) !== bytes) {
    throw new RangeError('The fatbin has damaged zstd data');
  }
  return content;
}

const zstdFlag = 0x8000n;

/** An image as nvcc made it, without its header in the fatbin. */
function contentOf({ bytes }: FatbinImage): Buffer {
  const header = bytes.readUInt32LE(4);
  const compressed = bytes.readUInt32LE(16);
  if (compressed === 0) return bytes.subarray(header);
  if ((bytes.readBigUInt64LE(40) & zstdFlag) === 0n) {
    throw new RangeError('The fatbin is compressed with something else than zstd');
  }
  return unzstd(bytes.subarray(header, header + compressed), Number(bytes.readBigUInt64LE(56)));
}

const elfKind = 2; // of an image
const elfMagic = 0x464c457f;

/** The sections of a 64-bit ELF file, by name. */
function sectionsOf(elf: Buffer): Map<string, Buffer> {
  if (elf.readUInt32LE(0) !== elfMagic) throw new RangeError('The machine code is no ELF file');
  const table = Number(elf.readBigUInt64LE(40));
  const [size, count, namesIndex] = [58, 60, 62].map((at) => elf.readUInt16LE(at)) as [
    number,
    number,
    number,
  ];
  const headers = Array.from({ length: count }, (_, i) => elf.subarray(table + i * size));
  const contents = headers.map((header) => {
    const offset = Number(header.readBigUInt64LE(24));
    return elf.subarray(offset, offset + Number(header.readBigUInt64LE(32)));
  });
  const names = contents[namesIndex] as Buffer;
  return new Map(
    headers.map((header, i) => {
      const begin = header.readUInt32LE(0);
      const name = names.toString('latin1', begin, names.indexOf(0, begin));
      return [name, contents[i] as Buffer];
    }),
  );
}

const sizedFormat = 4;
const indirectBranchTargets = 0x34;

/**
 * Of a section .nv.info.NAME: records of u8 format and u8 attribute, then of u16 size and so many bytes,
 * or of a u16 value. The attribute read here lists branches: u32 address, u32 0, u32 count, u32 targets.
 */
function indirectTargetsOf(info: Buffer): Map<number, number[]> {
  const targets = new Map<number, number[]>();
  for (let at = 0; at < info.length;) {
    const [format, attribute] = [info.readUInt8(at), info.readUInt8(at + 1)];
    const size = format === sizedFormat ? info.readUInt16LE(at + 2) : 0;
    const payload = info.subarray(at + 4, at + 4 + size);
    at += 4 + size;
    if (format !== sizedFormat || attribute !== indirectBranchTargets) continue;
    const words = Array.from({ length: size / 4 }, (_, i) => payload.readUInt32LE(4 * i));
    for (let i = 0; i < words.length;) {
      const [branch, , count] = words.slice(i, i + 3) as [number, number, number];
      targets.set(branch, words.slice(i + 3, i + 3 + count));
      i += 3 + count;
    }
  }
  return targets;
}

const textPrefix = '.text.';

/** Every kernel in a fatbin, on every architecture that it has machine code for. */
export function kernelCodes(file: string): KernelCode[] {
  // nvcc's own have PTX among them.
  const isCode = ({ isPtx, bytes }: FatbinImage) => !isPtx && bytes.readUInt16LE(0) === elfKind;
  const images = readFatbin(file).filter(isCode);
  return images.flatMap((image) => {
    const sections = sectionsOf(contentOf(image));
    const texts = [...sections].filter(([name]) => name.startsWith(textPrefix));
    return texts.map(([section, text]): KernelCode => {
      const name = section.slice(textPrefix.length);
      const info = sections.get(`.nv.info.${name}`) ?? Buffer.alloc(0);
      const { architecture } = image;
      return { name, architecture, text, indirectTargets: indirectTargetsOf(info) };
    });
  });
}
