// What the warps of a launch execute: the launch as the simulated GPU saw it, and the machine code of its
// kernel.
// npx tsx scripts/report/launched-code.ts [forward bfloat16 4096 [sm_90]]: without arguments the sizes
// that docs/kernels.md names.

import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';

import type { DType } from '../../lib';
import { logFolder } from '../compiled-kernels';
import { launchesOf, type Launch, type Run } from '../traced-runs';
import { blocksOf } from './blocks';
import { kernelCodes, type KernelCode } from './cubin';
import { instructionsOf } from './instructions';
import {
  classesText,
  countClasses,
  loadsOf,
  loadsText,
  spillsOf,
  type ClassCounts,
} from './machine-code';
import { classes, type InstructionClass } from './opcodes';
import { pathOf } from './path';

const warpLanes = 32;

export interface LaunchedCode {
  /** Instructions of threads for each element of the matrix. */
  readonly instructions: number;
  /** The same of PTX, as the simulated GPU executes it. */
  readonly ptxInstructions: number;
  readonly byClass: ClassCounts;
  /** Instructions from a load of global memory to the first use of what it brings, at least. */
  readonly loadDistance: number;
}

/**
 * What the launch executes as this code. Undefined if the code does not do what the simulated GPU saw:
 * then there is nothing to count.
 */
export function launchedCode(launch: Launch, code: KernelCode): LaunchedCode | undefined {
  const blocks = blocksOf(instructionsOf(code));
  const elements = launch.run.rows * launch.run.hiddenSize;
  const sums = Object.fromEntries(classes.map((kind) => [kind, 0])) as Record<
    InstructionClass,
    number
  >;
  let [instructions, ptxInstructions, loadDistance] = [0, 0, Infinity];
  for (const { count, spans } of launch.warps) {
    const executed = pathOf(blocks, spans);
    if (executed === undefined) return undefined;
    const share = (count * warpLanes) / elements;
    instructions += share * executed.length;
    ptxInstructions += share * spans.reduce((sum, span) => sum + span.instructions, 0);
    const counts = countClasses(executed);
    for (const kind of classes) sums[kind] += share * counts[kind];
    const distances = loadsOf(executed).map(({ distance }) => distance);
    loadDistance = Math.min(loadDistance, ...distances);
  }
  return { instructions, ptxInstructions, byClass: sums, loadDistance };
}

/** The machine code of every kernel of the last build: none where it had no nvcc. */
export function builtCodes(): KernelCode[] {
  if (!existsSync(logFolder)) return [];
  const names = readdirSync(logFolder).filter((name) => name.endsWith('.fatbin'));
  return names.flatMap((name) => kernelCodes(path.join(logFolder, name)));
}

/** Whole rows of blocks, and two groups of the rows that dweight's order joins. */
const rows = 64;

export const sizes: readonly Run[] = (
  [
    ['forward', 'float32', 4096],
    ['forward', 'bfloat16', 4096],
    ['backward', 'float32', 4096],
    ['backward', 'bfloat16', 4096],
    ['forward', 'bfloat16', 5120],
    ['forward', 'bfloat16', 128],
    ['forward', 'bfloat16', 64],
  ] as const
).map(([direction, dtype, hiddenSize]) => ({ direction, dtype, hiddenSize, rows }));

async function main([direction, dtype, size, only]: string[]): Promise<void> {
  const asked =
    direction === undefined
      ? sizes
      : [{ direction, dtype: dtype as DType, hiddenSize: Number(size), rows } as Run];
  const launches = await launchesOf(asked, { CUDASIM_CC: '9.0' });
  const codes = builtCodes();
  for (const launch of launches) {
    const { run, kernel, grid, block } = launch;
    console.log(
      `${run.direction} ${run.dtype} ${run.rows} x ${run.hiddenSize}: ${kernel}, ${grid[0]} blocks of ${block.join(' x ')}`,
    );
    for (const code of codes.filter(({ name }) => name === kernel)) {
      if (
        !(only === undefined ? ['sm_80', 'sm_90', 'sm_100'] : [only]).includes(code.architecture)
      ) {
        continue;
      }
      const figures = launchedCode(launch, code);
      if (figures === undefined) {
        console.log(`  ${code.architecture}: no way through the code does what PTX does`);
        continue;
      }
      const { instructions, ptxInstructions, byClass, loadDistance } = figures;
      console.log(
        `  ${code.architecture}: ${instructions.toFixed(2)} instructions an element (PTX ${ptxInstructions.toFixed(2)}): ${classesText(byClass)}; loads at least ${loadDistance} before their use; ${spillsOf(instructionsOf(code))} spills`,
      );
      const longest = launch.warps.toSorted((a, b) => b.count - a.count)[0];
      const executed = longest && pathOf(blocksOf(instructionsOf(code)), longest.spans);
      if (only !== undefined && executed !== undefined) {
        console.log(`    of a warp as most are: ${executed.length} instructions`);
        console.log(`    ${classesText(countClasses(executed))}`);
        console.log(`    ${loadsText(executed)}`);
      }
    }
  }
}

if (require.main === module) void main(process.argv.slice(2));
