// The instructions that the warps of a launch execute, from the trace of the simulated GPU and the
// machine code of the kernel.

import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';

import { logFolder } from '../compiled-kernels';
import type { Launch } from '../traced-runs';
import { blocksOf } from './blocks';
import { kernelCodes, type KernelCode } from './cubin';
import { instructionsOf } from './instructions';
import { countClasses, loadsOf, type ClassCounts, type Load } from './machine-code';
import { classes, type InstructionClass } from './opcodes';
import { pathOf } from './path';

export const warpLanes = 32;

export interface LaunchedCode {
  /** Thread instructions per element of the matrix. */
  readonly instructions: number;
  /** The same for PTX, as the simulated GPU executes it. */
  readonly ptxInstructions: number;
  readonly byClass: ClassCounts;
  /** Every load of global memory that a warp executes, once for each kind of warp. */
  readonly loads: readonly Load[];
}

/**
 * The instructions of a launch in this machine code. Undefined if no path through the code is found that
 * does what the simulated GPU recorded: then there is nothing to count.
 */
export function launchedCode(launch: Launch, code: KernelCode): LaunchedCode | undefined {
  const blocks = blocksOf(instructionsOf(code));
  const elements = launch.run.rows * launch.run.hiddenSize;
  const sums = Object.fromEntries(classes.map((kind) => [kind, 0])) as Record<
    InstructionClass,
    number
  >;
  let instructions = 0;
  const loads: Load[] = [];
  for (const { count, spans } of launch.warps) {
    const executed = pathOf(blocks, spans);
    if (executed === undefined) return undefined;
    const share = (count * warpLanes) / elements;
    instructions += share * executed.length;
    const counts = countClasses(executed);
    for (const kind of classes) sums[kind] += share * counts[kind];
    loads.push(...loadsOf(executed));
  }
  return { instructions, ptxInstructions: ptxInstructionsOf(launch), byClass: sums, loads };
}

/** PTX instructions per element of the matrix, as the simulated GPU executes them. */
export function ptxInstructionsOf({ run, warps }: Launch): number {
  const counts = warps.map(
    ({ count, spans }) => count * spans.reduce((sum, span) => sum + span.instructions, 0),
  );
  const all = counts.reduce((sum, count) => sum + count, 0);
  return (warpLanes * all) / (run.rows * run.hiddenSize);
}

/**
 * The least number of instructions from a load to the first use of its data; undefined without loads.
 */
export function loadDistance({ loads }: LaunchedCode): number | undefined {
  return loads.length === 0 ? undefined : Math.min(...loads.map(({ distance }) => distance));
}

/** The machine code of every kernel of the last build; none if the build had no nvcc. */
export function builtCodes(): KernelCode[] {
  if (!existsSync(logFolder)) return [];
  const names = readdirSync(logFolder).filter((name) => name.endsWith('.fatbin'));
  return names.flatMap((name) => kernelCodes(path.join(logFolder, name)));
}
