import { cuda, readOrdinal, type CudaDeviceOptions } from './cuda';
import { knownOptions, readFlag } from '../core/validate';
import { DeviceObject, Existing, nativeOf, ordinalOf, readObject } from './object';
import { nativeStream, readStream, type Stream } from './stream';

/** Options of {@link CudaEvent}. */
export interface CudaEventOptions extends CudaDeviceOptions {
  /** Whether {@link CudaEvent.elapsed} can measure with it. Default true. */
  readonly timing?: boolean;
}

const optionNames: ReadonlySet<string> = new Set(['device', 'timing']);

/**
 * A point in the order of a {@link Stream}, to wait for or to measure time between. Named so since
 * `Event` is a Node.js global: a forgotten import would go unnoticed.
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
export class CudaEvent extends DeviceObject<'CudaEvent'> {
  /**
   * @throws CudaError `ERR_CUDA_UNAVAILABLE` without a GPU; TypeError `ERR_INVALID_ARG_VALUE` for a
   * device that is not there
   */
  constructor(options: CudaEventOptions = {}) {
    const { device, timing } = knownOptions(options, optionNames);
    const isTimed = readFlag('timing', timing, true);
    const ordinal = readOrdinal(device);
    super('CudaEvent', new Existing(cuda.createEvent(ordinal, isTimed), ordinal));
  }

  /**
   * Lets the event stand for this point: behind what is enqueued on the stream now.
   *
   * @param stream - of the event's device. Default: {@link Stream.default} of it
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`; Error `ERR_DISPOSED`;
   * CudaError
   */
  record(stream?: Stream): void {
    cuda.eventRecord(nativeOf(this), readStream(stream, ordinalOf(this)));
  }

  /**
   * Lets what is enqueued on `stream` from now on wait until the event has passed, as
   * {@link Stream.wait} does.
   *
   * @throws as {@link Stream.wait} does
   */
  wait(stream: Stream): void {
    cuda.streamWait(nativeStream(stream), nativeOf(this));
  }

  /**
   * Whether the event has passed, or was never recorded. Does not wait.
   *
   * @throws CudaError if what came before it failed; Error `ERR_DISPOSED`, `ERR_INVALID_STATE` if it
   * was recorded during a capture
   */
  query(): boolean {
    return cuda.eventHasPassed(nativeOf(this));
  }

  /** Waits, and blocks the thread, until the event has passed. Throws as {@link CudaEvent.query}. */
  synchronize(): void {
    cuda.eventSynchronize(nativeOf(this));
  }

  /** Fulfilled when the event has passed; rejects as {@link CudaEvent.query} throws. */
  async synchronizeAsync(): Promise<void> {
    await cuda.eventPassed(nativeOf(this));
  }

  /**
   * The milliseconds from this event to `end`, measured by the device.
   *
   * @throws Error `ERR_INVALID_STATE` if one of them was not recorded, has not passed or was made
   * without timing; TypeError `ERR_INVALID_ARG_VALUE` if they are of two devices; and as
   * {@link CudaEvent.query} does
   */
  elapsed(end: CudaEvent): number {
    return cuda.eventElapsed(nativeOf(this), readObject('end', 'CudaEvent', end));
  }

  /** Destroys the event. Streams that wait for it go on waiting. Idempotent. */
  override dispose(): void {
    super.dispose();
  }
}
