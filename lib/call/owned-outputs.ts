// Outputs that a plan owns and uses in rotation.

import { setImmediate } from 'node:timers'; // not the global one, which tests may have replaced

import { makeArray, type DeviceDType, type DType } from '../core/dtype';
import { codedError } from '../core/errors';
import { sharedArray } from '../core/outputs';
import { DeviceBuffer } from '../gpu/device-buffer';
import { cpuOrdinal } from '../gpu/devices';
import { isDisposed } from '../gpu/object';
import { readArgument, tensorOf, type Argument } from './tensor';

/** An output as an argument of a call, and the value that the caller gets for it. */
export interface OwnedOutput {
  readonly argument: Argument;
  readonly result: unknown;
}

/**
 * Makes an output. On the CPU it is zeros in shared memory, which asynchronous calls use in place. On a
 * GPU its content is uninitialised. A float16 output has the class of `weight`, if that is a
 * `Float16Array`.
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

/**
 * An output in GPU memory. The caller gets a view of it. After the caller disposes of that view, the
 * next result is a new one.
 */
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

/** An entry in the ring of outputs that take turns. */
class Turn<T> {
  readonly output: T;
  next: Turn<T>;
  inFlight = 0;
  #free: Promise<void> | undefined;

  /** `next`: the entry after this one; undefined if this is the only one. */
  constructor(output: T, next: Turn<T> | undefined) {
    this.output = output;
    this.next = next ?? this;
  }

  /**
   * Runs `work`, which writes the output on another thread, after earlier work on the output. Later
   * work starts at least one turn of the event loop after this work. Whoever awaits this call can use
   * its result before that.
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

  /** The entry whose turn it is. */
  take(): Turn<T> {
    if (this.#made === this.#most) return (this.#last = (this.#last as Turn<T>).next);
    const turn = new Turn(this.#make(), this.#last?.next);
    if (this.#last !== undefined) this.#last.next = turn;
    ++this.#made;
    return (this.#last = turn);
  }

  /** The output whose turn it is, to be written synchronously. Throws if a call still writes it. */
  takeNow(): T {
    const isFull = this.#made === this.#most;
    if (isFull && (this.#last as Turn<T>).next.inFlight > 0) throw inFlightError();
    return this.take().output;
  }
}

function inFlightError(): Error {
  const message =
    "The next output is still in use by a call of 'runAsync' that has not settled. Await that call, " +
    "or create the plan with more 'outputs'";
  return codedError('ERR_INVALID_STATE', message);
}
