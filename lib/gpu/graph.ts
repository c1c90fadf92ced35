import { types } from 'node:util';

import type { NativeGraph } from '../../binding';
import { argumentError, codedError } from '../core/errors';
import { cuda } from './cuda';
import { DeviceObject, Existing, nativeOf, ordinalOf } from './object';
import { nativeStream, readStream, type Stream } from './stream';

/**
 * Work of a GPU that is launched as a whole: for many small calls that come again and again this
 * takes a fraction of what enqueuing each does.
 *
 * ```ts
 * using graph = Graph.capture(stream, () => {
 *   rmsNorm(x, weight, { out: y, stream });
 * });
 * x.copyFrom(input, { stream });
 * graph.launch(stream); // y of the new x
 * ```
 *
 * It keeps the memory that its work uses, whatever is disposed of.
 */
export class Graph extends DeviceObject<'Graph'> {
  private constructor(existing: Existing<NativeGraph>) {
    if (!Existing.is<NativeGraph>(existing)) {
      throw codedError('ERR_INVALID_ARG_TYPE', 'A Graph is made by Graph.capture, not by new');
    }
    super('Graph', existing);
  }

  /**
   * Makes a graph of what `enqueue` puts into the stream, none of which runs now, and into streams
   * that wait for events which were recorded since. Neither can be waited for meanwhile: what would
   * wait throws `ERR_INVALID_STATE`. Arrays that are copied from are copied as they are now, at
   * every launch; a HostBuffer is read when the graph runs.
   *
   * @param enqueue - called once, and must not be asynchronous. What it throws is passed on, and
   * nothing has been captured then
   * @throws TypeError `ERR_INVALID_ARG_TYPE`; Error `ERR_DISPOSED`, `ERR_INVALID_STATE` if the
   * stream is being captured already; CudaError, such as `ERR_CUDA_STREAM_CAPTURE_UNJOINED` if the
   * stream does not wait for others that take part
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
        throw argumentError(
          'ERR_INVALID_ARG_TYPE',
          'enqueue',
          'a function that is not asynchronous',
          enqueue,
        );
      }
      graph = cuda.endCapture(native);
      return new Graph(new Existing(graph, ordinalOf(stream)));
    } finally {
      if (graph === undefined) cuda.abandonCapture(native);
    }
  }

  /**
   * Enqueues all of its work. Launches of one graph run one after another.
   *
   * @param stream - of the graph's device. Default: {@link Stream.default} of it
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
