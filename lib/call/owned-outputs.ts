// Outputs that a plan owns, in a ring: each call writes the next output of the ring.

import { setImmediate } from 'node:timers'; // the global setImmediate may have been replaced by tests

import { makeArray, type DeviceDType, type DType } from '../core/dtype';
import { codedError } from '../core/errors';
import { allocateShared } from '../core/outputs';
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
 * Allocates an output. On the CPU it is an array of zeros in shared memory, which asynchronous calls use in
 * place. On the GPU with the ordinal `device` it is uninitialised. If `weight` is a `Float16Array`, a float16
 * output has the same class. `name`: the option that the output stands for, in error messages.
 */
export function allocateOwned(
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
  const argument = allocateShared(dtype, length);
  const { kind, wrap } = tensorOf(weight ?? argument);
  if (dtype !== 'float16' || kind !== 'Float16Array') return { argument, result: argument };
  const result = wrap === null ? makeArray(kind, argument.buffer) : wrap(argument);
  return { argument, result };
}

/**
 * An output in GPU memory. The caller gets a view of it. After the caller disposes of that view, the
 * next result is a new view.
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

/** One output of a ring, and the asynchronous calls that write it. */
class RingSlot<T> {
  readonly output: T;
  next: RingSlot<T>;
  /** The number of asynchronous calls that use the output or wait for it. */
  inFlight = 0;
  /** Fulfilled when the last call in flight releases the output; undefined if none is in flight. */
  #released: Promise<void> | undefined;

  /** `next`: the slot after this slot; undefined if this is the only slot. */
  constructor(output: T, next: RingSlot<T> | undefined) {
    this.output = output;
    this.next = next ?? this;
  }

  /**
   * Runs `work`, which writes the output on another thread. It runs after all earlier work on the output,
   * and receives whether it had to wait.
   *
   * Later work starts at least one turn of the event loop after this work. So the code that awaits this
   * call can use the output before it is overwritten.
   */
  async use(work: (hasWaited: boolean) => Promise<void>): Promise<void> {
    const before = this.#released;
    let release!: () => void;
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.#released = released;
    ++this.inFlight;
    try {
      if (before !== undefined) await before;
      await work(before !== undefined);
    } finally {
      --this.inFlight;
      setImmediate(() => {
        if (this.#released === released) this.#released = undefined;
        release();
      });
    }
  }
}

/** A ring of `size` outputs. Each is allocated when its turn first comes. */
export class OutputRing<T> {
  readonly #size: number;
  readonly #allocate: () => T;
  #allocated = 0;
  #last: RingSlot<T> | undefined;

  constructor(size: number, allocate: () => T) {
    this.#size = size;
    this.#allocate = allocate;
  }

  /** Advances to the next slot and returns it. */
  advance(): RingSlot<T> {
    if (this.#allocated === this.#size) return (this.#last = (this.#last as RingSlot<T>).next);
    const slot = new RingSlot(this.#allocate(), this.#last?.next);
    if (this.#last !== undefined) this.#last.next = slot;
    ++this.#allocated;
    return (this.#last = slot);
  }

  /** Advances to the next output, for a synchronous call. Throws if an asynchronous call still uses it. */
  nextIdle(): T {
    const isFull = this.#allocated === this.#size;
    if (isFull && (this.#last as RingSlot<T>).next.inFlight > 0) throw inFlightError();
    return this.advance().output;
  }
}

function inFlightError(): Error {
  const message =
    "The next output is still in use by a call of 'runAsync' that has not settled. Await that call, " +
    "or create the plan with more 'outputs'";
  return codedError('ERR_INVALID_STATE', message);
}
