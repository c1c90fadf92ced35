// Normalises GPU memory that another library owns, without a copy, and lets that library read memory of
// this package. The other library here is the CUDA driver, called through koffi. Any library that takes and
// returns addresses works the same, such as one that computes the layers around the norm.

import assert from 'node:assert/strict';

import { DeviceBuffer, devices, rmsNorm, Stream } from 'fused-rmsnorm';
import { normals } from './random.mts';

const rows = 64;
const hiddenSize = 512;

/** A shared library that koffi has loaded. */
interface SharedLibrary {
  func(signature: string): (...args: unknown[]) => unknown;
}

/** A library that stores its tensors on the first GPU, in the device's primary context, as this package. */
class OtherLibrary {
  readonly #driver: SharedLibrary;
  readonly #stream: unknown;

  constructor(driver: SharedLibrary) {
    this.#driver = driver;
    this.#call('cuInit(unsigned int)', 0);
    const context = this.#result('cuDevicePrimaryCtxRetain(_Out_ void **, int)', 0);
    this.#call('cuCtxSetCurrent(void *)', context);
    this.#stream = this.#result('cuStreamCreate(_Out_ void **, unsigned int)', 0);
  }

  /** Allocates memory, writes the values into it and returns its address. */
  upload(values: Float32Array): bigint {
    const bytes = values.byteLength;
    const address = BigInt(
      this.#result('cuMemAlloc_v2(_Out_ uint64_t *, size_t)', bytes) as number | bigint,
    );
    const copy = 'cuMemcpyHtoDAsync_v2(uint64_t, const void *, size_t, void *)';
    this.#call(copy, address, values, bytes, this.#stream);
    this.#call('cuStreamSynchronize(void *)', this.#stream);
    return address;
  }

  /** The values at an address. */
  download(address: bigint, length: number): Float32Array {
    const values = new Float32Array(length);
    const copy = 'cuMemcpyDtoHAsync_v2(void *, uint64_t, size_t, void *)';
    this.#call(copy, values, address, values.byteLength, this.#stream);
    this.#call('cuStreamSynchronize(void *)', this.#stream);
    return values;
  }

  free(address: bigint): void {
    this.#call('cuMemFree_v2(uint64_t)', address);
  }

  close(): void {
    this.#call('cuStreamDestroy_v2(void *)', this.#stream);
    this.#call('cuDevicePrimaryCtxRelease_v2(int)', 0);
  }

  /** Calls a function of the driver. It returns 0 on success. */
  #call(signature: string, ...args: unknown[]): void {
    const status = this.#driver.func(`int ${signature}`)(...args);
    if (status !== 0) throw new Error(`${signature} returned ${String(status)}`);
  }

  /** Calls a function and returns the value that it writes to its first argument. */
  #result(signature: string, ...args: unknown[]): unknown {
    const result = [null];
    this.#call(signature, result, ...args);
    return result[0];
  }
}

async function main(): Promise<void> {
  if (devices().length === 0) {
    console.log(`There is no GPU to share memory of. ${String(devices().reason)}`);
    return;
  }
  const { default: koffi } = await import('koffi');
  const system = process.platform === 'win32' ? 'nvcuda.dll' : 'libcuda.so.1';
  const library = new OtherLibrary(koffi.load(process.env['RMSNORM_LIBCUDA'] ?? system));
  const x = normals(1, rows * hiddenSize);
  const weight = normals(2, hiddenSize);
  const expected = rmsNorm(x, weight);

  // Normalises memory of the other library in place. Its earlier work must be done before ours starts, and
  // ours before it continues: `upload` and `synchronizeAsync` wait.
  const address = library.upload(x);
  using stream = new Stream();
  using theirs = DeviceBuffer.fromPointer(address, x.length, 'float32');
  using ours = DeviceBuffer.from(weight, { stream });
  rmsNorm(theirs, ours, { out: theirs, stream });
  await stream.synchronizeAsync();
  assert.deepEqual(library.download(address, x.length), expected);
  console.log(`${rows} rows of theirs, normalised where they are`);

  // Lets the other library read memory of this package by its address.
  using y = DeviceBuffer.from(expected, { stream });
  await stream.synchronizeAsync();
  assert.deepEqual(library.download(y.pointer, y.length), expected);
  console.log(`${rows} rows of ours, read by their address`);

  // Disposing of a view does not free memory that the other library owns.
  theirs.dispose();
  library.free(address);
  library.close();
}

await main();
