import { inspect } from 'node:util';

import { defineOwn } from './caller-values';

/**
 * Codes of {@link CudaError}. Those of the driver's errors are its own names: `ERR_CUDA_X` for
 * `CUDA_ERROR_X`.
 */
export type CudaErrorCode =
  /** There is no driver, one too old, no device, or the files of the addon's kernels are missing. */
  | 'ERR_CUDA_UNAVAILABLE'
  /** The device has not as much memory left. */
  | 'ERR_CUDA_OUT_OF_MEMORY'
  | `ERR_CUDA_${string}`;

/** Codes of the errors this package throws; those Node.js has are Node.js's own. */
export type ErrorCode =
  | 'ERR_INVALID_ARG_TYPE'
  | 'ERR_INVALID_ARG_VALUE'
  | 'ERR_OUT_OF_RANGE'
  | 'ERR_INVALID_ENVIRONMENT'
  | 'ERR_INVALID_STATE'
  | 'ERR_DISPOSED'
  | 'ERR_MEMORY_ALLOCATION_FAILED'
  | 'ERR_ADDON_NOT_LOADED'
  | CudaErrorCode;

type PlainErrorCode = Exclude<ErrorCode, CudaErrorCode>;

const constructors = {
  ERR_INVALID_ARG_TYPE: TypeError,
  ERR_INVALID_ARG_VALUE: TypeError,
  ERR_OUT_OF_RANGE: RangeError,
  ERR_INVALID_ENVIRONMENT: Error,
  ERR_INVALID_STATE: Error,
  ERR_DISPOSED: Error,
  ERR_MEMORY_ALLOCATION_FAILED: Error,
  ERR_ADDON_NOT_LOADED: Error,
} as const satisfies Record<PlainErrorCode, ErrorConstructor>;

/** What the native error of a CUDA call tells beside its code. */
interface NativeCudaError {
  readonly driverError?: string;
  readonly driverMessage?: string;
}

/** CUDA is not available, or its driver reported an error. */
export class CudaError extends Error {
  /** `'CudaError'`. */
  override readonly name = 'CudaError';
  /** What went wrong, such as `'ERR_CUDA_OUT_OF_MEMORY'`. */
  readonly code: CudaErrorCode;
  /** The driver's name of its error, such as `'CUDA_ERROR_OUT_OF_MEMORY'`; null if it was not its. */
  readonly driverError: string | null;
  /** The driver's text for it, such as `'out of memory'`; null if it was not its. */
  readonly driverMessage: string | null;

  /** @internal */
  constructor(code: CudaErrorCode, message: string, cause: NativeCudaError) {
    super(message, { cause });
    this.code = code;
    // Without what other code has given to all objects.
    const own = Object.assign(Object.create(null) as NativeCudaError, cause);
    this.driverError = own.driverError ?? null;
    this.driverMessage = own.driverMessage ?? null;
  }
}

/**
 * An error of the class that belongs to `code`, with it as its `code`.
 *
 * @internal
 */
export function codedError(
  code: PlainErrorCode,
  message: string,
  options?: ErrorOptions,
): Error & { code: PlainErrorCode } {
  return defineOwn(new constructors[code](message, options), 'code', code);
}

/** The error for an argument that is not what it must be: every such message has this shape. */
export function argumentError(
  code: PlainErrorCode,
  name: string,
  expected: string,
  actual: unknown,
): Error {
  return codedError(
    code,
    `The argument '${name}' must be ${expected}. Received ${describe(actual)}`,
  );
}

/** The same error as the native one, of this realm's classes, so that `instanceof` holds. */
export function adoptNativeError(error: unknown): unknown {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code !== 'string') return error;
  if (code.startsWith('ERR_CUDA_')) {
    return new CudaError(code as CudaErrorCode, String(message), error as NativeCudaError);
  }
  if (!Object.hasOwn(constructors, code)) return error;
  return codedError(code as PlainErrorCode, String(message), { cause: error });
}

/** A message must end somewhere, whatever it describes. */
const longestDescription = 200;

/** A value in a message. Never throws, whatever the value is. */
export function describe(value: unknown): string {
  if (typeof value === 'function') return 'a function';
  try {
    const text = ArrayBuffer.isView(value) ? describeView(value) : describeOther(value);
    const line = text.replaceAll(/\s*\n\s*/g, ' ');
    if (line.length <= longestDescription) return line;
    return `${line.slice(0, longestDescription)}…`;
  } catch {
    // A getter of the value threw.
    return 'an object';
  }
}

const typedArray = Object.getPrototypeOf(Uint8Array.prototype) as object;

/** By what the view is: it may have properties of its own that say something else. */
function describeView(view: ArrayBufferView): string {
  const kind: unknown = Reflect.get(typedArray, Symbol.toStringTag, view);
  if (typeof kind === 'string')
    return `${kind}(${String(Reflect.get(typedArray, 'length', view))})`;
  return `DataView(${String(Reflect.get(DataView.prototype, 'byteLength', view))})`;
}

function describeOther(value: unknown): string {
  return inspect(value, {
    depth: 0,
    breakLength: Infinity,
    customInspect: false,
    maxArrayLength: 8,
    maxStringLength: 64,
  });
}
