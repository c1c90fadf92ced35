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
 * The owner of each ArrayBuffer, whose finalizer would empty it. So the memory lives as long as
 * anything refers to the array, its buffer or another view of that.
 */
const owners = new WeakMap<ArrayBuffer, NativeHostBuffer>();

/** The array that holds elements of a dtype on the host; but of float32 and int8, their bits. */
export type HostArrayOf<D extends BufferDType> = D extends 'float32'
  ? Float32Array
  : D extends 'int8'
    ? Int8Array
    : D extends QuantizedDType
      ? Uint8Array
      : Uint16Array;

/**
 * Memory of the host that a GPU copies to and from by itself, while neither the thread of JavaScript
 * nor the processor takes part. It is page-locked memory, which is scarce. It is freed by
 * `dispose()`, or when nothing refers to this object, to `array` or to its buffer any more.
 *
 * ```ts
 * using input = new HostBuffer(4096, 'float32');
 * input.array.set(values);
 * x.copyFrom(input, { stream }); // returns at once: input.array must not change until it is done
 * ```
 */
export class HostBuffer<D extends BufferDType = DeviceDType> extends GpuObject<'HostBuffer'> {
  /** Of its elements. */
  readonly dtype: D;
  /** Elements. */
  readonly length: number;
  /** Its size in bytes. */
  readonly byteLength: number;
  readonly #array: HostArrayOf<D>;
  #isDisposed = false;

  /**
   * @param length - elements, uninitialised
   * @param options - `device`: in whose context it is made; all devices can use it
   * @throws TypeError and RangeError for arguments that are not as described; CudaError
   * `ERR_CUDA_UNAVAILABLE` without a GPU, `ERR_CUDA_OUT_OF_MEMORY`
   */
  constructor(length: number, dtype: D, options: CudaDeviceOptions = {}) {
    const { device } = knownOptions(options, optionNames);
    readCount('length', length, 0);
    checkBufferDType(dtype);
    const { bytes, bits } = dtypes[dtype];
    const most = Math.floor(constants.MAX_LENGTH / bytes);
    if (length > most) {
      const expected = `at most ${most}, which is what an ArrayBuffer of this Node.js has room for`;
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
   * The elements. `postMessage` and `structuredClone` do not transfer its buffer.
   *
   * `ArrayBuffer.prototype.transfer` does: the ArrayBuffer that it returns has the memory then, and
   * keeps it. If that is in another thread when the thread of this object ends, the memory stays
   * until the process ends.
   *
   * @throws Error `ERR_DISPOSED`
   */
  get array(): HostArrayOf<D> {
    if (this.#isDisposed) throw codedError('ERR_DISPOSED', 'The HostBuffer has been disposed of');
    return this.#array;
  }

  /**
   * Frees the memory, once copies that are enqueued are done. `array` and views of its buffer are
   * empty from now on. Idempotent.
   *
   * As every transfer of an ArrayBuffer does, the first of a process makes V8 check typed arrays in
   * all compiled loops. A HostBuffer that is collected instead does not.
   */
  override dispose(): void {
    this.#isDisposed = true;
    super.dispose();
  }
}
