import type {
  NativeDeviceBuffer,
  NativeEvent,
  NativeGraph,
  NativeHostBuffer,
  NativeStream,
} from '../../binding';
import { isRevoked } from '../core/caller-values';
import { argumentError } from '../core/errors';
import { cuda } from './cuda';

// Users of these types may compile with a `lib` that lacks Symbol.dispose, or with a TypeScript that has
// no such `lib`. These declarations merge with the declarations of other packages and of TypeScript's lib.
declare global {
  interface SymbolConstructor {
    readonly dispose: unique symbol;
  }
  interface Disposable {
    [Symbol.dispose](): void;
  }
}

/** The type of the native object behind each class. */
interface Natives {
  readonly DeviceBuffer: NativeDeviceBuffer;
  readonly HostBuffer: NativeHostBuffer;
  readonly Stream: NativeStream;
  readonly CudaEvent: NativeEvent;
  readonly Graph: NativeGraph;
}
type Kind = keyof Natives;

/** The native object behind an object of this package. */
export let nativeOf: <K extends Kind>(object: GpuObject<K>) => Natives[K];

/** The native object behind any value: null unless the value is an object of this kind. Never throws. */
export let findNative: <K extends Kind>(kind: K, value: unknown) => Natives[K] | null;

/** Whether an object of this package has been disposed of. */
export let isDisposed: (object: GpuObject<Kind>) => boolean;

/** An object whose memory, stream, event or graph the native addon owns. The addon checks it at every use. */
export abstract class GpuObject<K extends Kind> {
  readonly #kind: K;
  readonly #native: Natives[K];
  #isDisposed = false;

  static {
    nativeOf = (object) => object.#native;
    isDisposed = (object) => object.#isDisposed;
    // It tests for a private field: a prototype can fake `instanceof`, and a revoked proxy makes it throw.
    findNative = <K extends Kind>(kind: K, value: unknown) => {
      if (typeof value !== 'object' || value === null || !(#native in value)) return null;
      const object = value as GpuObject<Kind>;
      return object.#kind === kind ? (object.#native as Natives[K]) : null;
    };
  }

  constructor(kind: K, native: Natives[K]) {
    this.#kind = kind;
    this.#native = native;
  }

  /** Releases the native resource. Idempotent. */
  dispose(): void {
    this.#isDisposed = true;
    cuda.dispose(this.#native);
  }

  /** Calls `dispose()`, at the end of the scope of a `using` declaration. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** The ordinal of an object's device. */
export let ordinalOf: (object: DeviceObject) => number;

/** A {@link GpuObject} that belongs to one device. */
export abstract class DeviceObject<K extends Kind = Kind> extends GpuObject<K> {
  /** The name of the object's device, such as `'cuda:0'`. */
  readonly device: `cuda:${number}`;
  readonly #ordinal: number;

  static {
    ordinalOf = (object) => object.#ordinal;
  }

  constructor(kind: K, { native, ordinal }: Existing<Natives[K]>) {
    super(kind, native);
    this.#ordinal = ordinal;
    this.device = `cuda:${ordinal}`;
  }
}

/** The native object behind an argument, which must be an object of this kind. */
export function readObject<K extends Kind>(name: string, kind: K, value: unknown): Natives[K] {
  const native = findNative(kind, value);
  if (native !== null) return native;
  throw argumentError('ERR_INVALID_ARG_TYPE', name, `a ${kind}`, value);
}

/** An existing native object, which a constructor takes instead of making a new native object. */
export class Existing<Native> {
  readonly native: Native;
  readonly ordinal: number;

  constructor(native: Native, ordinal: number) {
    this.native = native;
    this.ordinal = ordinal;
  }

  /** Whether a value is an `Existing`. `instanceof` alone would throw for a revoked proxy. */
  static is<Native>(value: unknown): value is Existing<Native> {
    return !isRevoked(value) && value instanceof Existing;
  }
}
