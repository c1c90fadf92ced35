// The path through a kernel's machine code that does the work, as far as the code alone says: for kernels
// that no launch on the simulated GPU reaches yet (path.ts is for those that one does).

import type { Block } from './blocks';
import type { Instruction } from './instructions';

/** A loop, with every block from which its begin can be reached again without leaving it. */
export interface Loop {
  readonly begin: number;
  readonly blocks: ReadonlySet<number>;
}

interface Shape {
  readonly loops: readonly Loop[];
  /** Where a block can go, without going back. */
  readonly forward: readonly (readonly number[])[];
}

/** Finds the edges that go back to the begin of a loop. */
function shapeOf(blocks: readonly Block[]): Shape {
  const [open, done] = [new Set<number>(), new Set<number>()];
  const back: [from: number, to: number][] = [];
  const visit = (block: number) => {
    open.add(block);
    for (const to of blocks[block]?.next ?? []) {
      if (open.has(to)) back.push([block, to]);
      else if (!done.has(to)) visit(to);
    }
    open.delete(block);
    done.add(block);
  };
  visit(0);
  const before = blocks.map((): number[] => []);
  for (const from of done) for (const to of blocks[from]?.next ?? []) before[to]?.push(from);

  const loops = new Map<number, Set<number>>();
  for (const [from, begin] of back) {
    const body = loops.get(begin) ?? new Set([begin]);
    loops.set(begin, body);
    for (const queue = [from]; queue.length > 0;) {
      const block = queue.pop() as number;
      if (body.has(block)) continue;
      body.add(block);
      queue.push(...(before[block] ?? []));
    }
  }
  const isBack = (from: number, to: number) => back.some(([f, t]) => f === from && t === to);
  const forward = blocks.map(({ next }, from) => {
    const ahead = next.filter((to) => !isBack(from, to));
    if (ahead.length > 0) return ahead;
    // A loop that is left from its begin: from the end of its body it goes where it is left to.
    return next.flatMap((begin) =>
      (blocks[begin]?.next ?? []).filter((to) => !loops.get(begin)?.has(to)),
    );
  });
  return { loops: Array.from(loops, ([begin, body]) => ({ begin, blocks: body })), forward };
}

export interface MainPath {
  /** The numbers of its blocks. */
  readonly blocks: readonly number[];
  readonly instructions: readonly Instruction[];
  readonly loops: readonly Loop[];
}

function globalBytes({ instructions }: Block): number {
  const bytes = instructions.map(({ access }) => (access?.space === 'global' ? access.bytes : 0));
  return bytes.reduce((sum, count) => sum + count, 0);
}

interface Rest {
  readonly bytes: number;
  readonly instructions: number;
  readonly next: number | undefined;
}

/**
 * Of all paths from a kernel's entry to its end that take each loop once at most, the one that moves the
 * most bytes of global memory, and of those the one of the fewest instructions.
 */
export function mainPath(blocks: readonly Block[]): MainPath {
  const { loops, forward } = shapeOf(blocks);
  const rests = new Map<number, Rest | undefined>();
  const restFrom = (number: number): Rest | undefined => {
    if (rests.has(number)) return rests.get(number);
    const block = blocks[number] as Block;
    let best: Rest | undefined = block.isEnd
      ? { bytes: 0, instructions: 0, next: undefined }
      : undefined;
    for (const next of forward[number] ?? []) {
      const rest = restFrom(next);
      if (rest === undefined) continue;
      const isBetter =
        best === undefined ||
        rest.bytes > best.bytes ||
        (rest.bytes === best.bytes && rest.instructions < best.instructions);
      if (isBetter) best = { ...rest, next };
    }
    if (best !== undefined) {
      best = {
        bytes: best.bytes + globalBytes(block),
        instructions: best.instructions + block.instructions.length,
        next: best.next,
      };
    }
    rests.set(number, best);
    return best;
  };
  const path: number[] = [];
  restFrom(0);
  for (let at: number | undefined = 0; at !== undefined; at = rests.get(at)?.next) path.push(at);
  return {
    blocks: path,
    instructions: path.flatMap((number) => blocks[number]?.instructions ?? []),
    loops,
  };
}
