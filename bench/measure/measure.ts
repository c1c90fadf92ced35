import { setImmediate } from 'node:timers/promises';

import { summarize, type Summary } from './statistics';

/** Something to time: does its work `repeats` times and returns the nanoseconds that it took. */
export interface Subject {
  readonly name: string;
  run(repeats: number): number | Promise<number>;
}

/** How much is measured, and how long it takes in total. */
export interface Schedule {
  readonly rounds: number;
  /** Total milliseconds. Each visit has at least one run, which may exceed them. */
  readonly ms: number;
  /** Visits of a subject in a round. Their median is the round's time. Default 1. */
  readonly visits?: number;
}

/** Nanoseconds that `repeats` calls take. */
export function timed(repeats: number, call: () => void): number {
  const start = process.hrtime.bigint();
  for (let i = 0; i < repeats; ++i) call();
  return Number(process.hrtime.bigint() - start);
}

/** Nanoseconds until `repeats` calls have returned their promises. Each settles before the next call. */
export async function timedStarts(repeats: number, call: () => Promise<void>): Promise<number> {
  let elapsed = 0n;
  for (let i = 0; i < repeats; ++i) {
    const start = process.hrtime.bigint();
    const promise = call();
    elapsed += process.hrtime.bigint() - start;
    await promise;
  }
  return Number(elapsed);
}

/** Combines runs, such as one for each set of buffers: each repeat uses the next of them. */
export function inTurn(runs: readonly Subject['run'][]): Subject['run'] {
  const [only] = runs;
  if (only === undefined) throw new Error('there is nothing to run');
  if (runs.length === 1) return only;
  let next = 0;
  return async (repeats) => {
    let elapsed = 0;
    for (; repeats > 0; --repeats) elapsed += await (runs[next++ % runs.length] as typeof only)(1);
    return elapsed;
  };
}

/**
 * Times subjects against each other. Every round visits each one `visits` times in random order, so
 * that a slowdown of the machine affects all. Returns summaries of nanoseconds a run, in the order
 * of the subjects. Calls `onRound` after each round.
 */
export async function measure(
  subjects: readonly Subject[],
  { rounds, ms, visits = 1 }: Schedule,
  onRound: () => void = () => undefined,
): Promise<Summary[]> {
  const visitMs = ms / rounds / visits / subjects.length;
  const repeats: number[] = [];
  for (const one of subjects) repeats.push(await calibrate(one, visitMs));
  const samples = subjects.map((): number[] => []);
  for (let round = 0; round < rounds; ++round) {
    const times = subjects.map((): number[] => []);
    for (let visit = 0; visit < visits; ++visit) {
      for (const i of shuffled(subjects.length)) {
        // Lets pending events run between the visits, such as an interrupt.
        await setImmediate();
        const count = repeats[i] as number;
        times[i]?.push((await (subjects[i] as Subject).run(count)) / count);
      }
    }
    times.forEach((each, i) => samples[i]?.push(summarize(each).median));
    onRound();
  }
  return samples.map(summarize);
}

/** The repeats of a subject that is too fast for the clock to calibrate. */
const maxRepeats = 2 ** 24;

/** Repeats that take about `visitMs`, found while warming up. */
async function calibrate(subject: Subject, visitMs: number): Promise<number> {
  for (let repeats = 1; repeats < maxRepeats; repeats *= 4) {
    await setImmediate();
    const ms = (await subject.run(repeats)) / 1e6;
    if (ms > visitMs / 8) return Math.max(1, Math.round((repeats * visitMs) / ms));
  }
  return maxRepeats;
}

/** The indices below `length`, in random order. */
function shuffled(length: number): number[] {
  const keys = Array.from({ length }, () => Math.random());
  return [...keys.keys()].sort((i, j) => (keys[i] as number) - (keys[j] as number));
}
