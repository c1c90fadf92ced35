import { setImmediate } from 'node:timers/promises';

import { summarize, type Summary } from './statistics';

/** Something to be timed: does its work `repeats` times and returns how many nanoseconds it took. */
export interface Contender {
  readonly name: string;
  run(repeats: number): number | Promise<number>;
}

/** How much is measured: the visits that each contender gets, and how long all take together. */
export interface Schedule {
  readonly rounds: number;
  /** A visit has one run at least, and may make it more. */
  readonly ms: number;
}

/**
 * A contender that calls functions from JavaScript, one after the other and over again: one for each
 * set of buffers.
 */
export function caller(name: string, calls: readonly (() => void)[]): Contender {
  const [only] = calls;
  if (only === undefined) throw new Error(`${name} has nothing to call`);
  if (calls.length === 1) {
    return {
      name,
      run: (repeats) => {
        const start = process.hrtime.bigint();
        for (let i = 0; i < repeats; ++i) only();
        return Number(process.hrtime.bigint() - start);
      },
    };
  }
  let next = 0;
  return {
    name,
    run: (repeats) => {
      const start = process.hrtime.bigint();
      for (let i = 0; i < repeats; ++i) (calls[next++ % calls.length] as () => void)();
      return Number(process.hrtime.bigint() - start);
    },
  };
}

/**
 * Times contenders against each other: in every round each is visited once, in random order, so that
 * a machine that gets slower gets slower for all. The summaries, of nanoseconds a run, are in the
 * order of the contenders; `onRound` is told when a round is over.
 */
export async function measure(
  contenders: readonly Contender[],
  { rounds, ms }: Schedule,
  onRound: () => void = () => undefined,
): Promise<Summary[]> {
  const visitMs = ms / rounds / contenders.length;
  const repeats: number[] = [];
  for (const one of contenders) repeats.push(await calibrate(one, visitMs));
  const samples = contenders.map((): number[] => []);
  for (let round = 0; round < rounds; ++round) {
    for (const i of shuffled(contenders.length)) {
      // Lets what is due happen between the visits, such as an interrupt.
      await setImmediate();
      const count = repeats[i] as number;
      samples[i]?.push((await (contenders[i] as Contender).run(count)) / count);
    }
    onRound();
  }
  return samples.map(summarize);
}

/** What takes no time that its clock can tell is repeated so often. */
const mostRepeats = 2 ** 24;

/** Repeats that take about `visitMs`, found while warming up. */
async function calibrate(contender: Contender, visitMs: number): Promise<number> {
  for (let repeats = 1; repeats < mostRepeats; repeats *= 4) {
    await setImmediate();
    const ms = (await contender.run(repeats)) / 1e6;
    if (ms > visitMs / 8) return Math.max(1, Math.round((repeats * visitMs) / ms));
  }
  return mostRepeats;
}

function shuffled(length: number): number[] {
  const order = Array.from({ length }, (_, i) => i);
  for (let i = length - 1; i > 0; --i) {
    const j = Math.floor(Math.random() * (i + 1));
    [order[i], order[j]] = [order[j] as number, order[i] as number];
  }
  return order;
}
