// Computes how many blocks of a kernel a multiprocessor holds at once, from registers, threads and shared
// memory, by the rules of NVIDIA's cuda_occupancy.h. Assumes that a multiprocessor provides as much shared
// memory to blocks as it can: the driver does that for a kernel that asks for it.

/** The resources of a multiprocessor, and the units in which they are allocated. */
interface Multiprocessor {
  readonly warps: number;
  readonly blocks: number;
  /** Bytes for all blocks together. One block can have them all. */
  readonly sharedMemory: number;
  /** Bytes that the driver reserves for itself in every block. */
  readonly reservedSharedMemory: number;
  readonly sharedGranularity: number;
}

const kib = 1024;

function sinceAmpere(warps: number, blocks: number, sharedKib: number): Multiprocessor {
  const units = { reservedSharedMemory: kib, sharedGranularity: 128 };
  return { warps, blocks, sharedMemory: sharedKib * kib, ...units };
}

/** The architectures that the kernels are compiled for, by their names in ptxas. */
export const architectures = {
  sm_75: { ...sinceAmpere(32, 16, 64), reservedSharedMemory: 0, sharedGranularity: 256 },
  sm_80: sinceAmpere(64, 32, 164),
  sm_86: sinceAmpere(48, 16, 100),
  sm_90: sinceAmpere(64, 32, 228),
  sm_100: sinceAmpere(64, 32, 228),
  sm_120: sinceAmpere(48, 24, 100),
} as const satisfies Record<string, Multiprocessor>;

export type Architecture = keyof typeof architectures;
export const architectureNames = Object.keys(architectures) as Architecture[];

/** The resources that a launch of a kernel needs, which decide its occupancy. */
export interface BlockNeeds {
  /** Registers of a thread. */
  readonly registers: number;
  /** Threads of a block. */
  readonly threads: number;
  /** Bytes of a block, static and dynamic together. */
  readonly sharedMemory: number;
}

// The same on all of these architectures.
const warpLanes = 32;
const registerFile = 65_536;
const registerGranularity = 256; // registers are allocated to whole warps
const subPartitions = 4; // all registers of a warp are in one of them
const maxThreads = 1024;

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

function blocksByRegisters({ registers, threads }: BlockNeeds): number {
  const warps = Math.ceil(threads / warpLanes);
  const ofWarp = roundUp(registers * warpLanes, registerGranularity);
  if (ofWarp === 0) return Infinity;
  // The driver refuses a launch as if every sub-partition held as many warps as the fullest one.
  if (ofWarp * roundUp(warps, subPartitions) > registerFile) return 0;
  const warpsOfPartition = Math.floor(registerFile / subPartitions / ofWarp);
  return Math.floor((warpsOfPartition * subPartitions) / warps);
}

function blocksByShared({ sharedMemory }: BlockNeeds, has: Multiprocessor): number {
  const needed = sharedMemory + has.reservedSharedMemory;
  return Math.floor(has.sharedMemory / roundUp(needed, has.sharedGranularity)); // can be Infinity
}

/** Blocks of a kernel that a multiprocessor holds at once; 0 if it cannot be launched. */
export function blocksOf(architecture: Architecture, needs: BlockNeeds): number {
  const has = architectures[architecture];
  if (needs.threads > maxThreads) return 0;
  // Named barriers never limit: there are as many as blocks, and a kernel here uses one.
  return Math.min(
    has.blocks,
    Math.floor(has.warps / Math.ceil(needs.threads / warpLanes)),
    blocksByRegisters(needs),
    blocksByShared(needs, has),
  );
}

/** The share of a multiprocessor's warps that a kernel can keep busy, 0 to 1. */
export function occupancyOf(architecture: Architecture, needs: BlockNeeds): number {
  const warps = blocksOf(architecture, needs) * Math.ceil(needs.threads / warpLanes);
  return warps / architectures[architecture].warps;
}
