import { getNumThreads } from 'fused-rmsnorm';

import { makeArrays, type Arrays } from '../cases/arrays';
import { minimumBytes, type Case } from '../cases/cases';
import { movers } from '../subjects/limits';
import { lastCacheBytes } from '../environment/machine';
import { measure, type Contender, type Schedule } from '../measure/measure';
import { ourContenders } from '../subjects/ours';
import type { CaseResult, Entry } from '../report/result';
import type { LoadedRival, OutputMode, PreparedRival, Rival } from '../subjects/rivals/rival';
import { Verifier } from '../cases/verify';

/** A rival that takes part. */
export interface Participant {
  readonly rival: Rival;
  readonly loaded: LoadedRival;
}

/** A contender, and what is said of it beside its time. */
interface Entrant {
  readonly contender: Contender;
  readonly entry: Omit<Entry, 'time'>;
}

/**
 * Times a case on the CPU: ours, what limits it, and the rivals, against each other. Throws
 * WrongAnswer, before any time is taken, if one does not compute what it should, and again at the
 * end.
 */
export async function contest(
  one: Case,
  participants: readonly Participant[],
  schedule: Schedule,
  onRound: () => void,
): Promise<CaseResult> {
  const sets = Array.from({ length: setCount(one) }, () => makeArrays(one));
  const [first] = sets as [Arrays, ...Arrays[]];
  const verifier = new Verifier(one, first);
  const ours = ourContenders(one, sets);
  const prepared: PreparedEntrant[] = [];
  try {
    for (const { rival, loaded } of participants) {
      if (!rival.supports(one)) continue;
      for (const outputs of rival.outputs) {
        prepared.push(await prepareRival(one, rival, loaded, outputs, sets));
      }
    }
    const check = async () => {
      for (const contender of ours) {
        poison(sets);
        await contender.run(sets.length);
        verifier.check(contender.name, contender.answer());
      }
      for (const { contender, rival, results } of prepared) {
        poison(sets);
        await contender.run(sets.length);
        verifier.check(contender.name, await results(), rival.computes);
      }
    };
    await check();

    const entrants: Entrant[] = [
      ...ours.map((contender) => ({ contender, entry: ourEntry(contender.name) })),
      ...movers(one, sets, getNumThreads()).map((contender) => ({
        contender,
        entry: {
          name: contender.name,
          role: 'limit' as const,
          computes: 'movement' as const,
          outputs: 'given' as const,
        },
      })),
      ...prepared,
    ];
    const times = await measure(
      entrants.map(({ contender }) => contender),
      schedule,
      onRound,
    );
    await check();
    return {
      ...one,
      device: 'cpu',
      sets: sets.length,
      minimumBytes: minimumBytes(one),
      entries: entrants.map(({ entry }, i) => ({ ...entry, time: times[i] as Entry['time'] })),
    };
  } finally {
    for (const { dispose } of prepared) await dispose();
  }
}

/** So that what is not written is seen: all bits set are a NaN of every dtype. */
function poison(sets: readonly Arrays[]): void {
  for (const { out, dweight, sum } of sets) {
    for (const { buffer } of [out, dweight, sum]) new Uint8Array(buffer).fill(0xff);
  }
}

/**
 * How many sets of buffers a case goes round. What fits the caches stays there, as between the
 * layers of a model; what does not is meant to come from memory every time: together the sets are at
 * least four times the last cache.
 */
export function setCount(one: Case, cacheBytes = lastCacheBytes()): number {
  const bytes = minimumBytes(one);
  return bytes <= cacheBytes ? 1 : Math.ceil((4 * cacheBytes) / bytes);
}

function ourEntry(name: string): Entrant['entry'] {
  const outputs = name === 'ours fresh' ? 'fresh' : 'given';
  return { name, role: 'ours', computes: 'rms-norm', outputs };
}

interface PreparedEntrant extends Entrant {
  readonly rival: Rival;
  readonly results: () => ReturnType<PreparedRival['results']>;
  readonly dispose: () => Promise<void>;
}

/** A rival on each set of arrays: the sets have the same values, so that any one's results do. */
async function prepareRival(
  one: Case,
  rival: Rival,
  loaded: LoadedRival,
  outputs: OutputMode,
  sets: readonly Arrays[],
): Promise<PreparedEntrant> {
  const prepared: PreparedRival[] = [];
  for (const arrays of sets) prepared.push(await loaded.prepare(one, arrays, outputs));
  const [first] = prepared as [PreparedRival, ...PreparedRival[]];
  const isFresh = outputs === 'fresh' && rival.outputs.length > 1;
  const name = isFresh ? `${rival.name} fresh` : rival.name;
  let next = 0;
  const inTurn = async (repeats: number) => {
    let elapsed = 0;
    for (let i = 0; i < repeats; ++i) {
      elapsed += await (prepared[next++ % prepared.length] as PreparedRival).run(1);
    }
    return elapsed;
  };
  return {
    contender: { name, run: prepared.length === 1 ? (repeats) => first.run(repeats) : inTurn },
    entry: { name, role: 'rival', computes: rival.computes, outputs },
    rival,
    results: () => first.results(),
    dispose: async () => {
      for (const each of prepared) await each.dispose();
    },
  };
}
