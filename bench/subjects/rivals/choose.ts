import type { Participant } from '../../run/time-on-cpu';
import { MissingRival, type Rival } from './rival';

/** What `--rivals` asks for: `'installed'`: those that can be loaded. */
export type RivalChoice = 'installed' | 'all' | 'none' | readonly string[];

/**
 * Loads the rivals that are asked for, one after the other, into `participants`. Throws MissingRival
 * for one that must be there.
 */
export async function loadRivals(
  choice: RivalChoice,
  rivals: readonly Rival[],
  participants: Participant[],
): Promise<void> {
  if (choice === 'none') return;
  const wanted =
    typeof choice === 'string' ? rivals : rivals.filter(({ name }) => choice.includes(name));
  for (const rival of wanted) {
    try {
      participants.push({ rival, loaded: await rival.load() });
    } catch (error) {
      if (choice !== 'installed' || !(error instanceof MissingRival)) throw error;
      // Nobody may expect what is not installed; of what is, it is told why it does not take part.
      if (error.isOutdated) process.stderr.write(`${error.message}\n`);
    }
  }
}

export async function closeRivals(participants: readonly Participant[]): Promise<void> {
  for (const { loaded } of participants) await loaded.close();
}
