/**
 * The exports of the native addon. It checks everything that memory safety needs and throws typed
 * errors. The public API in `lib` adds names, defaults and outputs.
 *
 * Arrays of float32 are `Float32Array`, of float64 `Float64Array`, of float16 and bfloat16
 * `Uint16Array` (their bits), of int8 `Int8Array`, of float8 `Uint8Array` (their bits). Shapes: x, y,
 * residual, sumOut, dy, dx, dsum, gate, dgate are (rows, hiddenSize); weight, dweight (hiddenSize);
 * rstd (rows), of float32, or float64 beside float64; scale (rows), of float32.
 */

export type NativeArray = Float32Array | Float64Array | Uint16Array | Int8Array | Uint8Array;

/** An array, or memory of a device. The operands of a call are all arrays, or all on one device. */
export type NativeData = NativeArray | NativeDeviceBuffer;

/** A CUDA device. Its index in the array is its ordinal. */
export interface NativeDevice {
  name: string;
  computeCapability: string;
  totalMemory: number;
  multiprocessors: number;
  driverVersion: string;
}

/** GPU objects. `dispose` releases their resources; without it, a finalizer does. */
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
 * Functions for GPU objects. `device` is an ordinal, and `dtype` a code as in the call record. A null
 * stream is the default stream of the device. Work is enqueued; its errors are thrown when the stream
 * is waited for.
 */
export interface CudaBinding {
  /**
   * With a stream: for its next work. The memory may then still be in use by earlier work of the
   * stream.
   */
  createDeviceBuffer(
    device: number,
    length: number,
    dtype: number,
    stream?: NativeStream | null,
  ): NativeDeviceBuffer;
  /** Memory that another library owns. The driver must know it as memory of this device and length. */
  foreignDeviceBuffer(
    device: number,
    pointer: bigint,
    length: number,
    dtype: number,
  ): NativeDeviceBuffer;
  /** The elements from `begin` up to, but not including, `end`, over the same memory. */
  deviceBufferView(buffer: NativeDeviceBuffer, begin: number, end: number): NativeDeviceBuffer;
  deviceBufferPointer(buffer: NativeDeviceBuffer): bigint;
  /**
   * Copies an array of the buffer's dtype or of float32, with its values at the call. `mayWait`: the
   * thread may wait for earlier copies, so that a long array is never all in page-locked memory at once.
   */
  deviceBufferWrite(
    buffer: NativeDeviceBuffer,
    source: NativeArray,
    dtype: number,
    stream: NativeStream | null,
    mayWait: boolean,
  ): void;
  /** Copies to an array of the buffer's dtype or of float32, and waits for the copy. */
  deviceBufferRead(
    buffer: NativeDeviceBuffer,
    target: NativeArray,
    dtype: number,
    stream: NativeStream | null,
  ): void;
  /** `deviceBufferRead` without waiting: the array is written when the promise settles. */
  deviceBufferReadAsync(
    buffer: NativeDeviceBuffer,
    target: NativeArray,
    dtype: number,
    stream: NativeStream | null,
  ): Promise<void>;
  deviceBufferFill(buffer: NativeDeviceBuffer, value: number, stream: NativeStream | null): void;

  /** Page-locked memory, with an ArrayBuffer over it that `dispose` detaches. */
  createHostBuffer(device: number, byteLength: number): [NativeHostBuffer, ArrayBuffer];
  /** Copies as many bytes as both have. At least one of them is on a device. */
  copyBuffer(
    target: NativeDeviceBuffer | NativeHostBuffer,
    source: NativeDeviceBuffer | NativeHostBuffer,
    stream: NativeStream | null,
  ): void;

  createStream(device: number): NativeStream;
  foreignStream(device: number, pointer: bigint): NativeStream;
  /** The stream that null means. Disposing of the object does not destroy it. */
  defaultStream(device: number): NativeStream;
  streamPointer(stream: NativeStream): bigint;
  streamSynchronize(stream: NativeStream): void;
  /** Settles when the work that is enqueued now is done or has failed. */
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
   * The kernel files, and the image that each was loaded from on the device: `'machine code'`, or PTX
   * such as `'compute_80'`; `''` if no call has needed the file.
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

/** The stream, then the operands in the order of the operation. The last ones may be left out. */
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
   * Runs the call that the record describes, or enqueues it on `stream`; null is the device's default
   * stream. The bits of the record say which operands are provided; each has its fixed position. Arrays
   * are read as bytes whatever their class, since the caller has checked that.
   */
  readonly forward: NativeCall;
  readonly backward: NativeCall;

  /**
   * The same on another thread. Arrays over a SharedArrayBuffer are used in place. The used elements of
   * other arrays are copied at the call, and those of an output are copied back at the end. Resolves to
   * a list by operand: the outputs that the record asks for, null for the others. A wrong argument
   * rejects the promise. At most two calls of the process run on other threads at once; further calls
   * wait for their turn.
   */
  readonly forwardAsync: NativeAsyncCall;
  readonly backwardAsync: NativeAsyncCall;

  /** Asks for huge pages for an array that has not been written yet. */
  adviseHugePages(array: ArrayBufferView): void;

  /**
   * destination[i] = source[i] in another dtype, rounded to nearest even. Not for float64 and int8;
   * float8 converts only from and to float32.
   */
  convert(source: NativeArray, from: number, destination: NativeArray, to: number): void;

  /** Names of the CPU variants that this processor can run, best first. */
  cpuVariants(): string[];
  cpuVariant(): string;
  setCpuVariant(name: string): void;

  /** The CUDA devices, or the error that a call on one would throw. */
  devices(): NativeDevice[] | Error;

  numThreads(): number;
  /** The source of the number, and the quota in processors; 0 unless a quota is the source. */
  numThreadsSource(): [
    source:
      'setNumThreads' | 'RMSNORM_NUM_THREADS' | 'cgroup quota' | 'affinity mask' | 'processors',
    quota: number,
  ];
  setNumThreads(count: number): void;
}
