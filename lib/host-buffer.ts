import type { NativeHostBuffer } from '../binding';
import { cuda, readOrdinal, type CudaDeviceOptions } from './cuda';
import { codedError } from './errors';
import { checkOptions, readCount } from './options';
import { elementSizes, readDeviceDType, type DeviceDType } from './device-dtype';

const optionNames: ReadonlySet<string> = new Set(['device']);

/** The array that holds elements of a dtype on the host; of 16-bit ones it holds their bits. */
export type HostArrayOf<D extends DeviceDType> = D extends 'float32' ? Float32Array : Uint16Array;

/** The native buffer of one of ours, or null if the value is none. */
export let nativeHostBuffer: (value: unknown) => NativeHostBuffer | null;

/**
 * Memory of the host that a GPU copies to and from by itself, while neither the thread of JavaScript
 * nor the processor takes part. It is page-locked, of which a machine has not too much.
 *
 * ```ts
 * using input = new HostBuffer(4096, 'float32');
 * input.array.set(values);
 * x.copyFrom(input, { stream }); // returns at once: input.array must not change until it is done
 * ```
 */
export class HostBuffer<D extends DeviceDType = DeviceDType> {
  /** Of its elements. */
  readonly dtype: D;
  /** Elements. */
  readonly length: number;
  /** Its size in bytes. */
  readonly byteLength: number;
  readonly #native: NativeHostBuffer;
  readonly #array: HostArrayOf<D>;
  #isDisposed = false;

  static {
    nativeHostBuffer = (value) =>
      typeof value === 'object' && value !== null && #native in value ? value.#native : null;
  }

  /**
   * @param length - elements; what they are is not said
   * @param options - `device`: in whose context it is made; all devices can use it
   * @throws TypeError and RangeError for arguments that are not as described; CudaError
   * `ERR_CUDA_UNAVAILABLE` without a GPU, `ERR_CUDA_OUT_OF_MEMORY`
   */
  constructor(length: number, dtype: D, options: CudaDeviceOptions = {}) {
    checkOptions(options, optionNames);
    this.length = readCount('length', length, 0);
    this.dtype = readDeviceDType(dtype) as D;
    this.byteLength = length * elementSizes[dtype];
    const [native, memory] = cuda.createHostBuffer(readOrdinal(options.device), this.byteLength);
    this.#native = native;
    const array = dtype === 'float32' ? new Float32Array(memory) : new Uint16Array(memory);
    this.#array = array as HostArrayOf<D>;
  }

  /**
   * The elements. Its buffer can not be transferred.
   *
   * @throws Error `ERR_DISPOSED`
   */
  get array(): HostArrayOf<D> {
    if (this.#isDisposed) throw codedError('ERR_DISPOSED', 'The HostBuffer has been disposed of');
    return this.#array;
  }

  /**
   * Frees the memory, once copies that are enqueued are done. `array` and views of its buffer are
   * empty from now on. Twice does no harm.
   */
  dispose(): void {
    this.#isDisposed = true;
    cuda.dispose(this.#native);
  }

  /** {@link HostBuffer.dispose}, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
