import type { Arrays, Elements } from '../cases/arrays';
import type { Case, Op } from '../cases/cases';
import { inTurn } from '../measure/measure';
import { loadNative, storeKinds } from './native';
import type { CaseSubject } from './subject';

/** The arrays that `Native.move` takes: destination, a, b, destinationOfB. */
type Move = readonly [Elements | Int8Array, Elements, Elements | null, Elements | null];

/** For each operation, a movement of as many bytes between the same arrays. */
const movements: Readonly<
  Record<Op, { readonly name: string; readonly move: (arrays: Arrays) => Move }>
> = {
  forward: { name: 'copy', move: ({ out, x }) => [out, x, null, null] },
  backward: { name: 'add', move: ({ out, x, dy }) => [out, x, dy, null] },
  residual: { name: 'two copies', move: ({ out, x, residual, sum }) => [out, x, residual, sum] },
  quantize: { name: 'narrow', move: ({ codes, x }) => [codes, x, null, null] },
  gated: { name: 'add', move: ({ out, x, gate }) => [out, x, gate, null] },
};

/**
 * Subjects that move the bytes that a case must read and write, with every kind of store, on one
 * thread and on all. The fastest is the limit of the case. Forward is a copy; backward and gated
 * sum two arrays into a third; residual is two copies; quantize sums neighbours, to write only as
 * many bytes as codes have. The sets of arrays are used in turn.
 */
export function movers({ op }: Case, sets: readonly Arrays[], threads: number): CaseSubject[] {
  const native = loadNative();
  const { name, move } = movements[op];
  const moves = sets.map(move);
  const counts = threads === 1 ? [1] : [1, threads];
  return counts.flatMap((count) =>
    storeKinds.map((kind) => ({
      ...{
        name: `${name} ${kind} ${count}T`,
        role: 'limit',
        computes: 'movement',
        outputs: 'given',
      },
      run: inTurn(moves.map((each) => (repeats) => native.move(kind, count, repeats, ...each))),
      results: () => ({}),
    })),
  );
}
