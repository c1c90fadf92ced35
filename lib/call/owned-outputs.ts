// Outputs that a plan owns, and uses in turn.

import { setImmediate } from 'node:timers'; // not the global one, which tests may have replaced

import { makeArray, type DeviceDType, type DType } from '../core/dtype';
import { codedError } from '../core/errors';
import { sharedArray } from '../core/outputs';
import { DeviceBuffer } from '../gpu/device-buffer';
import { cpuOrdinal } from '../gpu/devices';
import { isDisposed } from '../gpu/object';
import { readArgument, tensorOf, type Argument } from './tensor';

/** An output, and what the caller gets for it. */
export interface OwnedOutput {
  readonly argument: Argument;
  readonly result: unknown;
}

/**
 * A new output of zeros in memory that asynchronous calls use in place, or one of a GPU, whose content
 * is not set. It is a `Float16Array` if `weight` is, of the same class.
 */
export function makeOwned(
  name: string,
  dtype: DType,
  length: number,
  device: number,
  weight: Argument | undefined,
): OwnedOutput {
  if (device !== cpuOrdinal) {
    const buffer = new DeviceBuffer(length, dtype as DeviceDType, { device: `cuda:${device}` });
    return new OwnedBuffer(name, buffer);
  }
  const argument = sharedArray(dtype, length);
  const { kind, wrap } = tensorOf(weight ?? argument);
  if (dtype !== 'float16' || kind !== 'Float16Array') return { argument, result: argument };
  const result = wrap === null ? makeArray(kind, argument.buffer) : wrap(argument);
  return { argument, result };
}

/** Memory of a GPU. The caller gets a view of it, which may be disposed of: there is another then. */
class OwnedBuffer implements OwnedOutput {
  readonly argument: Argument;
  readonly #buffer: DeviceBuffer;
  #view: DeviceBuffer;

  constructor(name: string, buffer: DeviceBuffer) {
    this.argument = readArgument(name, buffer);
    this.#buffer = buffer;
    this.#view = buffer.subarray(0);
  }

  get result(): DeviceBuffer {
    if (isDisposed(this.#view)) this.#view = this.#buffer.subarray(0);
    return this.#view;
  }
}

/** One of those that take turns, in a ring. */
class Turn<T> {
  readonly output: T;
  next: Turn<T>;
  inFlight = 0;
  #free: Promise<void> | undefined;

  /** `next`: the one after it, if it is not alone. */
  constructor(output: T, next: Turn<T> | undefined) {
    this.output = output;
    this.next = next ?? this;
  }

  /**
   * Runs what writes the output on another thread, once those are done that had it before. What is run
   * next begins a turn of the event loop later: whoever awaits this one can use its result.
   */
  async lend(work: (isLate: boolean) => Promise<void>): Promise<void> {
    const before = this.#free;
    let release!: () => void;
    const free = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.#free = free;
    ++this.inFlight;
    try {
      if (before !== undefined) await before;
      await work(before !== undefined);
    } finally {
      --this.inFlight;
      setImmediate(() => {
        if (this.#free === free) this.#free = undefined;
        release();
      });
    }
  }
}

/** Up to `most` outputs that take turns. Each is made when its turn first comes. */
export class Turns<T> {
  readonly #most: number;
  readonly #make: () => T;
  #made = 0;
  #last: Turn<T> | undefined;

  constructor(most: number, make: () => T) {
    this.#most = most;
    this.#make = make;
  }

  /** The one whose turn it is. */
  take(): Turn<T> {
    if (this.#made === this.#most) return (this.#last = (this.#last as Turn<T>).next);
    const turn = new Turn(this.#make(), this.#last?.next);
    if (this.#last !== undefined) this.#last.next = turn;
    ++this.#made;
    return (this.#last = turn);
  }

  /** The same, to be written at once. */
  takeNow(): T {
    const isFull = this.#made === this.#most;
    if (isFull && (this.#last as Turn<T>).next.inFlight > 0) throw inFlightError();
    return this.take().output;
  }
}

function inFlightError(): Error {
  const message =
    "The output whose turn it is belongs to a call of 'runAsync' that has not settled. Await it, " +
    "or make the plan with more 'outputs'";
  return codedError('ERR_INVALID_STATE', message);
}
