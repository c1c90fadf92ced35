// Which way through a kernel's machine code a warp takes. The simulated GPU runs PTX, of which machine
// code is made; it says what a warp did between barriers: bytes that it moved, and shuffles
// (bench/gpu/trace.ts). Machine code does the same of these, in the same number, so the way is one that
// adds up to them, and the shortest of these: rescaled passes, options that are not used and rows that
// are not there move other bytes or none, and loops are taken as often as the bytes say.

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

/** What a block can do: it depends on the predicates that guard its instructions. */
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
 * For each block the most that can still be done behind it before the next barrier or the end: infinite
 * where a loop can be taken again.
 */
function mostAfter(blocks: readonly Block[], effects: readonly (readonly Counts[])[]): Counts[] {
  const own = effects.map((all) => nothing.map((_, i) => Math.max(...all.map((one) => one[i] ?? 0))));
  let most: Counts[] = blocks.map(() => nothing);
  // What still grows after as many rounds as there are blocks grows for ever.
  for (let round = 0; round <= 2 * blocks.length; round += 1) {
    const grown = blocks.map(({ next, isBarrier }, block) =>
      nothing.map((_, i) => {
        const ahead = next.map((to) => (own[to]?.[i] ?? 0) + (most[to]?.[i] ?? 0));
        const value = isBarrier ? 0 : Math.max(0, ...ahead);
        const isEndless = round > blocks.length && value > (most[block]?.[i] ?? 0);
        return isEndless ? Infinity : value;
      }),
    );
    if (grown.every((counts, block) => counts.join() === most[block]?.join())) break;
    most = grown;
  }
  return most;
}

interface State {
  readonly block: number;
  /** Which of the spans between barriers it is in. */
  readonly span: number;
  /** In this span, with the block's own. */
  readonly done: Counts;
  /** Instructions up to the end of the block. */
  readonly length: number;
  readonly before: State | undefined;
}

// So many states are looked at, which takes seconds.
const mostStates = 1_000_000;

/** States that were looked at. */
class Seen {
  readonly #sets = new Map<number, Set<number>>();
  readonly #goals: readonly Counts[];
  size = 0;

  constructor(goals: readonly Counts[]) {
    this.#goals = goals;
  }

  /** Whether it is new. */
  add({ block, span, done }: State): boolean {
    const place = block * this.#goals.length + span;
    const goal = this.#goals[span] as Counts;
    const code = done.reduce((sum, count, i) => sum * ((goal[i] as number) + 1) + count, 0);
    let codes = this.#sets.get(place);
    if (codes === undefined) this.#sets.set(place, (codes = new Set()));
    if (codes.has(code)) return false;
    codes.add(code);
    this.size += 1;
    return true;
  }
}

/**
 * The instructions of a warp that did `spans`, in their order. Undefined if no way through the code does
 * exactly that.
 */
export function pathOf(
  blocks: readonly Block[],
  spans: readonly WarpWork[],
): Instruction[] | undefined {
  const goals = spans.map((span) => counters.map((counter) => span[counter]));
  const effects = blocks.map(effectsOf);
  const most = mostAfter(blocks, effects);
  // States by their length: the shortest is looked at first.
  const open: State[][] = [];
  const enter = (block: number, span: number, before: State | undefined) => {
    const goal = goals[span];
    if (goal === undefined) return;
    const { instructions } = blocks[block] as Block;
    const length = (before?.length ?? 0) + instructions.length;
    const done = before?.span === span ? before.done : nothing;
    for (const effect of effects[block] as Counts[]) {
      const sum = add(done, effect);
      const isPossible = sum.every((count, i) => {
        const whole = goal[i] as number;
        return count <= whole && count + (most[block]?.[i] ?? 0) >= whole;
      });
      if (isPossible) (open[length] ??= []).push({ block, span, done: sum, length, before });
    }
  };
  const isWhole = ({ block, span, done }: State) =>
    blocks[block]?.isEnd === true &&
    span === goals.length - 1 &&
    done.every((count, i) => count === goals[span]?.[i]);

  enter(0, 0, undefined);
  const seen = new Seen(goals);
  for (let length = 0; length < open.length; length += 1) {
    for (const state of open[length] ?? []) {
      if (!seen.add(state)) continue;
      if (seen.size > mostStates) return undefined;
      if (isWhole(state)) return instructionsTo(blocks, state);
      const block = blocks[state.block] as Block;
      for (const next of block.next) enter(next, state.span + (block.isBarrier ? 1 : 0), state);
    }
    open[length] = []; // in a big search, memory
  }
  return undefined;
}

function instructionsTo(blocks: readonly Block[], end: State): Instruction[] {
  const path: number[] = [];
  for (let state: State | undefined = end; state !== undefined; state = state.before) {
    path.push(state.block);
  }
  return path.toReversed().flatMap((block) => blocks[block]?.instructions ?? []);
}
