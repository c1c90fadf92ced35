import type { Arrays, Elements } from '../cases/arrays';
import type { Case } from '../cases/cases';
import type { Contender } from '../measure/measure';
import { loadNative, storeKinds } from './native';

/** What `Native.move` is to move: destination, a, b, destinationOfB. */
type Move = readonly [Elements, Elements, Elements | null, Elements | null];

/**
 * The ways to move what a case reads and writes at least, of which the fastest is its limit: every
 * kind of store, on one thread and on all. Forward: a copy, backward: a sum of two arrays into a
 * third, residual: two copies; on sets of arrays that are taken in turn.
 */
export function movers({ op }: Case, sets: readonly Arrays[], threads: number): Contender[] {
  const native = loadNative();
  const moves = sets.map(({ out, x, dy, residual, sum }): Move => {
    if (op === 'forward') return [out, x, null, null];
    return op === 'backward' ? [out, x, dy, null] : [out, x, residual, sum];
  });
  const what = { forward: 'copy', backward: 'add', residual: 'two copies' }[op];
  const counts = threads === 1 ? [1] : [1, threads];
  return counts.flatMap((count) =>
    storeKinds.map((kind) => {
      const [first] = moves;
      let next = 0;
      return {
        name: `${what} ${kind} ${count}T`,
        run: (repeats) => {
          if (first !== undefined && moves.length === 1) {
            return native.move(kind, count, repeats, ...first);
          }
          let elapsed = 0;
          for (let i = 0; i < repeats; ++i) {
            const move = moves[next++ % moves.length] as Move;
            elapsed += native.move(kind, count, 1, ...move);
          }
          return elapsed;
        },
      };
    }),
  );
}
