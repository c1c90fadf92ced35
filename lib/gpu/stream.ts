import type { NativeStream } from '../../binding';
import { cuda, readOrdinal, readPointer, type CudaDeviceOptions } from './cuda';
import { argumentError } from '../core/errors';
import { knownOptions, readFlag } from '../core/validate';
import { DeviceObject, Existing, nativeOf, ordinalOf, readObject } from './object';

/** Options of what is enqueued on a GPU. */
export interface StreamOptions {
  /** Of the same device. Default: {@link Stream.default} of it. */
  readonly stream?: Stream | undefined;
}

const deviceNames: ReadonlySet<string> = new Set(['device']);
const defaults = new Map<number, Stream>();

/** The native stream of one of ours. */
export function nativeStream(value: unknown): NativeStream {
  return readObject('stream', 'Stream', value);
}

/**
 * An order of work on a GPU: what is enqueued on one stream runs one after another, what is on
 * several side by side, as far as they do not wait for each other's {@link CudaEvent}s. Calls
 * enqueue and return; their results and errors are there when the stream has been waited for.
 *
 * ```ts
 * using stream = new Stream();
 * rmsNorm(x, weight, { out: y, stream });
 * y.copyTo(hostBuffer, { stream });
 * await stream.synchronizeAsync();
 * ```
 *
 * It does not wait for the legacy default stream of other libraries.
 */
export class Stream extends DeviceObject<'Stream'> {
  /**
   * @throws CudaError `ERR_CUDA_UNAVAILABLE` without a GPU; TypeError `ERR_INVALID_ARG_VALUE` for a
   * device that is not there
   */
  constructor(options?: CudaDeviceOptions);
  /** @internal */
  constructor(existing: Existing<NativeStream>);
  constructor(options: CudaDeviceOptions | Existing<NativeStream> = {}) {
    let existing = options;
    if (!Existing.is<NativeStream>(existing)) {
      const ordinal = readOrdinal(knownOptions(existing, deviceNames).device);
      existing = new Existing(cuda.createStream(ordinal), ordinal);
    }
    super('Stream', existing);
  }

  /**
   * The stream of calls that name none: one for each device and thread of JavaScript. It cannot be
   * disposed of.
   *
   * @param device - default: the first of {@link devices}
   * @throws as the constructor does
   */
  static default(device?: CudaDeviceOptions['device']): Stream {
    const ordinal = readOrdinal(device);
    let stream = defaults.get(ordinal);
    if (stream === undefined) {
      stream = new Stream(new Existing(cuda.defaultStream(ordinal), ordinal));
      defaults.set(ordinal, stream);
    }
    return stream;
  }

  /**
   * A stream of another library's: a `CUstream` or `cudaStream_t` of the device's primary context.
   * It is not destroyed here, and must stay until this object has been disposed of; that does not
   * wait for it.
   *
   * @param pointer - 0n is the legacy default stream. What is no stream may crash the driver
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE`, and as the constructor
   * does
   */
  static fromPointer(pointer: bigint, options: CudaDeviceOptions = {}): Stream {
    const ordinal = readOrdinal(knownOptions(options, deviceNames).device);
    const native = cuda.foreignStream(ordinal, readPointer(pointer));
    return new Stream(new Existing(native, ordinal));
  }

  /**
   * The `CUstream`, for other libraries: good until `dispose()`. While one of them captures it,
   * calls on this stream throw `ERR_INVALID_STATE`.
   */
  get pointer(): bigint {
    return cuda.streamPointer(nativeOf(this));
  }

  /**
   * Waits, and blocks the thread, until all that was enqueued has run.
   *
   * @throws CudaError if some of it failed; Error `ERR_INVALID_STATE` during a capture,
   * `ERR_DISPOSED`
   */
  synchronize(): void {
    cuda.streamSynchronize(nativeOf(this));
  }

  /** Fulfilled when all that is enqueued now has run; rejects as {@link Stream.synchronize} throws. */
  async synchronizeAsync(): Promise<void> {
    await cuda.streamPassed(nativeOf(this));
  }

  /**
   * Whether all that was enqueued has run. Does not wait.
   *
   * @throws as {@link Stream.synchronize} does
   */
  query(): boolean {
    return cuda.streamIsIdle(nativeOf(this));
  }

  /**
   * Lets what is enqueued from now on wait until `event` has passed, on whatever device it was
   * recorded; the thread does not wait. An event that was not recorded yet is not waited for.
   *
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, Error `ERR_DISPOSED`; `ERR_INVALID_STATE` if the event
   * was recorded during a capture that is another or has ended; CudaError
   */
  wait(event: CudaEvent): void {
    cuda.streamWait(nativeOf(this), readObject('event', 'CudaEvent', event));
  }

  /**
   * Destroys the stream, once what it has is done; nothing waits for that. Nothing can be enqueued
   * any more. Idempotent.
   */
  override dispose(): void {
    if (defaults.get(ordinalOf(this)) !== this) super.dispose();
  }
}

/** The native stream of an optional `stream`, which must be of the device. */
export function readStream(stream: unknown, ordinal: number): NativeStream {
  if (stream === undefined) return nativeStream(Stream.default(`cuda:${ordinal}`));
  const native = nativeStream(stream);
  if (ordinalOf(stream as Stream) === ordinal) return native;
  const expected = `of 'cuda:${ordinal}', the device of what it is for`;
  throw argumentError('ERR_INVALID_ARG_VALUE', 'stream', expected, stream);
}

/** Options of {@link CudaEvent}. */
export interface CudaEventOptions extends CudaDeviceOptions {
  /** Whether {@link CudaEvent.elapsed} can measure with it. Default true. */
  readonly timing?: boolean | undefined;
}

const eventNames: ReadonlySet<string> = new Set(['device', 'timing']);

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
    const { device, timing } = knownOptions(options, eventNames);
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
