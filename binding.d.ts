/**
 * The exports of the native addon. The addon checks everything that memory safety needs, and throws
 * errors that have a class and a `code`. The public API in `lib` adds named options, default values,
 * and outputs that the caller did not pass.
 *
 * Classes of arrays: `Float32Array` for float32, `Float64Array` for float64, `Int8Array` for int8. A
 * `Uint16Array` holds the bits of float16 or bfloat16, a `Uint8Array` the bits of float8.
 *
 * Shapes of operands:
 * - (rows, hiddenSize): x, y, residual, sumOut, dy, dx, dsum, gate, dgate;
 * - (hiddenSize): weight, dweight;
 * - (rows): rstd, which is float64 if x is float64 and else float32; scale, which is float32.
 */

export type NativeArray = Float32Array | Float64Array | Uint16Array | Int8Array | Uint8Array;

/** An array, or memory of a GPU. The operands of one call are either all arrays or all on one GPU. */
export type NativeData = NativeArray | NativeDeviceBuffer;

/** A CUDA device. Its index in the result of {@link Binding.devices} is its ordinal. */
export interface NativeDevice {
  name: string;
  computeCapability: string;
  totalMemory: number;
  multiprocessors: number;
  driverVersion: string;
}

/**
 * GPU objects. {@link CudaBinding.dispose} releases the resources of an object. If it is not called, the
 * object's finalizer releases them.
 */
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
 * Functions for GPU objects. `device` is the ordinal of a GPU, and `dtype` the number of a dtype as in
 * the call record. A `stream` of null means the default stream of the device. Work on a GPU is enqueued;
 * its errors are thrown when something waits for the stream.
 */
export interface CudaBinding {
  /**
   * Allocates uninitialised memory. If a stream is passed, the stream's next work must use the memory
   * first, since earlier work of that stream may still be using it.
   */
  createDeviceBuffer(
    device: number,
    length: number,
    dtype: number,
    stream?: NativeStream | null,
  ): NativeDeviceBuffer;
  /**
   * A buffer over memory that another library owns. The driver must know the address as memory of this
   * device, of at least this length.
   */
  foreignDeviceBuffer(
    device: number,
    pointer: bigint,
    length: number,
    dtype: number,
  ): NativeDeviceBuffer;
  /** A buffer over the same memory: the elements from `begin` up to, but not including, `end`. */
  deviceBufferView(buffer: NativeDeviceBuffer, begin: number, end: number): NativeDeviceBuffer;
  deviceBufferPointer(buffer: NativeDeviceBuffer): bigint;
  /**
   * Enqueues a copy of an array to the buffer. `dtype`, that of the array, is the buffer's or float32. On
   * return the array may be changed. `mayWait`: whether the thread may wait for earlier copies, so that a
   * long array is never all in page-locked memory at once.
   */
  deviceBufferWrite(
    buffer: NativeDeviceBuffer,
    source: NativeArray,
    dtype: number,
    stream: NativeStream | null,
    mayWait: boolean,
  ): void;
  /** Copies the buffer to an array of the buffer's dtype or of float32, and waits for the copy. */
  deviceBufferRead(
    buffer: NativeDeviceBuffer,
    target: NativeArray,
    dtype: number,
    stream: NativeStream | null,
  ): void;
  /** As `deviceBufferRead`, but without waiting: the array is written when the promise settles. */
  deviceBufferReadAsync(
    buffer: NativeDeviceBuffer,
    target: NativeArray,
    dtype: number,
    stream: NativeStream | null,
  ): Promise<void>;
  /** Enqueues a fill of every element with `value`, rounded to the dtype. */
  deviceBufferFill(buffer: NativeDeviceBuffer, value: number, stream: NativeStream | null): void;

  /** Allocates page-locked memory. Returns its owner, and an ArrayBuffer over it that `dispose` detaches. */
  createHostBuffer(device: number, byteLength: number): [NativeHostBuffer, ArrayBuffer];
  /**
   * Enqueues a copy of all bytes. Both buffers must have the same number of bytes, and at least one must be
   * a DeviceBuffer. They must not overlap, unless they are the same memory.
   */
  copyBuffer(
    target: NativeDeviceBuffer | NativeHostBuffer,
    source: NativeDeviceBuffer | NativeHostBuffer,
    stream: NativeStream | null,
  ): void;

  createStream(device: number): NativeStream;
  foreignStream(device: number, pointer: bigint): NativeStream;
  /** The stream that a `stream` of null means. Disposing of the object does not destroy the stream. */
  defaultStream(device: number): NativeStream;
  streamPointer(stream: NativeStream): bigint;
  streamSynchronize(stream: NativeStream): void;
  /** Settles when all work that has been enqueued so far is done or has failed. */
  streamPassed(stream: NativeStream): Promise<void>;
  streamIsIdle(stream: NativeStream): boolean;
  streamWait(stream: NativeStream, event: NativeEvent): void;

  createEvent(device: number, timing: boolean): NativeEvent;
  eventRecord(event: NativeEvent, stream: NativeStream | null): void;
  eventHasPassed(event: NativeEvent): boolean;
  eventSynchronize(event: NativeEvent): void;
  eventPassed(event: NativeEvent): Promise<void>;
  /** The time from `begin` to `end` in milliseconds. */
  eventElapsed(begin: NativeEvent, end: NativeEvent): number;

  beginCapture(stream: NativeStream): void;
  endCapture(stream: NativeStream): NativeGraph;
  /** Ends the capture, if there is one, and discards its graph. */
  abandonCapture(stream: NativeStream): void;
  launchGraph(graph: NativeGraph, stream: NativeStream | null): void;

  /**
   * For tests: every kernel, the oldest architecture that it is launched on (80 for compute capability
   * 8.0), and how often this process has launched it on the device.
   */
  launchCounts(device: number): { kernel: string; architecture: number; launches: number }[];
  /** Bytes of device memory that no process uses. */
  availableMemory(device: number): number;
  /**
   * The kernel files, and the image in each that the device has loaded: `'machine code'`, or PTX such as
   * `'compute_80'`; `''` if no call has needed the file.
   */
  loadedImages(device: number): { file: string; image: string }[];
  /** Frees cached memory that no work in flight uses. */
  emptyCache(): void;

  dispose(
    object: NativeDeviceBuffer | NativeHostBuffer | NativeStream | NativeEvent | NativeGraph,
  ): void;
}

/** The rule of an operand: see csrc/napi/args/operation.h. */
export interface NativeRule {
  readonly name: string;
  readonly extent: number;
  readonly element: number;
  readonly use: number;
  readonly mayEqual: number;
  readonly needs: number;
}

type Given<Data> = Data | null | undefined;

/**
 * A synchronous call. Its arguments are the stream, then the operands in the order of
 * {@link Binding.operations}. Trailing operands may be left out.
 */
export type NativeCall = (
  stream: Given<NativeStream>,
  ...operands: readonly Given<NativeData>[]
) => void;

export type NativeAsyncCall = (
  ...operands: Given<NativeArray>[]
) => Promise<(ArrayBuffer | null)[]>;

export interface Binding {
  /** `NAME@VERSION` of the package that the addon belongs to. */
  readonly package: string;
  cuda: CudaBinding;

  /** The memory of the call record (csrc/napi/args/call_record.h), and the names of its fields. */
  readonly record: ArrayBufferLike;
  readonly recordIntegers: readonly string[];
  readonly recordNumbers: readonly string[];

  /** The operands of forward and backward (csrc/napi/args/operation.h), in argument order. */
  readonly operations: Record<'forward' | 'backward', readonly NativeRule[]>;

  /**
   * Runs the call that the record describes. If the operands are in GPU memory, enqueues it on `stream`
   * instead; null is the device's default stream.
   *
   * The bits in the record's field `given` say which operands are passed. Each operand has a fixed position
   * among the arguments. Arrays are read as bytes whatever their class, since `lib` has checked the class.
   */
  readonly forward: NativeCall;
  readonly backward: NativeCall;

  /**
   * Runs the call that the record describes on another thread. Arrays over a SharedArrayBuffer are used in
   * place. The used elements of other arrays are copied at the call, and the elements of an output are
   * copied back at the end.
   *
   * The promise resolves to a list with one entry for each operand: the memory of an output that the
   * record's field `made` asks the addon to allocate, else null. A wrong argument rejects the promise. At
   * most two calls of the process run on other threads at once (one if `UV_THREADPOOL_SIZE` is 1); further
   * calls wait for their turn.
   */
  readonly forwardAsync: NativeAsyncCall;
  readonly backwardAsync: NativeAsyncCall;

  /** Asks the system to put an array on huge pages. The array must not have been written yet. */
  adviseHugePages(array: ArrayBufferView): void;

  /**
   * Converts each element of `source` to the dtype `to`, rounded to nearest even. `from` and `to` are the
   * numbers of dtypes. float64 and int8 cannot be converted; float8 converts only from and to float32.
   */
  convert(source: NativeArray, from: number, destination: NativeArray, to: number): void;

  /** Names of the CPU variants that this processor can run, best first. */
  cpuVariants(): string[];
  cpuVariant(): string;
  setCpuVariant(name: string): void;

  /** The CUDA devices; without any, the error that a call on a CUDA device would throw. */
  devices(): NativeDevice[] | Error;

  numThreads(): number;
  /** What decides `numThreads`, and the quota in processors: 0 unless a quota decides. */
  numThreadsSource(): [
    source:
      'setNumThreads' | 'RMSNORM_NUM_THREADS' | 'cgroup quota' | 'affinity mask' | 'processors',
    quota: number,
  ];
  setNumThreads(count: number): void;
}
