/**
 * What the native addon exports. It checks everything that memory safety needs and throws typed
 * errors; the public API in `lib` gives names, defaults and outputs.
 *
 * Arrays of float32 are `Float32Array`, of float64 `Float64Array`, of float16 and bfloat16
 * `Uint16Array` (their bits). Shapes: x, y, residual, sumOut, dy, dx, dsum are (rows,
 * hiddenSize); weight, dweight (hiddenSize); rstd (rows), of float32, or float64 beside float64.
 */

/**
 * dtype (0 float32, 1 float16, 2 bfloat16, 3 float64) + 4 for castOrder 'float' + 8 to accumulate
 * dweight + 16 for a fresh dweight of float32 + 32 * (n + 1) to run on the CUDA device n rather than
 * the CPU.
 */
export type Format = number;

export type NativeArray = Float32Array | Float64Array | Uint16Array;

/** An array, or memory of a device: all operands of a call are of one kind, and in one place. */
export type NativeData = NativeArray | NativeDeviceBuffer;

/** What plain calls take. */
export type PlainArray = Float32Array | Uint16Array;

/** An array of rstd. */
export type RstdArray = Float32Array | Float64Array;

/**
 * Where rows lie, for matrices that are part of their arrays: the number of rows, then of each
 * matrix, in the order named at the function, the element its first row begins at, and from one
 * row to the next, the rows of a batch, from one batch to the next. Row r begins
 * floor(r / batchRows) * batchStride + (r % batchRows) * rowStride behind the first. Fresh outputs
 * are packed whatever it says. Without a layout, matrices are as long as their arrays.
 */
export type Layout = Float64Array;

/** A CUDA device; its place in the array is its ordinal. */
export interface NativeDevice {
  name: string;
  computeCapability: string;
  totalMemory: number;
  multiprocessors: number;
  driverVersion: string;
}

/** Objects of a GPU: `dispose` lets go of what they stand for, a finalizer if nobody calls it. */
export interface NativeDeviceBuffer {
  readonly kind: 'DeviceBuffer';
}
export interface NativeHostBuffer {
  readonly kind: 'HostBuffer';
}
export interface NativeStream {
  readonly kind: 'Stream';
}
export interface NativeEvent {
  readonly kind: 'CudaEvent';
}
export interface NativeGraph {
  readonly kind: 'Graph';
}

/**
 * Functions over objects of GPUs. `device` is an ordinal, `dtype` as in {@link Format}. A stream
 * that may be null is the default one of the device then. Work is enqueued, and errors of it come
 * when the stream is waited for.
 */
export interface CudaBinding {
  createDeviceBuffer(device: number, length: number, dtype: number): NativeDeviceBuffer;
  /** Memory of somebody else's, which the driver must know to be as long and on this device. */
  foreignDeviceBuffer(
    device: number,
    pointer: bigint,
    length: number,
    dtype: number,
  ): NativeDeviceBuffer;
  /** The elements from `begin` up to `end`, over the same memory. */
  deviceBufferView(buffer: NativeDeviceBuffer, begin: number, end: number): NativeDeviceBuffer;
  deviceBufferPointer(buffer: NativeDeviceBuffer): bigint;
  /**
   * Copies an array of the buffer's dtype or of float32, as it is now. `mayWait`: for earlier copies,
   * so that not all of a long array is in page-locked memory at once.
   */
  deviceBufferWrite(
    buffer: NativeDeviceBuffer,
    source: NativeArray,
    dtype: number,
    stream: NativeStream | null,
    mayWait: boolean,
  ): void;
  /** Copies to an array of the buffer's dtype or of float32, and waits for that. */
  deviceBufferRead(
    buffer: NativeDeviceBuffer,
    target: NativeArray,
    dtype: number,
    stream: NativeStream | null,
  ): void;
  /** The same without waiting: the array is written when the promise settles. */
  deviceBufferReadAsync(
    buffer: NativeDeviceBuffer,
    target: NativeArray,
    dtype: number,
    stream: NativeStream | null,
  ): Promise<void>;
  deviceBufferFill(buffer: NativeDeviceBuffer, value: number, stream: NativeStream | null): void;

  /** Page-locked memory, with an ArrayBuffer over it that `dispose` detaches. */
  createHostBuffer(device: number, byteLength: number): [NativeHostBuffer, ArrayBuffer];
  /** Copies as many bytes as both have, one of them being on a device. */
  copyBuffer(
    target: NativeDeviceBuffer | NativeHostBuffer,
    source: NativeDeviceBuffer | NativeHostBuffer,
    stream: NativeStream | null,
  ): void;

  createStream(device: number): NativeStream;
  foreignStream(device: number, pointer: bigint): NativeStream;
  /** The one that stands in for null; disposing of the object leaves it alone. */
  defaultStream(device: number): NativeStream;
  streamPointer(stream: NativeStream): bigint;
  streamSynchronize(stream: NativeStream): void;
  /** Settles when what is enqueued now has run or failed. */
  streamPassed(stream: NativeStream): Promise<void>;
  streamIsIdle(stream: NativeStream): boolean;
  streamWait(stream: NativeStream, event: NativeEvent): void;

  createEvent(device: number, timing: boolean): NativeEvent;
  eventRecord(event: NativeEvent, stream: NativeStream | null): void;
  eventHasPassed(event: NativeEvent): boolean;
  eventSynchronize(event: NativeEvent): void;
  eventPassed(event: NativeEvent): Promise<void>;
  /** Milliseconds. */
  eventElapsed(begin: NativeEvent, end: NativeEvent): number;

  beginCapture(stream: NativeStream): void;
  endCapture(stream: NativeStream): NativeGraph;
  /** Ends a capture, if there is one, whose graph nobody wants. */
  abandonCapture(stream: NativeStream): void;
  launchGraph(graph: NativeGraph, stream: NativeStream | null): void;

  dispose(
    object: NativeDeviceBuffer | NativeHostBuffer | NativeStream | NativeEvent | NativeGraph,
  ): void;
}

/**
 * A plan. `weight` and `stream` are those that the plan was made with, as they are now: a plan refers
 * to no JavaScript object. Arrays are of its dtype and shapes, or null where they are not wanted.
 */
export interface NativePlan {
  readonly forward: (
    weight: NativeData | null,
    stream: NativeStream | null,
    x: NativeData,
    out: NativeData,
    rstdOut?: NativeData | null,
    residual?: NativeData | null,
    sumOut?: NativeData | null,
  ) => void;
  readonly backward: (
    weight: NativeData | null,
    stream: NativeStream | null,
    dy: NativeData,
    x: NativeData,
    rstd: NativeData | null,
    dxOut: NativeData | null,
    dweightOut: NativeData | null,
    dsum?: NativeData | null,
  ) => void;
}

/**
 * What asynchronous calls resolve to: the rows that x had when it was read, and the ArrayBuffers that
 * were asked for, null for others.
 */
export interface FreshForward {
  readonly rows: number;
  readonly y: ArrayBuffer | null;
  readonly rstd: ArrayBuffer | null;
  readonly sum: ArrayBuffer | null;
}
export interface FreshBackward {
  readonly rows: number;
  readonly dx: ArrayBuffer | null;
  readonly dweight: ArrayBuffer | null;
}

export interface Binding {
  /** `NAME@VERSION` of the package that the addon is of. */
  readonly package: string;
  cuda: CudaBinding;

  /**
   * Writes y, and rstd unless null; sumOut = x + residual if that is given. y and sumOut
   * may each be exactly x or residual, and not each other; nothing else may overlap an output.
   * Layout: x, y, residual, sumOut. On memory of a device, which `format` must name, it is
   * enqueued; `stream` is for that alone, and null for the device's default one.
   */
  forward(
    x: NativeData,
    weight: NativeData | null,
    y: NativeData,
    rstd: NativeData | null,
    hiddenSize: number,
    eps: number,
    weightOffset: number,
    format: Format,
    residual?: NativeData | null,
    sumOut?: NativeData | null,
    layout?: Layout | null,
    stream?: NativeStream | null,
  ): void;

  /**
   * Writes dx and dweight unless null. rstd null: recomputed. dx may be exactly dy, x or
   * dsum. Layout: dy, x, dx, dsum. `stream`: as for forward.
   */
  backward(
    dy: NativeData,
    x: NativeData,
    weight: NativeData | null,
    rstd: NativeData | null,
    dx: NativeData | null,
    dweight: NativeData | null,
    hiddenSize: number,
    eps: number,
    weightOffset: number,
    format: Format,
    dsum?: NativeData | null,
    layout?: Layout | null,
    stream?: NativeStream | null,
  ): void;

  /**
   * forward and backward of packed arrays of one `dtype`, 0 to 2 of {@link Format}, on the CPU and
   * in Llama's order, in what a call costs at least: the bytes of any view are read as that, so that
   * the caller must know of what kind they are. False, and nothing done, for a call that is not such
   * or is wrong: forward and backward do it, or say why not.
   */
  plainForward(
    x: PlainArray,
    weight: PlainArray,
    y: PlainArray,
    eps: number,
    dtype: number,
  ): boolean;
  plainBackward(
    dy: PlainArray,
    x: PlainArray,
    weight: PlainArray,
    rstd: PlainArray,
    dx: PlainArray,
    dweight: PlainArray,
    dtype: number,
  ): boolean;

  /**
   * forward on another thread. Arrays on a SharedArrayBuffer are used in place; what is used of
   * others is copied at the call, and an output is copied back when done. `true` for an output asks
   * for a fresh ArrayBuffer. A wrong argument rejects the promise. At most two calls of the process
   * are on other threads at once; others wait for their turn.
   */
  forwardAsync(
    x: NativeArray,
    weight: NativeArray | null,
    y: NativeArray | true,
    rstd: RstdArray | null | true,
    hiddenSize: number,
    eps: number,
    weightOffset: number,
    format: Format,
    residual?: NativeArray | null,
    sumOut?: NativeArray | null | true,
    layout?: Layout | null,
  ): Promise<FreshForward>;

  /** backward on another thread, as forwardAsync. */
  backwardAsync(
    dy: NativeArray,
    x: NativeArray,
    weight: NativeArray | null,
    rstd: RstdArray | null,
    dx: NativeArray | null | true,
    dweight: NativeArray | null | true,
    hiddenSize: number,
    eps: number,
    weightOffset: number,
    format: Format,
    dsum?: NativeArray | null,
    layout?: Layout | null,
  ): Promise<FreshBackward>;

  /**
   * forward and backward of one shape, with all but the arrays checked here. The arrays are as those
   * functions' own, and packed; on a device, buffers of it. `stream` as there.
   */
  createPlan(
    rows: number,
    hiddenSize: number,
    eps: number,
    weightOffset: number,
    format: Format,
    weight: NativeData | null,
    stream?: NativeStream | null,
  ): NativePlan;

  /** Asks for huge pages under an array that nobody has written yet. */
  adviseHugePages(array: ArrayBufferView): void;

  /** destination[i] = source[i] in another dtype, but float64, rounded to nearest even. */
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
