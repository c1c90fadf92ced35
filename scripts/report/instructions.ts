// Decodes machine instructions of NVIDIA's GPUs from compute capability 7.5 on, as far as counting
// needs it: the operation, the registers that it reads and writes, and its branch targets. The 128 bits
// are:
//   0-8 opcode, 9-11 form, 12-14 predicate of the guard, 15 whether it is negated, 16-23 register
//   written, 24-31 operand a, 32-39 b, 64-71 c, 72 whether addresses have 64 bits, 73-75 width of an
//   access to memory; in branches, 32-33 the kind and 34-81 the distance in words of 4 bytes, from 9.0
//   on with its low 8 bits in 16-23.
// An unknown instruction is an error.

import type { KernelCode } from './cubin';
import { operationOf, type InstructionClass, type Operation } from './opcodes';

export interface MemoryAccess {
  readonly space: 'global' | 'shared' | 'local';
  readonly isStore: boolean;
  /** Bytes of a thread. */
  readonly bytes: number;
}

export interface Instruction {
  readonly address: number;
  /** The name without modifiers, such as `'LDG'`. */
  readonly name: string;
  readonly class: InstructionClass;
  /** Whether a predicate decides if it is executed. */
  readonly isGuarded: boolean;
  readonly reads: readonly number[];
  readonly writes: readonly number[];
  readonly access?: MemoryAccess;
  /** The addresses that it can branch to. Branches of diverged threads are left out. */
  readonly targets: readonly number[];
  /** Whether the next instruction can follow. */
  readonly fallsThrough: boolean;
}

export const instructionBytes = 16;
const noRegister = 255; // reads as zero

/** The bits of an instruction. */
class Word {
  readonly #low: bigint;
  readonly #high: bigint;

  constructor(text: Buffer, address: number) {
    this.#low = text.readBigUInt64LE(address);
    this.#high = text.readBigUInt64LE(address + 8);
  }

  /** Up to 32 bits of either half. */
  bits(first: number, count: number): number {
    const half = first < 64 ? this.#low : this.#high;
    return Number((half >> BigInt(first % 64)) & ((1n << BigInt(count)) - 1n));
  }

  /** The 48 bits from 34 on, with a sign. */
  distance(): number {
    return Number(BigInt.asIntN(48, (this.#low >> 34n) | (this.#high << 30n)));
  }
}

/** `count` registers from `first` on. */
function span(first: number, count: number): number[] {
  return first === noRegister ? [] : Array.from({ length: count }, (_, i) => first + i);
}

const accessBytes = [1, 1, 2, 2, 4, 8, 16, 16];

/** The first bit of operands b and c in forms 0 to 7; undefined where the operand is not a register. */
const firstBitsOfB = [undefined, 32, 64, 64, undefined, undefined, undefined, 64];
const firstBitsOfC = [undefined, 64, undefined, undefined, 64, 64, 64, undefined];

function registersOf(word: Word, operands: string) {
  const form = word.bits(9, 3);
  const width = Math.ceil((accessBytes[word.bits(73, 3)] as number) / 4);
  const at = (firstBit: number | undefined, count: number) =>
    firstBit === undefined ? [] : span(word.bits(firstBit, 8), count);
  const hasC = operands.toLowerCase().includes('c');
  const reads: number[] = [];
  const writes: number[] = [];
  for (const operand of operands) {
    const count = operand === operand.toLowerCase() ? 1 : 2;
    const name = operand.toLowerCase();
    if (name === 'd') writes.push(...at(16, count));
    else if (name === 'm') writes.push(...at(16, width));
    else if (name === 'q') writes.push(...at(16, 4), ...at(64, 4));
    else if (name === 'a') reads.push(...at(24, count));
    // In an operation without c, b is a register in form 1 only.
    else if (name === 'b')
      reads.push(...at(form === 1 || hasC ? firstBitsOfB[form] : undefined, count));
    else if (name === 'c') reads.push(...at(firstBitsOfC[form], count));
    else if (name === 's') reads.push(...at(32, count));
    else if (name === 'v') reads.push(...at(32, width));
    else if (name === 'x') reads.push(...at(64, width));
    else reads.push(...at(16, 4), ...at(32, 4));
  }
  return { reads, writes };
}

const spaces: Readonly<Record<string, MemoryAccess['space']>> = {
  LDG: 'global',
  STG: 'global',
  ST: 'global',
  LDGSTS: 'global',
  LDS: 'shared',
  STS: 'shared',
  LDL: 'local',
  STL: 'local',
};

function accessOf(
  { name, operands }: Operation,
  word: Word,
  capability: number,
): MemoryAccess | undefined {
  const space = spaces[name];
  if (space === undefined) return undefined;
  let bytes = accessBytes[word.bits(73, 3)] as number;
  if (/[qw]/.test(operands)) bytes = 32;
  if (name === 'LDGSTS' && capability >= 100) bytes = 4 << word.bits(74, 2);
  return { space, isStore: name.startsWith('ST'), bytes };
}

const always = 7; // the predicate that is true

/** Values of bits 32 and 33 of a branch: taken only if the warp has diverged, or only if it has not. */
const ifDivergent = 2;
const ifConvergent = 3;

function flowOf(name: string, word: Word, address: number, isGuarded: boolean, code: KernelCode) {
  switch (name) {
    case 'EXIT':
    case 'RET':
      return { targets: [], fallsThrough: isGuarded };
    case 'BRX':
    case 'BRXU':
      return { targets: code.indirectTargets.get(address) ?? [], fallsThrough: false };
    // Calls are to square roots and divisions of unusual numbers. The analysis does not follow their
    // return.
    case 'CALL':
    case 'BRA': {
      const kind = word.bits(32, 2);
      if (kind === ifDivergent) return { targets: [], fallsThrough: true };
      const distance = word.distance();
      const words = capabilityOf(code) >= 90 ? 256 * distance + word.bits(16, 8) : distance;
      // A branch can have a predicate of its own besides the guard, or a uniform predicate.
      const isConditional = word.bits(87, 3) !== always || word.bits(9, 3) === 2;
      return {
        targets: [address + instructionBytes + 4 * words],
        fallsThrough: (isGuarded || isConditional) && kind !== ifConvergent,
      };
    }
    default:
      return { targets: [], fallsThrough: true };
  }
}

function capabilityOf({ architecture }: KernelCode): number {
  return Number(/\d+/.exec(architecture)?.[0]);
}

function decode(code: KernelCode, address: number): Instruction {
  const word = new Word(code.text, address);
  const opcode = word.bits(0, 12);
  const operation = operationOf(opcode, capabilityOf(code));
  if (operation === undefined) {
    const where = `${code.name} on ${code.architecture} at 0x${address.toString(16)}`;
    throw new RangeError(`${where}: unknown opcode 0x${opcode.toString(16)}`);
  }
  const { name, operands } = operation;
  const isGuarded = word.bits(12, 4) !== always;
  const access = accessOf(operation, word, capabilityOf(code));
  return {
    address,
    name,
    class: classOf(operation.class, name, word),
    isGuarded,
    ...registersOf(word, operands),
    ...(access === undefined ? {} : { access }),
    ...flowOf(name, word, address, isGuarded, code),
  };
}

/** The class of an instruction. HADD2.F32 converts a half, and HFMA2 of an immediate is a move. */
function classOf(kind: InstructionClass, name: string, word: Word): InstructionClass {
  if (name === 'HADD2' && word.bits(78, 1) === 1) return 'conversion';
  const isMove =
    name.startsWith('HFMA2') && word.bits(9, 3) === 2 && word.bits(24, 8) === noRegister;
  return isMove ? 'integer' : kind;
}

/** All instructions of a kernel. */
export function instructionsOf(code: KernelCode): Instruction[] {
  const count = code.text.length / instructionBytes;
  return Array.from({ length: count }, (_, i) => decode(code, instructionBytes * i));
}
