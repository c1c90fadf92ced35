// The decoder of machine code, the path of a warp through it, and the counts along that path.

import { blocksOf } from '../../scripts/report/blocks';
import { kernelCodesIn, type KernelCode } from '../../scripts/report/cubin';
import { instructionsOf, type Instruction } from '../../scripts/report/instructions';
import { countClasses, loadsOf, spillsOf } from '../../scripts/report/machine-code';
import { pathOf } from '../../scripts/report/path';
import type { WarpWork } from '../../bench/gpu/trace';

/** A kernel of these instructions: 16 bytes each, the high half first, as NVIDIA's disassembler prints. */
function codeOf(architecture: string, words: readonly string[], targets = new Map()): KernelCode {
  const text = Buffer.alloc(16 * words.length);
  for (const [i, word] of words.entries()) {
    const [high, low] = word.split(' ') as [string, string];
    text.writeBigUInt64LE(BigInt(`0x${low}`), 16 * i);
    text.writeBigUInt64LE(BigInt(`0x${high}`), 16 * i + 8);
  }
  return { name: 'kernel', architecture, text, indirectTargets: targets };
}

function decoded(architecture: string, word: string): Instruction {
  return instructionsOf(codeOf(architecture, [word]))[0] as Instruction;
}

describe('decoding', () => {
  // Listings of NVIDIA's disassembler, checked by hand.
  test.each([
    ['sm_90', '000fe20000000000 000000035c5c7221', 'FADD', 'float32', [92, 3], [92]],
    ['sm_90', '000fe20000000039 0000005639557223', 'FFMA', 'float32', [57, 86, 57], [85]],
    ['sm_90', '004fc80000000038 bf800000394d7423', 'FFMA', 'float32', [57, 56], [77]],
    ['sm_80', '000fe200078e001d 00000a001d1d7a24', 'IMAD', 'integer', [29, 29], [29]],
    ['sm_90', '000fe2000f8e021d 00000013211d7c24', 'IMAD', 'integer', [33, 29], [29]],
    ['sm_90', '000fc8000f8e000a 000000060f087c25', 'IMAD.WIDE', 'integer', [15, 10, 11], [8, 9]],
    ['sm_90', '000fe20000004100 20000018ff1c7230', 'HADD2', 'conversion', [24], [28]],
    ['sm_90', '004fca0000000000 000000050000723e', 'F2FP', 'conversion', [0, 5], [0]],
    ['sm_100', '000fc600000001ff 00000000ff2e7431', 'HFMA2', 'integer', [], [46]],
    ['sm_100', '008fc40000000008 0000000604067249', 'FFMA2', 'float32', [4, 5, 6, 7, 8, 9], [6, 7]],
    ['sm_90', '000e2200000e0000 0c801f0014147f89', 'SHFL', 'shuffle', [20], [20]],
    ['sm_90', '000e2200000e0000 0c001f0407057589', 'SHFL', 'shuffle', [7, 4], [5]],
    [
      'sm_120',
      '000fc600078e0300 0000005018187235',
      'IADD.64',
      'integer',
      [24, 25, 80, 81],
      [24, 25],
    ],
  ] as const)('%s %s is decoded as %s', (architecture, word, name, kind, reads, writes) => {
    const instruction = decoded(architecture, word);
    expect(instruction).toMatchObject({ name, class: kind, isGuarded: false, fallsThrough: true });
    expect([...instruction.reads].sort((a, b) => a - b)).toEqual(reads.toSorted((a, b) => a - b));
    expect(instruction.writes).toEqual(writes);
  });

  test('memory accesses are decoded with their space and width', () => {
    // LDG.E.128 R12, desc[UR46][R2.64]
    expect(decoded('sm_90', '000164000c1e1d00 0000002e020c7981')).toMatchObject({
      reads: [2, 3],
      writes: [12, 13, 14, 15],
      access: { space: 'global', isStore: false, bytes: 16 },
    });
    // @P3 STG.E [R24.64], R20
    expect(decoded('sm_80', '0001e8000c101908 0000001418003986')).toMatchObject({
      isGuarded: true,
      reads: [24, 25, 20],
      writes: [],
      access: { space: 'global', isStore: true, bytes: 4 },
    });
    // STS.128 [R5], R20, LDS.64 R36, [R36], and LDG.E.ENL2.256 R12, R8, [R2.64] of sm_100
    expect(decoded('sm_90', '0201e80000000c00 0000001405007388')).toMatchObject({
      reads: [5, 20, 21, 22, 23],
      access: { space: 'shared', isStore: true, bytes: 16 },
    });
    expect(decoded('sm_90', '000fe20000000a00 0000000024247984')).toMatchObject({
      writes: [36, 37],
      access: { space: 'shared', isStore: false, bytes: 8 },
    });
    // LDGSTS.E.BYPASS.128 [R7], [R2.64], which has a code of its own from 10.0 on
    const copied = { reads: [2, 3], access: { space: 'global', isStore: false, bytes: 16 } };
    expect(decoded('sm_80', '000fe8000b901c44 0000000002077fae')).toMatchObject(copied);
    expect(decoded('sm_100', '000fe8000b981806 0000000002077fae')).toMatchObject(copied);
    expect(decoded('sm_100', '001eaa000812190c fe0000040208797e')).toMatchObject({
      writes: [8, 9, 10, 11, 12, 13, 14, 15],
      access: { bytes: 32 },
    });
  });

  test.each([
    // Distances are from the end of the instruction, which is at 0.
    ['sm_80', '@P0 BRA', '000fea0003800000 0000642000000947', [0x6430], true],
    ['sm_80', 'BRA', '000fec0003800000 0000006000007947', [0x70], false],
    ['sm_90', '@P0 BRA', '008fea0003800000 0000006400e40947', [0x67a0], true],
    ['sm_100', 'BRA.U UP0', '018fea000b800000 0000006500e47547', [0x67a0], true],
    ['sm_90', 'BRA.DIV', '000fec000b800000 0000004205047947', [], true],
    ['sm_75', 'BRA.CONV', '000ff60003800000 0000002300007947', [0x30], false],
    ['sm_90', '@!P0 EXIT', '000fea0003800000 000000000000894d', [], true],
    ['sm_90', 'EXIT', '000fea0003800000 000000000000794d', [], false],
  ] as const)(
    '%s: the targets of %s are decoded',
    (architecture, _, word, targets, fallsThrough) => {
      expect(decoded(architecture, word)).toMatchObject({ targets, fallsThrough });
    },
  );

  test('the targets of an indirect branch come from the list of the kernel', () => {
    const code = codeOf('sm_80', ['000fea000383ffff fffff77c0c007949'], new Map([[0, [16, 32]]]));
    expect(instructionsOf(code)[0]).toMatchObject({ targets: [16, 32], fallsThrough: false });
  });

  test('an unknown instruction is an error that says where it is', () => {
    expect(() => decoded('sm_90', '0 7fff')).toThrow(
      'kernel on sm_90 at 0x0: unknown opcode 0xfff',
    );
  });
});

// Instructions of sm_80.
const nop = '000fc00000000000 0000000000007918';
const exit = '000fea0003800000 000000000000794d';
const exitUnlessP0 = '000fea0003800000 000000000000894d';
const barrier = '000fea0000000000 0000000000007b1d';
const shuffle = '000e2200000e0000 0c801f0014147f89'; // R20 of R20
const load = '000164000c1e1d00 00000018040c7981'; // R12 to R15 from [R4]
const loadIfP4 = '000166000c1e1900 00000418021c4981'; // R28 from [R2 + 4]
const store = '0001e8000c101908 0000001418007986'; // R20 to [R24]
const addR13 = '000fe20000000000 000000030d5c7221'; // R92 = R13 + R3
const spill = '0001e80000100800 0000040001007387'; // R0 to local memory
/** Branches guarded by P0: forward over `count` instructions; back over `count` instructions and itself. */
const skipIfP0 = (count: number) => `000fea0003800000 0000${hex(16 * count)}00000947`;
const backIfP0 = (count: number) =>
  `000fea000383ffff ${hex(2 ** 32 - 16 * (count + 1), 8)}00000947`;
function hex(value: number, digits = 4): string {
  return value.toString(16).padStart(digits, '0');
}

const nothing: WarpWork = {
  instructions: 0,
  shuffles: 0,
  global_loaded: 0,
  global_stored: 0,
  shared_loaded: 0,
  shared_stored: 0,
};

/** The indices of the instructions on the path of a warp that did this work. */
function addressesOf(
  words: readonly string[],
  ...spans: Partial<WarpWork>[]
): number[] | undefined {
  const blocks = blocksOf(instructionsOf(codeOf('sm_80', words)));
  const executed = pathOf(
    blocks,
    spans.map((span) => ({ ...nothing, ...span })),
  );
  return executed?.map(({ address }) => address / 16);
}

describe('pathOf', () => {
  test('finds the shortest path that moves as many bytes as the warp', () => {
    const words = [load, skipIfP0(2), load, nop, store, exit];
    const stored = { global_stored: 4 };
    expect(addressesOf(words, { global_loaded: 16, ...stored })).toEqual([0, 1, 4, 5]);
    expect(addressesOf(words, { global_loaded: 32, ...stored })).toEqual([0, 1, 2, 3, 4, 5]);
    expect(addressesOf(words, { global_loaded: 48, ...stored })).toBeUndefined();
    expect(addressesOf(words, { global_loaded: 16 })).toBeUndefined();
  });

  test('repeats a loop as often as the warp did its work', () => {
    const words = [nop, shuffle, backIfP0(1), exit];
    expect(addressesOf(words, { shuffles: 1 })).toEqual([0, 1, 2, 3]);
    expect(addressesOf(words, { shuffles: 3 })).toEqual([0, 1, 2, 1, 2, 1, 2, 3]);
    expect(addressesOf(words, {})).toBeUndefined();
  });

  test('skips or executes an instruction with a predicate', () => {
    const words = [loadIfP4, exitUnlessP0, store, exit];
    expect(addressesOf(words, { global_loaded: 4 })).toEqual([0, 1]);
    expect(addressesOf(words, {})).toEqual([0, 1]);
    expect(addressesOf(words, { global_stored: 4 })).toEqual([0, 1, 2, 3]);
  });

  test('matches the work of the warp in each span between barriers', () => {
    const words = [skipIfP0(1), load, barrier, skipIfP0(1), load, exit];
    const loaded = { global_loaded: 16 };
    expect(addressesOf(words, loaded, {})).toEqual([0, 1, 2, 3, 5]);
    expect(addressesOf(words, {}, loaded)).toEqual([0, 2, 3, 4, 5]);
    expect(addressesOf(words, loaded)).toBeUndefined();
    expect(addressesOf(words, loaded, {}, {})).toBeUndefined();
    // One barrier per row.
    const rows = [load, barrier, backIfP0(2), exit];
    expect(addressesOf(rows, loaded, loaded, {})).toEqual([0, 1, 2, 0, 1, 2, 3]);
  });
});

test('the distance of a load is the number of instructions to the first use of its registers', () => {
  const executed = instructionsOf(
    codeOf('sm_80', [load, nop, load, nop, addR13, loadIfP4, spill, exit]),
  );
  // The second load overwrites the result of the first. Nothing uses the last.
  expect(loadsOf(executed).map(({ address, distance }) => [address / 16, distance])).toEqual([
    [0, 2],
    [2, 2],
    [5, 3],
  ]);
  expect(countClasses(executed)).toMatchObject({ memory: 4, control: 3, float32: 1, integer: 0 });
  expect(spillsOf(executed)).toBe(1);
});

describe('a file of kernels', () => {
  /** A 64-bit ELF file of sections by their names. */
  function elfOf(sections: Readonly<Record<string, Buffer>>): Buffer {
    const names = Buffer.from(['', ...Object.keys(sections), '.shstrtab', ''].join('\0'));
    const contents = [Buffer.alloc(0), ...Object.values(sections), names];
    const header = Buffer.alloc(64);
    header.writeUInt32LE(0x464c457f, 0);
    header.writeUInt16LE(64, 58);
    header.writeUInt16LE(contents.length, 60);
    header.writeUInt16LE(contents.length - 1, 62);
    let offset = header.length;
    const table = contents.map((content, i) => {
      const entry = Buffer.alloc(64);
      const name = i === 0 ? '' : ([...Object.keys(sections), '.shstrtab'][i - 1] as string);
      entry.writeUInt32LE(names.indexOf(`${name}\0`), 0);
      entry.writeBigUInt64LE(BigInt(offset), 24);
      entry.writeBigUInt64LE(BigInt(content.length), 32);
      offset += content.length;
      return entry;
    });
    header.writeBigUInt64LE(BigInt(offset), 40);
    return Buffer.concat([header, ...contents, ...table]);
  }

  /** An image of a fatbin, and a fatbin of images, neither of them compressed. */
  function imageOf(kind: number, capability: number, content: Buffer): Buffer {
    const header = Buffer.alloc(64);
    header.writeUInt16LE(kind, 0);
    header.writeUInt32LE(header.length, 4);
    header.writeBigUInt64LE(BigInt(content.length), 8);
    header.writeUInt32LE(capability, 28);
    return Buffer.concat([header, content]);
  }
  function fatbinOf(...images: Buffer[]): Buffer {
    const content = Buffer.concat(images);
    const header = Buffer.alloc(16);
    header.writeUInt32LE(0xba55ed50, 0);
    header.writeUInt16LE(16, 6);
    header.writeBigUInt64LE(BigInt(content.length), 8);
    return Buffer.concat([header, content]);
  }

  test('has the code of each kernel on each architecture, and where its branches lead', () => {
    const info = Buffer.alloc(4 + 4 + 20);
    info.set([1, 0x35, 0, 0, 4, 0x34, 20, 0]); // another attribute, and that of branches
    for (const [i, word] of [0x40, 0, 2, 0x10, 0x20].entries()) info.writeUInt32LE(word, 8 + 4 * i);
    const text = Buffer.alloc(32, 1);
    const elf = elfOf({ '.text.fold': text, '.nv.info.fold': info, '.text.scale': text });
    const fatbin = fatbinOf(imageOf(2, 80, elf), imageOf(1, 80, Buffer.from('.version')));
    expect(kernelCodesIn(fatbin)).toEqual([
      {
        name: 'fold',
        architecture: 'sm_80',
        text,
        indirectTargets: new Map([[0x40, [0x10, 0x20]]]),
      },
      { name: 'scale', architecture: 'sm_80', text, indirectTargets: new Map() },
    ]);
  });

  test('refuses a file that is not a fatbin of ELF files', () => {
    expect(() => kernelCodesIn(Buffer.alloc(64))).toThrow('The machine code is not a fatbin');
    const fatbin = fatbinOf(imageOf(2, 80, Buffer.alloc(64)));
    expect(() => kernelCodesIn(fatbin)).toThrow('The machine code is not an ELF file');
  });
});
