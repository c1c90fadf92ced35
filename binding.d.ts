/**
 * What the native addon exports. It checks everything that memory safety needs and throws typed
 * errors; the public API in `lib` gives names, defaults and outputs.
 *
 * Arrays of float32 are `Float32Array`, of float16 and bfloat16 `Uint16Array` (their bits). Shapes:
 * x, y, dy, dx are (rows, hiddenSize); weight, dweight (hiddenSize); rstd (rows), always float32.
 */

/**
 * dtype (0 float32, 1 float16, 2 bfloat16) + 4 for castOrder 'float' + 8 to accumulate dweight +
 * 16 for a fresh dweight of float32 + 32 * (n + 1) to run on the CUDA device n rather than the CPU.
 */
export type Format = number;

export type NativeArray = Float32Array | Uint16Array;

/** A CUDA device; its place in the array is its ordinal. */
export interface NativeDevice {
  name: string;
  computeCapability: string;
  totalMemory: number;
  multiprocessors: number;
  driverVersion: string;
}

export interface Binding {
  /** Writes y, and rstd unless null. y may be x itself; nothing else may overlap an output. */
  forward(
    x: NativeArray,
    weight: NativeArray | null,
    y: NativeArray,
    rstd: Float32Array | null,
    hiddenSize: number,
    eps: number,
    weightOffset: number,
    format: Format,
  ): void;

  /** Writes dx and dweight unless null. rstd null: recomputed. dx may be dy or x itself. */
  backward(
    dy: NativeArray,
    x: NativeArray,
    weight: NativeArray | null,
    rstd: Float32Array | null,
    dx: NativeArray | null,
    dweight: NativeArray | null,
    hiddenSize: number,
    eps: number,
    weightOffset: number,
    format: Format,
  ): void;

  /**
   * forward on another thread. Arrays on a SharedArrayBuffer are used in place; others are copied
   * at the call, and an output is copied back when done. `true` for an output asks for a fresh
   * ArrayBuffer. Resolves to what was asked for so: [y, rstd], null where it was not.
   */
  forwardAsync(
    x: NativeArray,
    weight: NativeArray | null,
    y: NativeArray | true,
    rstd: Float32Array | null | true,
    hiddenSize: number,
    eps: number,
    weightOffset: number,
    format: Format,
  ): Promise<[ArrayBuffer | null, ArrayBuffer | null]>;

  /** backward on another thread, as forwardAsync. Resolves to [dx, dweight]. */
  backwardAsync(
    dy: NativeArray,
    x: NativeArray,
    weight: NativeArray | null,
    rstd: Float32Array | null,
    dx: NativeArray | null | true,
    dweight: NativeArray | null | true,
    hiddenSize: number,
    eps: number,
    weightOffset: number,
    format: Format,
  ): Promise<[ArrayBuffer | null, ArrayBuffer | null]>;

  /** destination[i] = source[i] in another dtype, rounded to nearest even. */
  convert(source: NativeArray, from: number, destination: NativeArray, to: number): void;

  /** Names of the CPU variants this processor runs, best first. */
  cpuVariants(): string[];
  cpuVariant(): string;
  setCpuVariant(name: string): void;

  /** The CUDA devices, or the error that a call on one would throw. */
  devices(): NativeDevice[] | Error;

  numThreads(): number;
  setNumThreads(count: number): void;
}
