import type { Arrays, Elements } from '../cases/arrays';
import type { Case } from '../cases/cases';
import { inTurn } from '../measure/measure';
import { loadNative, storeKinds } from './native';
import type { CaseSubject } from './subject';

/** What `Native.move` is to move: destination, a, b, destinationOfB. */
type Move = readonly [Elements, Elements, Elements | null, Elements | null];

/**
 * The ways to move what a case reads and writes at least, of which the fastest is its limit: every
 * kind of store, on one thread and on all. Forward: a copy, backward: a sum of two arrays into a
 * third, residual: two copies; on sets of arrays that are taken in turn.
 */
export function movers({ op }: Case, sets: readonly Arrays[], threads: number): CaseSubject[] {
  const native = loadNative();
  const moves = sets.map(({ out, x, dy, residual, sum }): Move => {
    if (op === 'forward') return [out, x, null, null];
    return op === 'backward' ? [out, x, dy, null] : [out, x, residual, sum];
  });
  const what = { forward: 'copy', backward: 'add', residual: 'two copies' }[op];
  const counts = threads === 1 ? [1] : [1, threads];
  return counts.flatMap((count) =>
    storeKinds.map((kind) => ({
      ...{
        name: `${what} ${kind} ${count}T`,
        role: 'limit',
        computes: 'movement',
        outputs: 'given',
      },
      run: inTurn(moves.map((move) => (repeats) => native.move(kind, count, repeats, ...move))),
      results: () => ({}),
    })),
  );
}
