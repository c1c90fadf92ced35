import { createRequire } from 'node:module';

import { type Arrays } from './cases';

/** How bytes are stored: `memcpy`'s own choice, plain vector stores, or around the caches. */
const kinds = ['library', 'vector', 'streaming'] as const;

interface Bandwidth {
  /** Moves a (+ b) to destination, `repeats` times; returns nanoseconds. See native/bandwidth.cc. */
  move(
    kind: (typeof kinds)[number],
    threads: number,
    repeats: number,
    destination: Float32Array | Uint16Array,
    a: Float32Array | Uint16Array,
    b: Float32Array | Uint16Array | null,
  ): number;
}

/** A way to move a case's bytes: the fastest is its limit. */
export interface Mover {
  readonly name: string;
  readonly run: (repeats: number) => number;
}

/** Every kind of store, on one thread and on all. */
export function movers({ x, dy, out }: Arrays, threads: number): Mover[] {
  const bandwidth = load();
  const counts = threads === 1 ? [1] : [1, threads];
  return counts.flatMap((count) =>
    kinds.map((kind) => ({
      name: `${dy === null ? 'copy' : 'add'} ${kind} ${count}T`,
      run: (repeats) => bandwidth.move(kind, count, repeats, out, x, dy),
    })),
  );
}

function load(): Bandwidth {
  return createRequire(__filename)('../build/Release/rmsnorm_bench.node') as Bandwidth;
}
