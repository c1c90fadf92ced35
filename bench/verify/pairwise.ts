// Pairwise testing: few combinations of parameters that together contain any two choices of any two
// parameters (a covering array of strength 2).

import { randomNumbers } from '../cases/random';

/** Names of parameters, each with its choices. */
export type Choices<T> = { readonly [K in keyof T]: readonly T[K][] };

/**
 * Possible combinations that contain every pair of choices that is possible. Greedy: it makes
 * candidates around a missing pair, and takes the one that contains the most missing pairs. The
 * result is the same every time.
 */
export function pairwise<T extends object>(
  choices: Choices<T>,
  isPossible: (combination: T) => boolean,
): T[] {
  const names = Object.keys(choices) as (keyof T & string)[];
  const pairsOf = (combination: T) =>
    names.flatMap((a, i) =>
      names.slice(i + 1).map((b) => pairName(a, combination[a], b, combination[b])),
    );
  const random = randomNumbers();
  const pick = <V>(values: readonly V[]): V => values[random(values.length)] as V;
  const combine = () => Object.fromEntries(names.map((name) => [name, pick(choices[name])])) as T;

  const missing = new Map<string, Partial<T>>();
  for (const [i, a] of names.entries()) {
    for (const b of names.slice(i + 1)) {
      for (const left of choices[a]) {
        for (const right of choices[b]) {
          const pair = { [a]: left, [b]: right } as Partial<T>;
          missing.set(pairName(a, left, b, right), pair);
        }
      }
    }
  }
  const result: T[] = [];
  for (const [key, pair] of missing) {
    if (!missing.has(key)) continue;
    let best: T | null = null;
    let bestGain = 0;
    for (let attempt = 0; attempt < 200; ++attempt) {
      const candidate = { ...combine(), ...pair };
      if (!isPossible(candidate)) continue;
      const gain = pairsOf(candidate).filter((name) => missing.has(name)).length;
      if (gain > bestGain) [best, bestGain] = [candidate, gain];
    }
    missing.delete(key);
    if (best === null) continue; // the two choices exclude each other
    result.push(best);
    for (const name of pairsOf(best)) missing.delete(name);
  }
  return result;
}

function pairName(a: string, left: unknown, b: string, right: unknown): string {
  return `${a}=${String(left)} ${b}=${String(right)}`;
}
