import { constants } from 'node:buffer';

import type { NativeHostBuffer } from '../../binding';
import { cuda, readOrdinal, type CudaDeviceOptions } from './cuda';
import { argumentError, codedError } from '../core/errors';
import { knownOptions, readCount } from '../core/validate';
import {
  checkBufferDType,
  dtypes,
  makeArray,
  type BufferDType,
  type DeviceDType,
  type QuantizedDType,
} from '../core/dtype';
import { GpuObject } from './object';

const optionNames: ReadonlySet<string> = new Set(['device']);

/**
 * The native owner of each ArrayBuffer. The owner's finalizer detaches the ArrayBuffer, so this map
 * keeps the owner while anything refers to the array, its buffer or another view of the buffer.
 */
const owners = new WeakMap<ArrayBuffer, NativeHostBuffer>();

/** The host array for elements of a dtype: float32 and int8 as values, other dtypes as their bits. */
export type HostArrayOf<D extends BufferDType> = D extends 'float32'
  ? Float32Array
  : D extends 'int8'
    ? Int8Array
    : D extends QuantizedDType
      ? Uint8Array
      : Uint16Array;

/**
 * Host memory that a GPU copies to and from by itself, without the JavaScript thread or the processor.
 * It is page-locked, and such memory is scarce. It is freed by `dispose()`, or when nothing refers to
 * this object, to `array` or to its buffer any more.
 *
 * ```ts
 * using input = new HostBuffer(4096, 'float32');
 * input.array.set(values);
 * x.copyFrom(input, { stream }); // returns at once: input.array must not change until the copy is done
 * ```
 */
export class HostBuffer<D extends BufferDType = DeviceDType> extends GpuObject<'HostBuffer'> {
  /** The dtype of the elements. */
  readonly dtype: D;
  /** The number of elements. */
  readonly length: number;
  /** The size in bytes. */
  readonly byteLength: number;
  readonly #array: HostArrayOf<D>;
  #isDisposed = false;

  /**
   * @param length - the number of elements, which are uninitialised
   * @param options - `device`: the GPU in whose context the memory is allocated; all GPUs can use it
   * @throws TypeError and RangeError for invalid arguments; CudaError `ERR_CUDA_UNAVAILABLE` without a
   * GPU, `ERR_CUDA_OUT_OF_MEMORY`
   */
  constructor(length: number, dtype: D, options: CudaDeviceOptions = {}) {
    const { device } = knownOptions(options, optionNames);
    readCount('length', length, 0);
    checkBufferDType(dtype);
    const { bytes, bits } = dtypes[dtype];
    const most = Math.floor(constants.MAX_LENGTH / bytes);
    if (length > most) {
      const expected = `at most ${most}, so that it fits into an ArrayBuffer of this Node.js`;
      throw argumentError('ERR_OUT_OF_RANGE', 'length', expected, length);
    }
    const [native, memory] = cuda.createHostBuffer(readOrdinal(device), length * bytes);
    super('HostBuffer', native);
    this.dtype = dtype;
    this.length = length;
    this.byteLength = length * bytes;
    owners.set(memory, native);
    this.#array = makeArray(bits, memory) as HostArrayOf<D>;
  }

  /**
   * The elements. `postMessage` and `structuredClone` do not transfer the buffer of this array.
   *
   * `ArrayBuffer.prototype.transfer` does: the ArrayBuffer that it returns then owns the memory. If that
   * ArrayBuffer is in another thread when the thread of this object ends, the memory stays allocated
   * until the process ends.
   *
   * @throws Error `ERR_DISPOSED`
   */
  get array(): HostArrayOf<D> {
    if (this.#isDisposed) throw codedError('ERR_DISPOSED', 'The HostBuffer has been disposed of');
    return this.#array;
  }

  /**
   * Frees the memory once enqueued copies are done. Arrays over the memory are empty from now on, and
   * `array` throws. Idempotent.
   *
   * This detaches an ArrayBuffer, as a transfer does. The first ArrayBuffer that is detached in a process
   * makes V8 check typed arrays in all compiled loops from then on. Garbage collection of a HostBuffer does
   * not.
   */
  override dispose(): void {
    this.#isDisposed = true;
    super.dispose();
  }
}
