// Limits the memory of calls on other threads: copies of their operands, and outputs that they
// allocate.

/**
 * The most bytes that the calls in flight of one JavaScript thread take together. A call beyond that
 * waits before it copies anything; a single call may take more. csrc/cpu/warm_memory.h caches as much.
 */
export const mostBytesInFlight = 128 * 2 ** 20;

/**
 * A waiting call. Waiting calls form a linked list, since adding to an array can run setters of a
 * program.
 */
interface Waiting {
  readonly bytes: number;
  readonly enter: () => void;
  next: Waiting | undefined;
}

let taken = 0;
let first: Waiting | undefined;
let last: Waiting | undefined;

function hasRoom(bytes: number): boolean {
  return taken === 0 || taken + bytes <= mostBytesInFlight;
}

/** Takes room: at once, or in order of arrival when the returned promise is fulfilled. */
export function takeRoom(bytes: number): Promise<void> | undefined {
  if (bytes === 0 || (first === undefined && hasRoom(bytes))) {
    taken += bytes;
    return undefined;
  }
  return new Promise((enter) => {
    const waiting: Waiting = { bytes, enter, next: undefined };
    if (last === undefined) first = waiting;
    else last.next = waiting;
    last = waiting;
  });
}

/** Gives room back, to the calls that have waited longest. */
export function giveRoom(bytes: number): void {
  taken -= bytes;
  while (first !== undefined && hasRoom(first.bytes)) {
    taken += first.bytes;
    first.enter();
    first = first.next;
  }
  if (first === undefined) last = undefined;
}
