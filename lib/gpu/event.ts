import type { NativeEvent } from '../../binding';
import { cuda, readOrdinal, type CudaDeviceOptions } from './cuda';
import { argumentError } from '../core/errors';
import { knownOptions, readFlag } from '../core/validate';
import { nativeStream, readStream, type Stream } from './stream';

/** Options of {@link CudaEvent}. */
export interface CudaEventOptions extends CudaDeviceOptions {
  /** Whether {@link CudaEvent.elapsed} can measure with it. Default true. */
  readonly timing?: boolean;
}

const optionNames: ReadonlySet<string> = new Set(['device', 'timing']);

/** The native event of one of ours. */
export let nativeEvent: (name: string, value: unknown) => NativeEvent;

/**
 * A point in the order of a {@link Stream}, to wait for or to measure time between. Named so since
 * `Event` is a global of Node.js's, of which a missing import would tell nobody.
 *
 * ```ts
 * const [begin, end] = [new CudaEvent(), new CudaEvent()];
 * begin.record(stream);
 * rmsNorm(x, weight, { out: y, stream });
 * end.record(stream);
 * await end.synchronizeAsync();
 * begin.elapsed(end); // milliseconds
 * ```
 */
export class CudaEvent {
  /** Such as `'cuda:0'`. */
  readonly device: `cuda:${number}`;
  readonly #native: NativeEvent;
  readonly #ordinal: number;

  static {
    nativeEvent = (name, value) => {
      if (typeof value === 'object' && value !== null && #native in value) return value.#native;
      throw argumentError('ERR_INVALID_ARG_TYPE', name, 'a CudaEvent', value);
    };
  }

  /**
   * @throws CudaError `ERR_CUDA_UNAVAILABLE` without a GPU; TypeError `ERR_INVALID_ARG_VALUE` for a
   * device that is not there
   */
  constructor(options: CudaEventOptions = {}) {
    const { device, timing } = knownOptions(options, optionNames);
    const isTimed = readFlag('timing', timing, true);
    this.#ordinal = readOrdinal(device);
    this.#native = cuda.createEvent(this.#ordinal, isTimed);
    this.device = `cuda:${this.#ordinal}`;
  }

  /**
   * Lets the event stand for this point: behind what is enqueued on the stream now.
   *
   * @param stream - of the event's device. Default: {@link Stream.default} of it
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`; Error `ERR_DISPOSED`;
   * CudaError
   */
  record(stream?: Stream): void {
    cuda.eventRecord(this.#native, readStream(stream, this.#ordinal));
  }

  /**
   * Lets what is enqueued on `stream` from now on wait until the event has passed, as
   * {@link Stream.wait} does.
   *
   * @throws as {@link Stream.wait} does
   */
  wait(stream: Stream): void {
    cuda.streamWait(nativeStream(stream), this.#native);
  }

  /**
   * Whether the event has passed, or was never recorded. Does not wait.
   *
   * @throws CudaError if what came before it failed; Error `ERR_DISPOSED`, `ERR_INVALID_STATE` if it
   * was recorded during a capture
   */
  query(): boolean {
    return cuda.eventHasPassed(this.#native);
  }

  /** Waits, and blocks the thread, until the event has passed. Throws as {@link CudaEvent.query}. */
  synchronize(): void {
    cuda.eventSynchronize(this.#native);
  }

  /** Fulfilled when the event has passed; rejects as {@link CudaEvent.query} throws. */
  async synchronizeAsync(): Promise<void> {
    await cuda.eventPassed(this.#native);
  }

  /**
   * The milliseconds from this event to `end`, measured by the device.
   *
   * @throws Error `ERR_INVALID_STATE` if one of them was not recorded, has not passed or was made
   * without timing; TypeError `ERR_INVALID_ARG_VALUE` if they are of two devices; and as
   * {@link CudaEvent.query} does
   */
  elapsed(end: CudaEvent): number {
    return cuda.eventElapsed(this.#native, nativeEvent('end', end));
  }

  /** Destroys the event. Streams that wait for it go on waiting. Twice does no harm. */
  dispose(): void {
    cuda.dispose(this.#native);
  }

  /** {@link CudaEvent.dispose}, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
