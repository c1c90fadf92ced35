/**
 * What the native addon exports. It checks everything that memory safety needs and throws typed
 * errors; the public API in `lib` gives names, defaults and outputs.
 *
 * Arrays of float32 are `Float32Array`, of float64 `Float64Array`, of float16 and bfloat16
 * `Uint16Array` (their bits), of int8 `Int8Array`, of float8 `Uint8Array` (their bits). Shapes: x, y,
 * residual, sumOut, dy, dx, dsum, gate, dgate are (rows, hiddenSize); weight, dweight (hiddenSize);
 * rstd (rows), of float32, or float64 beside float64; scale (rows), of float32.
 */

export type NativeArray = Float32Array | Float64Array | Uint16Array | Int8Array | Uint8Array;

/** An array, or memory of a device: all operands of a call are of one kind, and in one place. */
export type NativeData = NativeArray | NativeDeviceBuffer;

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
 * Functions over objects of GPUs. `device` is an ordinal, `dtype` as in the call record. A stream
 * that may be null is the default one of the device then. Work is enqueued, and errors of it come
 * when the stream is waited for.
 */
export interface CudaBinding {
  /** With a stream: for its next work, so that the memory may be some that its work still uses. */
  createDeviceBuffer(
    device: number,
    length: number,
    dtype: number,
    stream?: NativeStream | null,
  ): NativeDeviceBuffer;
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

  /**
   * Every kernel there is, the oldest architecture that it is launched on, such as 80 for compute
   * capability 8.0, and how often this process has launched it on the device: for tests.
   */
  launchCounts(device: number): { kernel: string; architecture: number; launches: number }[];
  /** Bytes of the device that no process uses. */
  availableMemory(device: number): number;
  /**
   * The files of kernels, and what each was loaded from on the device: `'machine code'`, or PTX such
   * as `'compute_80'`; `''` for those that no call has needed.
   */
  loadedImages(device: number): { file: string; image: string }[];
  /** Frees memory that is kept for the next allocation or copy and used by no work in flight. */
  emptyCache(): void;

  dispose(
    object: NativeDeviceBuffer | NativeHostBuffer | NativeStream | NativeEvent | NativeGraph,
  ): void;
}

/** A rule of an operand: see csrc/napi/args/operation.h. */
export interface NativeRule {
  readonly name: string;
  readonly extent: number;
  readonly element: number;
  readonly use: number;
  readonly mayEqual: number;
  readonly needs: number;
}

type Given<Data> = Data | null | undefined;

/** The stream, and the operands of the operation in its order; the last may be left out. */
export type NativeCall = (
  stream: Given<NativeStream>,
  ...operands: readonly Given<NativeData>[]
) => void;

export type NativeAsyncCall = (
  ...operands: Given<NativeArray>[]
) => Promise<(ArrayBuffer | null)[]>;

export interface Binding {
  /** `NAME@VERSION` of the package that the addon is of. */
  readonly package: string;
  cuda: CudaBinding;

  /** The memory of the call record (csrc/napi/args/call_record.h), and the names of its fields. */
  readonly record: ArrayBufferLike;
  readonly recordIntegers: readonly string[];
  readonly recordNumbers: readonly string[];

  /** The operands of forward and backward (csrc/napi/args/operation.h), in the order of the arguments. */
  readonly operations: Record<'forward' | 'backward', readonly NativeRule[]>;

  /**
   * Makes the call that the record tells, on operands that its bits say are given, each in its place;
   * or enqueues it, on `stream`, or on the device's default one if that is null. Of arrays the bytes
   * are read, whatever their kind: the caller knows it.
   */
  readonly forward: NativeCall;
  readonly backward: NativeCall;

  /**
   * The same on another thread. Arrays on a SharedArrayBuffer are used in place; what is used of others
   * is copied at the call, and an output is copied back when done. Resolves to a list of the outputs
   * that the record asks to be made, each in its operand's place, null for others. A wrong argument
   * rejects the promise. At most two calls of the process are on other threads at once; others wait
   * for their turn.
   */
  readonly forwardAsync: NativeAsyncCall;
  readonly backwardAsync: NativeAsyncCall;

  /** Asks for huge pages under an array that nobody has written yet. */
  adviseHugePages(array: ArrayBufferView): void;

  /**
   * destination[i] = source[i] in another dtype, but float64 and int8, rounded to nearest even; float8
   * from and to float32 alone.
   */
  convert(source: NativeArray, from: number, destination: NativeArray, to: number): void;

  /** Names of the CPU variants this processor runs, best first. */
  cpuVariants(): string[];
  cpuVariant(): string;
  setCpuVariant(name: string): void;

  /** The CUDA devices, or the error that a call on one would throw. */
  devices(): NativeDevice[] | Error;

  numThreads(): number;
  /** What the number comes from, and the quota in processors; 0 unless it comes from one. */
  numThreadsSource(): [
    source:
      'setNumThreads' | 'RMSNORM_NUM_THREADS' | 'cgroup quota' | 'affinity mask' | 'processors',
    quota: number,
  ];
  setNumThreads(count: number): void;
}
