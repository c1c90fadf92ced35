// Limits the memory of the asynchronous calls in flight: copies of operands, and outputs that the calls
// allocate. Each JavaScript thread has its own limit.

/**
 * The limit in bytes. A call that would exceed it waits before it copies anything. If no other call is in
 * flight, a call may take more. csrc/cpu/warm_memory.h keeps up to as many bytes allocated for these calls.
 */
export const maxBytesInFlight = 128 * 2 ** 20;

/**
 * A waiting call. Waiting calls form a linked list, since adding to an array could run a setter that the
 * program has added to Array.prototype or Object.prototype.
 */
interface Waiting {
  readonly bytes: number;
  /** Fulfils the promise that the call waits for. */
  readonly start: () => void;
  next: Waiting | undefined;
}

/** The bytes of the calls in flight. */
let usedBytes = 0;
let first: Waiting | undefined;
let last: Waiting | undefined;

function isWithinLimit(bytes: number): boolean {
  return usedBytes === 0 || usedBytes + bytes <= maxBytesInFlight;
}

/**
 * Acquires memory for a call. Returns undefined if the call can start at once, else a promise for its
 * turn. Calls start in the order in which they ask.
 */
export function acquireBytes(bytes: number): Promise<void> | undefined {
  if (bytes === 0 || (first === undefined && isWithinLimit(bytes))) {
    usedBytes += bytes;
    return undefined;
  }
  return new Promise((start) => {
    const waiting: Waiting = { bytes, start, next: undefined };
    if (last === undefined) first = waiting;
    else last.next = waiting;
    last = waiting;
  });
}

/** Releases the memory of a call that has settled, and starts the waiting calls that now fit. */
export function releaseBytes(bytes: number): void {
  usedBytes -= bytes;
  while (first !== undefined && isWithinLimit(first.bytes)) {
    usedBytes += first.bytes;
    first.start();
    first = first.next;
  }
  if (first === undefined) last = undefined;
}
