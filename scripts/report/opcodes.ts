// The opcodes of NVIDIA's machine instructions from compute capability 7.5 on that this project's
// kernels use, or are likely to use. They are not documented: they were read from listings of NVIDIA's
// disassembler.

/** The purpose of an instruction. */
export type InstructionClass =
  | 'float32'
  | 'float16'
  | 'float64'
  | 'conversion'
  | 'special'
  | 'shuffle'
  | 'integer'
  | 'memory'
  | 'control';

export interface Operation {
  readonly name: string;
  readonly class: InstructionClass;
  /**
   * The registers, by a letter each; a capital letter is a pair of registers.
   *
   * - `d`: written.
   * - `a`, `b`, `c`: read. The form can say that `b` or `c` is not a register.
   * - `s`: read, at the bits of b, in every form.
   * - `m`: written, as many as the width of the access.
   * - `v`, `x`: read, as many as the width of the access, at the bits of b or of c.
   * - `q`, `w`: eight registers, written or read.
   */
  readonly operands: string;
}

type Row = readonly [opcode: number, name: string, operands: string];

const rows: Readonly<Record<InstructionClass, readonly Row[]>> = {
  float32: [
    [0x008, 'FSEL', 'dab'],
    [0x009, 'FMNMX', 'dab'],
    [0x00b, 'FSETP', 'ab'],
    [0x102, 'FCHK', 'ab'],
    [0x020, 'FMUL', 'dab'],
    [0x021, 'FADD', 'dab'],
    [0x023, 'FFMA', 'dabc'],
    [0x049, 'FFMA2', 'DABC'],
    [0x04a, 'FMUL2', 'DAB'],
    [0x04b, 'FADD2', 'DAB'],
    [0x053, 'UFSETP', ''],
  ],
  float16: [
    [0x030, 'HADD2', 'dab'],
    [0x031, 'HFMA2', 'dabc'],
    [0x032, 'HMUL2', 'dab'],
    [0x034, 'HSETP2', 'ab'],
    [0x035, 'HFMA2.MMA', 'dabc'],
  ],
  float64: [
    [0x028, 'DMUL', 'DAB'],
    [0x029, 'DADD', 'DAB'],
    [0x02b, 'DFMA', 'DABC'],
  ],
  conversion: [
    [0x03e, 'F2FP', 'dab'],
    [0x045, 'I2FP', 'db'],
    [0x05a, 'UI2F', ''],
    [0x05c, 'UF2I', ''],
    [0x104, 'F2F', 'db'],
    [0x105, 'F2I', 'db'],
    [0x106, 'I2F', 'db'],
    [0x111, 'F2I', 'Db'],
    [0x112, 'I2F', 'dB'],
  ],
  special: [[0x108, 'MUFU', 'db']],
  shuffle: [
    [0x189, 'SHFL', 'dabc'],
    [0x589, 'SHFL', 'das'],
    [0xf89, 'SHFL', 'da'],
    [0x1c4, 'REDUX', 'a'],
  ],
  integer: [
    [0x002, 'MOV', 'db'],
    [0x003, 'P2R', 'da'],
    [0x004, 'R2P', 'a'],
    [0x005, 'CS2R', 'D'],
    [0x006, 'VOTE', 'd'],
    [0x007, 'SEL', 'dab'],
    [0x407, 'SEL.64', 'DA'],
    [0x607, 'SEL.64', 'DAS'],
    [0x00c, 'ISETP', 'ab'],
    [0x00f, 'VIMNMX3', 'dabc'],
    [0x010, 'IADD3', 'dabc'],
    [0x011, 'LEA', 'dabc'],
    [0x012, 'LOP3', 'dabc'],
    [0x016, 'PRMT', 'dabc'],
    [0x017, 'IMNMX', 'dab'],
    [0x019, 'SHF', 'dabc'],
    [0x01c, 'PLOP3', ''],
    [0x024, 'IMAD', 'dabc'],
    [0x025, 'IMAD.WIDE', 'DabC'],
    [0x026, 'IDP', 'dabc'],
    [0x027, 'IMAD.HI', 'dabc'],
    [0x036, 'VIADD', 'dab'],
    [0x046, 'VIADDMNMX', 'dabc'],
    [0x048, 'VIMNMX', 'dab'],
    [0x082, 'UMOV', ''],
    [0x085, 'UIMNMX', ''],
    [0x086, 'VOTEU', ''],
    [0x087, 'USEL', ''],
    [0x08c, 'UISETP', ''],
    [0x090, 'UIADD3', ''],
    [0x091, 'ULEA', ''],
    [0x092, 'ULOP3', ''],
    [0x096, 'UPRMT', ''],
    [0x097, 'UIADD3.64', ''],
    [0x099, 'USHF', ''],
    [0x09c, 'UPLOP3', ''],
    [0x0a4, 'UIMAD', ''],
    [0x0a5, 'UIMAD.WIDE', ''],
    [0x0a6, 'UIMAD.HI', ''],
    [0x0b9, 'ULDC', ''],
    [0x0bb, 'ULDC', ''],
    [0x0bd, 'UFLO', ''],
    [0x0ca, 'R2UR', 'a'],
    [0x100, 'FLO', 'db'],
    [0x101, 'BREV', 'db'],
    [0x109, 'POPC', 'db'],
    [0x119, 'S2R', 'd'],
    [0x182, 'LDC', 'ma'], // loads constants, which include the parameters
    [0x1ac, 'LDCU', ''],
    [0x1c2, 'R2UR', 'a'],
    [0x1c3, 'S2UR', ''],
    [0x84a, 'UVIMNMX', ''],
  ],
  memory: [
    [0x17e, 'LDG', 'qA'],
    [0x17f, 'STG', 'Aw'],
    [0x181, 'LDG', 'mA'],
    [0x183, 'LDL', 'ma'],
    [0x184, 'LDS', 'ma'],
    [0x185, 'ST', 'Av'],
    [0x385, 'ST', 'Ax'],
    [0x186, 'STG', 'Av'],
    [0x187, 'STL', 'av'],
    [0x188, 'STS', 'av'],
    [0x18e, 'RED', 'As'],
    [0x18f, 'CCTL', 'A'],
    [0x1a8, 'ATOMG', 'dAs'],
    [0x1ae, 'LDGSTS', 'Ad'], // d is the address in shared memory
  ],
  control: [
    [0x118, 'NOP', ''],
    [0x11a, 'DEPBAR', ''],
    [0x11b, 'ENDCOLLECTIVE', ''],
    [0x11c, 'B2R', 'd'],
    [0x11d, 'BAR', ''],
    [0x141, 'BSYNC', ''],
    [0x142, 'BREAK', ''],
    [0x144, 'CALL', ''],
    [0x145, 'BSSY', ''],
    [0x146, 'YIELD', ''],
    [0x147, 'BRA', ''],
    [0x148, 'WARPSYNC', ''],
    [0x149, 'BRX', 'a'],
    [0x14d, 'EXIT', ''],
    [0x150, 'RET', 'a'],
    [0x155, 'BMOV', 'd'],
    [0x158, 'BRXU', ''],
    [0x15d, 'NANOSLEEP', ''],
    [0x192, 'MEMBAR', ''],
    [0x1ab, 'ERRBAR', ''],
    [0x1af, 'LDGDEPBAR', ''],
  ],
};

/** Opcodes that have another meaning from compute capability 12.0 on. */
const blackwellRows: readonly Row[] = [[0x035, 'IADD.64', 'DAB']];

function operationsOf(kind: InstructionClass, list: readonly Row[]): [number, Operation][] {
  return list.map(([opcode, name, operands]) => [opcode, { name, class: kind, operands }]);
}

const kinds = Object.keys(rows) as InstructionClass[];
export const classes: readonly InstructionClass[] = kinds;

/** By the 9 bits of the opcode, or by 12 bits with the form where the form changes the meaning. */
const operations = new Map(kinds.flatMap((kind) => operationsOf(kind, rows[kind])));
const blackwellOperations = new Map(operationsOf('integer', blackwellRows));

/** The operation of an opcode of 12 bits, including the form, on a compute capability such as 90. */
export function operationOf(opcode: number, capability: number): Operation | undefined {
  const short = opcode & 0x1ff;
  const special = capability >= 120 ? blackwellOperations.get(short) : undefined;
  return special ?? operations.get(opcode) ?? operations.get(short);
}
