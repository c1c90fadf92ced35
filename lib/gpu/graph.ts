import { types } from 'node:util';

import type { NativeGraph } from '../../binding';
import { argumentError, codedError } from '../core/errors';
import { cuda } from './cuda';
import { DeviceObject, Existing, nativeOf, ordinalOf } from './object';
import { nativeStream, readStream, type Stream } from './stream';

/**
 * GPU work that is launched as a whole. For many small calls that repeat, a launch takes a fraction of
 * the time of enqueuing each call.
 *
 * ```ts
 * using graph = Graph.capture(stream, () => {
 *   rmsNorm(x, weight, { out: y, stream });
 * });
 * x.copyFrom(input, { stream });
 * graph.launch(stream); // y of the new x
 * ```
 *
 * A graph keeps the memory that its work uses allocated, even if the buffers are disposed of.
 */
export class Graph extends DeviceObject<'Graph'> {
  private constructor(existing: Existing<NativeGraph>) {
    if (!Existing.is<NativeGraph>(existing)) {
      throw codedError('ERR_INVALID_ARG_TYPE', 'A Graph is created by Graph.capture, not by new');
    }
    super('Graph', existing);
  }

  /**
   * Makes a graph of the work that `enqueue` enqueues on the stream. None of this work runs now. Work on
   * another stream is included once that stream waits for an event that was recorded during the capture.
   *
   * During the capture the thread cannot wait for these streams: a wait throws `ERR_INVALID_STATE`. A
   * captured copy from an array copies, at every launch, the values that the array had during the capture.
   * A HostBuffer is read when the graph runs.
   *
   * @param enqueue - called once; must not be asynchronous. If it throws, the error is passed on and
   * nothing is captured
   * @throws TypeError `ERR_INVALID_ARG_TYPE`; Error `ERR_DISPOSED`, `ERR_INVALID_STATE` if the
   * stream is being captured already; CudaError, such as `ERR_CUDA_STREAM_CAPTURE_UNJOINED` if the
   * stream does not wait for the other streams of the capture
   */
  static capture(stream: Stream, enqueue: () => unknown): Graph {
    const native = nativeStream(stream);
    if (typeof enqueue !== 'function') {
      throw argumentError('ERR_INVALID_ARG_TYPE', 'enqueue', 'a function', enqueue);
    }
    cuda.beginCapture(native);
    let graph: NativeGraph | undefined;
    try {
      if (types.isPromise(enqueue())) {
        throw argumentError('ERR_INVALID_ARG_TYPE', 'enqueue', 'a synchronous function', enqueue);
      }
      graph = cuda.endCapture(native);
      return new Graph(new Existing(graph, ordinalOf(stream)));
    } finally {
      if (graph === undefined) cuda.abandonCapture(native);
    }
  }

  /**
   * Enqueues all of the graph's work. Launches of one graph run one after another, even on different
   * streams.
   *
   * @param stream - a stream of the graph's device. Default: {@link Stream.default} of that device
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`; Error `ERR_DISPOSED`,
   * `ERR_INVALID_STATE` during a capture; CudaError
   */
  launch(stream?: Stream): void {
    cuda.launchGraph(nativeOf(this), readStream(stream, ordinalOf(this)));
  }

  /** Releases the graph and its memory once its launches are done. Idempotent. */
  override dispose(): void {
    super.dispose();
  }
}
