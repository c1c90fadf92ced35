/** Something to be timed: does its work `repeats` times and returns how many nanoseconds it took. */
export interface Contender {
  readonly name: string;
  readonly run: (repeats: number) => number;
}

/** Nanoseconds of one piece of work. */
export interface Timing {
  readonly median: number;
  /** The fastest and the slowest round's. */
  readonly min: number;
  readonly max: number;
}

/** A contender that calls a function from JavaScript. */
export function contender(name: string, call: () => void): Contender {
  return {
    name,
    run: (repeats) => {
      const start = process.hrtime.bigint();
      for (let i = 0; i < repeats; ++i) call();
      return Number(process.hrtime.bigint() - start);
    },
  };
}

/**
 * Times contenders against each other: in every round each is visited once, in random order, for
 * about `visitMs`, so that a machine that gets slower gets slower for all.
 */
export function measure(
  contenders: readonly Contender[],
  { rounds, visitMs }: { rounds: number; visitMs: number },
): Map<string, Timing> {
  const repeats = contenders.map((one) => calibrate(one, visitMs));
  const samples = contenders.map((): number[] => []);
  for (let round = 0; round < rounds; ++round) {
    for (const i of shuffled(contenders.length)) {
      const count = repeats[i] as number;
      samples[i]?.push((contenders[i] as Contender).run(count) / count);
    }
  }
  return new Map(contenders.map(({ name }, i) => [name, summary(samples[i] as number[])]));
}

/** Repeats that take about `visitMs`, found while warming up. */
function calibrate({ run }: Contender, visitMs: number): number {
  for (let repeats = 1; ; repeats *= 4) {
    const ms = run(repeats) / 1e6;
    if (ms > visitMs / 8) return Math.max(1, Math.round((repeats * visitMs) / ms));
  }
}

export function summary(values: readonly number[]): Timing {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const low = sorted[Math.floor(middle)] as number;
  const high = sorted[Math.ceil(middle)] as number;
  return { median: (low + high) / 2, min: sorted[0] as number, max: sorted.at(-1) as number };
}

function shuffled(length: number): number[] {
  const order = Array.from({ length }, (_, i) => i);
  for (let i = length - 1; i > 0; --i) {
    const j = Math.floor(Math.random() * (i + 1));
    [order[i], order[j]] = [order[j] as number, order[i] as number];
  }
  return order;
}
