// Room for calls on other threads: for the copies of their operands, and for outputs that they make.

/**
 * Bytes that the calls in flight of a thread of JavaScript take together at most. A call beyond that
 * waits before it copies anything; one alone may take more. csrc/cpu/warm_memory.h keeps as much.
 */
export const mostBytesInFlight = 128 * 2 ** 20;

/** Calls that wait are linked through themselves: to add to an array can run setters of a program's. */
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

/** Takes room: at once, or, in turn, when the promise is fulfilled. */
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

/** Gives room back, to those that have waited longest. */
export function giveRoom(bytes: number): void {
  taken -= bytes;
  while (first !== undefined && hasRoom(first.bytes)) {
    taken += first.bytes;
    first.enter();
    first = first.next;
  }
  if (first === undefined) last = undefined;
}
