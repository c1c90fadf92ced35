import type { Arrays } from '../../cases/arrays';
import type { Case } from '../../cases/cases';
import { inTurn } from '../../measure/measure';
import type { CaseSubject, OutputMode } from '../subject';
import { MissingRival, type LoadedRival, type PreparedRival, type Rival } from './rival';

/** The rivals that `--rivals` chooses; `'installed'`: all that can be loaded. */
export type RivalChoice = 'installed' | 'all' | 'none' | readonly string[];

/** A rival that is measured. */
export interface ChosenRival {
  readonly rival: Rival;
  readonly loaded: LoadedRival;
}

/**
 * Loads the chosen rivals one after another into `chosen`. Throws MissingRival if one cannot be
 * loaded, unless the choice is `'installed'`.
 */
export async function loadRivals(
  choice: RivalChoice,
  rivals: readonly Rival[],
  chosen: ChosenRival[],
): Promise<void> {
  if (choice === 'none') return;
  const wanted =
    typeof choice === 'string' ? rivals : rivals.filter(({ name }) => choice.includes(name));
  for (const rival of wanted) {
    try {
      chosen.push({ rival, loaded: await rival.load() });
    } catch (error) {
      if (choice !== 'installed' || !(error instanceof MissingRival)) throw error;
      // A rival that is not installed is skipped silently. An outdated one is reported.
      if (error.outdated !== undefined) process.stderr.write(`${error.message}\n`);
    }
  }
}

export async function closeRivals(chosen: readonly ChosenRival[]): Promise<void> {
  for (const { loaded } of chosen) await loaded.close?.();
}

/** A rival on each set of arrays. The sets have the same values, so any set's results can be checked. */
export async function rivalSubject(
  one: Case,
  { rival, loaded }: ChosenRival,
  outputs: OutputMode,
  sets: readonly Arrays[],
): Promise<CaseSubject> {
  const prepared: PreparedRival[] = [];
  for (const arrays of sets) prepared.push(await loaded.prepare(one, arrays, outputs));
  const isFresh = outputs === 'fresh' && rival.outputs.length > 1;
  return {
    name: isFresh ? `${rival.name} fresh` : rival.name,
    ...{ role: 'rival', computes: rival.computes, outputs },
    run: inTurn(prepared.map((each) => (repeats) => each.run(repeats))),
    results: () => (prepared[0] as PreparedRival).results(),
    dispose: async () => {
      for (const each of prepared) await each.dispose?.();
    },
  };
}
