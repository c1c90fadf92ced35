import type { NativeStream } from '../../binding';
import { cuda, readOrdinal, readPointer, type CudaDeviceOptions } from './cuda';
import { argumentError } from '../core/errors';
import { knownOptions, readFlag } from '../core/validate';
import { DeviceObject, Existing, nativeOf, ordinalOf, readObject } from './object';

/** Options of work that is enqueued on a GPU. */
export interface StreamOptions {
  /**
   * The stream that the work is enqueued on. It must be of the device that the work runs on. Default:
   * {@link Stream.default} of that device.
   */
  readonly stream?: Stream | undefined;
}

const deviceNames: ReadonlySet<string> = new Set(['device']);
const defaults = new Map<number, Stream>();

/** The native stream behind a Stream. */
export function nativeStream(value: unknown): NativeStream {
  return readObject('stream', 'Stream', value);
}

/**
 * A queue of GPU work. Work on one stream runs in order. Work on several streams can run at the same
 * time, unless they wait for each other's {@link CudaEvent}s. Calls enqueue work and return; their
 * results and errors are available when the stream has been waited for.
 *
 * ```ts
 * using stream = new Stream();
 * rmsNorm(x, weight, { out: y, stream });
 * y.copyTo(hostBuffer, { stream });
 * await stream.synchronizeAsync();
 * ```
 *
 * A stream does not wait for the legacy default stream of other libraries.
 */
export class Stream extends DeviceObject<'Stream'> {
  /**
   * @throws CudaError `ERR_CUDA_UNAVAILABLE` without a GPU; TypeError `ERR_INVALID_ARG_VALUE` for a
   * device that does not exist
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
   * The stream of calls that pass none. There is one for each device and JavaScript thread. It cannot
   * be disposed of.
   *
   * @param device - the GPU. Default: the first of {@link devices}
   * @throws the errors of the constructor
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
   * A stream that another library owns: a `CUstream` or `cudaStream_t` of the device's primary context.
   * This package never destroys it. The stream must exist until this object has been disposed of; `dispose`
   * does not wait for the stream.
   *
   * @param pointer - the stream's handle; 0n is the legacy default stream. An invalid handle may crash
   * the driver
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE`, and the errors of the
   * constructor
   */
  static fromPointer(pointer: bigint, options: CudaDeviceOptions = {}): Stream {
    const ordinal = readOrdinal(knownOptions(options, deviceNames).device);
    const native = cuda.foreignStream(ordinal, readPointer(pointer));
    return new Stream(new Existing(native, ordinal));
  }

  /**
   * The `CUstream`, for other libraries; valid until `dispose()`. While another library captures it,
   * calls on this stream throw `ERR_INVALID_STATE`.
   */
  get pointer(): bigint {
    return cuda.streamPointer(nativeOf(this));
  }

  /**
   * Blocks the thread until all enqueued work is done.
   *
   * @throws CudaError if some of it failed; Error `ERR_INVALID_STATE` during a capture,
   * `ERR_DISPOSED`
   */
  synchronize(): void {
    cuda.streamSynchronize(nativeOf(this));
  }

  /**
   * {@link Stream.synchronize} without blocking: the promise is fulfilled when all work that has been
   * enqueued so far is done. It is rejected with the same errors.
   */
  async synchronizeAsync(): Promise<void> {
    await cuda.streamPassed(nativeOf(this));
  }

  /**
   * Whether all enqueued work is done. Does not wait.
   *
   * @throws the errors of {@link Stream.synchronize}
   */
  query(): boolean {
    return cuda.streamIsIdle(nativeOf(this));
  }

  /**
   * Makes all work that is enqueued from now on wait until `event` has completed. The thread does not
   * wait. The event may be of any device. An event that has not been recorded yet is not waited for.
   *
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, Error `ERR_DISPOSED`; `ERR_INVALID_STATE` if the event
   * was recorded during another capture, or during a capture that has ended; CudaError
   */
  wait(event: CudaEvent): void {
    cuda.streamWait(nativeOf(this), readObject('event', 'CudaEvent', event));
  }

  /**
   * Destroys the stream once its work is done, without waiting for that. Nothing can be enqueued any
   * more. Idempotent. Does nothing for {@link Stream.default}, and does not destroy a stream of
   * {@link Stream.fromPointer}.
   */
  override dispose(): void {
    if (defaults.get(ordinalOf(this)) !== this) super.dispose();
  }
}

/**
 * The native stream of the option `stream`, which must be of the device with this ordinal. Default: the
 * default stream of the device.
 */
export function readStream(stream: unknown, ordinal: number): NativeStream {
  if (stream === undefined) return nativeStream(Stream.default(`cuda:${ordinal}`));
  const native = nativeStream(stream);
  if (ordinalOf(stream as Stream) === ordinal) return native;
  const expected = `a Stream on 'cuda:${ordinal}', the device that this call uses`;
  throw argumentError('ERR_INVALID_ARG_VALUE', 'stream', expected, stream);
}

/** Options of {@link CudaEvent}. */
export interface CudaEventOptions extends CudaDeviceOptions {
  /** Whether {@link CudaEvent.elapsed} can measure time with the event. Default true. */
  readonly timing?: boolean | undefined;
}

const eventNames: ReadonlySet<string> = new Set(['device', 'timing']);

/**
 * A point in the work of a {@link Stream}, to wait for or to measure times. The class is not named `Event`,
 * since `Event` is a Node.js global: a forgotten import would go unnoticed.
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
   * device that does not exist
   */
  constructor(options: CudaEventOptions = {}) {
    const { device, timing } = knownOptions(options, eventNames);
    const isTimed = readFlag('timing', timing, true);
    const ordinal = readOrdinal(device);
    super('CudaEvent', new Existing(cuda.createEvent(ordinal, isTimed), ordinal));
  }

  /**
   * Records the event behind the work that is enqueued on the stream now.
   *
   * @param stream - a stream of the event's device. Default: {@link Stream.default} of that device
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`; Error `ERR_DISPOSED`;
   * CudaError
   */
  record(stream?: Stream): void {
    cuda.eventRecord(nativeOf(this), readStream(stream, ordinalOf(this)));
  }

  /**
   * Makes all work that is enqueued on `stream` from now on wait until the event has completed: see
   * {@link Stream.wait}.
   *
   * @throws the errors of {@link Stream.wait}
   */
  wait(stream: Stream): void {
    cuda.streamWait(nativeStream(stream), nativeOf(this));
  }

  /**
   * Whether the event has completed, or was never recorded. Does not wait.
   *
   * @throws CudaError if work before the event failed; Error `ERR_DISPOSED`, `ERR_INVALID_STATE` if the
   * event was recorded during a capture
   */
  query(): boolean {
    return cuda.eventHasPassed(nativeOf(this));
  }

  /** Blocks the thread until the event has completed. Throws the errors of {@link CudaEvent.query}. */
  synchronize(): void {
    cuda.eventSynchronize(nativeOf(this));
  }

  /**
   * {@link CudaEvent.synchronize} without blocking: the promise is fulfilled when the event has completed,
   * and rejected with the errors of {@link CudaEvent.query}.
   */
  async synchronizeAsync(): Promise<void> {
    await cuda.eventPassed(nativeOf(this));
  }

  /**
   * The time from this event to `end` in milliseconds, measured by the device.
   *
   * @throws Error `ERR_INVALID_STATE` if one of the events was not recorded, has not completed or was
   * made without timing; TypeError `ERR_INVALID_ARG_VALUE` if they belong to two devices; and the
   * errors of {@link CudaEvent.query}
   */
  elapsed(end: CudaEvent): number {
    return cuda.eventElapsed(nativeOf(this), readObject('end', 'CudaEvent', end));
  }

  /** Destroys the event. Streams that already wait for it still do. Idempotent. */
  override dispose(): void {
    super.dispose();
  }
}
