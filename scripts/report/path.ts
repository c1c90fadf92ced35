// Finds the path of a warp through a kernel's machine code. The simulated GPU runs the PTX from which
// the machine code is made, and records the work of a warp between barriers: the bytes that it moved,
// and its shuffles (bench/gpu/trace.ts). Machine code moves the same bytes and does as many shuffles.
// So the path is the shortest one with exactly these counts. Rescaled passes, unused options and
// missing rows move other bytes or none, and the bytes determine how often each loop runs.

import type { WarpWork } from '../../bench/gpu/trace';
import type { Block } from './blocks';
import type { Instruction } from './instructions';

const counters = [
  'global_loaded',
  'global_stored',
  'shared_loaded',
  'shared_stored',
  'shuffles',
] as const satisfies (keyof WarpWork)[];

/** One number for each of `counters`. */
type Counts = readonly number[];
const nothing: Counts = counters.map(() => 0);

function add(a: Counts, b: Counts): Counts {
  return a.map((count, i) => count + (b[i] as number));
}

function effectOf({ name, access }: Instruction): Counts | undefined {
  if (name === 'SHFL') return [0, 0, 0, 0, 1];
  if (access === undefined) return undefined;
  const { space, isStore, bytes } = access;
  if (name === 'LDGSTS') return [bytes, 0, 0, bytes, 0];
  if (space === 'global') return isStore ? [0, bytes, 0, 0, 0] : [bytes, 0, 0, 0, 0];
  if (space === 'shared') return isStore ? [0, 0, 0, bytes, 0] : [0, 0, bytes, 0, 0];
  return undefined;
}

/** The possible counts of a block, which depend on the predicates of its guarded instructions. */
function effectsOf({ instructions }: Block): Counts[] {
  let effects = new Map([[nothing.join(), nothing]]);
  for (const instruction of instructions) {
    const effect = effectOf(instruction);
    if (effect === undefined) continue;
    const before = [...effects.values()];
    const after = before.map((counts) => add(counts, effect));
    const all = instruction.isGuarded ? [...before, ...after] : after;
    effects = new Map(all.map((counts) => [counts.join(), counts]));
  }
  return [...effects.values()];
}

/**
 * For each block, the largest counts that can still be added after it before the next barrier or the
 * end; infinite where a loop can run again.
 */
function maxCountsAfter(
  blocks: readonly Block[],
  effects: readonly (readonly Counts[])[],
): Counts[] {
  const own = effects.map((all) =>
    nothing.map((_, i) => Math.max(...all.map((one) => one[i] ?? 0))),
  );
  let max: Counts[] = blocks.map(() => nothing);
  const ofNext = (to: number, i: number) =>
    (own[to]?.[i] ?? 0) + (blocks[to]?.barrier === 'always' ? 0 : (max[to]?.[i] ?? 0));
  // A count that still grows after as many rounds as there are blocks grows without bound.
  for (let round = 0; round <= 2 * blocks.length; round += 1) {
    const grown = blocks.map(({ next }, block) =>
      nothing.map((_, i) => {
        const value = Math.max(0, ...next.map((to) => ofNext(to, i)));
        return round > blocks.length && value > (max[block]?.[i] ?? 0) ? Infinity : value;
      }),
    );
    if (grown.every((counts, block) => counts.join() === max[block]?.join())) break;
    max = grown;
  }
  return max;
}

/** A path from a block to the next barrier, or to the end. */
interface Way {
  readonly blocks: readonly number[];
  readonly length: number;
  /** The block after the barrier; undefined at the end. */
  readonly next: number | undefined;
}

interface State {
  readonly block: number;
  /** The counts so far, including those of the block. */
  readonly done: Counts;
  /** Instructions up to the end of the block. */
  readonly length: number;
  readonly before: State | undefined;
}

function blocksTo(end: State): number[] {
  const path: number[] = [];
  for (let state: State | undefined = end; state !== undefined; state = state.before) {
    path.push(state.block);
  }
  return path.toReversed();
}

// The limit of states that a search between two barriers visits: so many take seconds.
const maxStates = 300_000;

/** Finds paths between barriers, and caches them. */
class Finder {
  readonly #blocks: readonly Block[];
  readonly #effects: readonly (readonly Counts[])[];
  readonly #maxAfter: readonly Counts[];
  readonly #found = new Map<string, Way[]>();

  constructor(blocks: readonly Block[]) {
    this.#blocks = blocks;
    this.#effects = blocks.map(effectsOf);
    this.#maxAfter = maxCountsAfter(blocks, this.#effects);
  }

  /** The shortest paths from a block with the counts of the goal: one to each block after a barrier. */
  ways(from: number, goal: Counts, isLast: boolean): Way[] {
    const key = [from, isLast, ...goal].join();
    const ways = this.#found.get(key) ?? this.#search(from, goal, isLast);
    this.#found.set(key, ways);
    return ways;
  }

  #search(from: number, goal: Counts, isLast: boolean): Way[] {
    const ways = new Map<number | undefined, Way>();
    // States by their length: shorter ones are visited first.
    const open: State[][] = [];
    const enter = (block: number, before: State | undefined) => {
      const length = (before?.length ?? 0) + (this.#blocks[block]?.instructions.length ?? 0);
      for (const effect of this.#effects[block] ?? []) {
        const done = add(before?.done ?? nothing, effect);
        const isPossible = done.every((count, i) => {
          const whole = goal[i] as number;
          return count <= whole && count + (this.#maxAfter[block]?.[i] ?? 0) >= whole;
        });
        if (isPossible) (open[length] ??= []).push({ block, done, length, before });
      }
    };
    const leave = (state: State, next: number | undefined) => {
      if (ways.has(next) || !state.done.every((count, i) => count === goal[i])) return;
      ways.set(next, { blocks: blocksTo(state), length: state.length, next });
    };
    enter(from, undefined);
    const seen = new Set<string>();
    for (let length = 0; length < open.length; length += 1) {
      for (const state of open[length] ?? []) {
        const key = [state.block, ...state.done].join();
        if (seen.has(key)) continue;
        if (seen.size >= maxStates) return [];
        seen.add(key);
        const { next, isEnd, barrier } = this.#blocks[state.block] as Block;
        if (isLast && isEnd) leave(state, undefined);
        for (const to of next) {
          if (!isLast && barrier !== 'never') leave(state, to);
          if (barrier !== 'always') enter(to, state);
        }
      }
      if (ways.has(undefined)) break;
      open[length] = []; // releases memory in a large search
    }
    return [...ways.values()];
  }
}

/**
 * The instructions of a warp that did the work of `spans`, in order. Undefined if no path through the
 * code has exactly these counts, or if the search visits too many states.
 */
export function pathOf(
  blocks: readonly Block[],
  spans: readonly WarpWork[],
): Instruction[] | undefined {
  const finder = new Finder(blocks);
  // The shortest paths so far, by the block at which they end.
  let ends: Way[] = [{ blocks: [], length: 0, next: 0 }];
  for (const [i, span] of spans.entries()) {
    const goal = counters.map((counter) => span[counter]);
    const longer = ends.flatMap((end) =>
      finder.ways(end.next as number, goal, i === spans.length - 1).map((way) => ({
        blocks: [...end.blocks, ...way.blocks],
        length: end.length + way.length,
        next: way.next,
      })),
    );
    longer.sort((a, b) => b.length - a.length);
    ends = [...new Map(longer.map((way) => [way.next, way])).values()];
  }
  return ends[0]?.blocks.flatMap((block) => blocks[block]?.instructions ?? []);
}
