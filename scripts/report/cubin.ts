// The machine code in files of kernels: a fatbin of nvcc 13, which has a 64-bit ELF file for each
// architecture, with a section .text.NAME for each kernel.
//
// A fatbin is a header of u32 magic, u16 version, u16 bytes of the header and u64 bytes of what follows;
// then images, each of u16 kind, u16 version, u32 bytes of the image's header, u64 bytes of its content,
// and at 28 the u32 compute capability, such as 90.

import { spawnSync } from 'node:child_process';

import { readKernelFile } from '../../bench/environment/kernel-file';

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

const fatbinMagic = 0xba55ed50;
const elfKind = 2; // of an image
const elfMagic = 0x464c457f;

/** The sections of a 64-bit ELF file, by name. */
function sectionsOf(elf: Buffer): Map<string, Buffer> {
  if (elf.readUInt32LE(0) !== elfMagic) throw new RangeError('The machine code is not an ELF file');
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
 * Reads a section .nv.info.NAME. A record has a u8 format, a u8 attribute, and either a u16 size with so many
 * bytes or a u16 value. The attribute read here lists branches: u32 address, u32 0, u32 count, u32 targets.
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
export function kernelCodesIn(fatbin: Buffer): KernelCode[] {
  if (fatbin.readUInt32LE(0) !== fatbinMagic)
    throw new RangeError('The machine code is not a fatbin');
  const codes: KernelCode[] = [];
  for (let offset = fatbin.readUInt16LE(6); offset < fatbin.length;) {
    const image = fatbin.subarray(offset);
    const begin = image.readUInt32LE(4);
    const end = begin + Number(image.readBigUInt64LE(8));
    offset += end;
    if (image.readUInt16LE(0) !== elfKind) continue;
    const architecture = `sm_${image.readUInt32LE(28)}`;
    const sections = sectionsOf(image.subarray(begin, end));
    for (const [section, text] of sections) {
      if (!section.startsWith(textPrefix)) continue;
      const name = section.slice(textPrefix.length);
      const info = sections.get(`.nv.info.${name}`) ?? Buffer.alloc(0);
      codes.push({ name, architecture, text, indirectTargets: indirectTargetsOf(info) });
    }
  }
  return codes;
}

/** The same of a file of kernels. Node.js has no xz, so this runs the command. */
export function kernelCodes(file: string): KernelCode[] {
  const { stream } = readKernelFile(file).machineCode;
  const { stdout, stderr, error } = spawnSync('xz', ['--decompress', '--stdout'], {
    input: stream,
    maxBuffer: 1 << 30,
  });
  if (error !== undefined) throw error;
  if (stderr.length > 0) throw new Error(`xz failed: ${stderr.toString()}`);
  return kernelCodesIn(stdout);
}
