import { inspect } from 'node:util';

import { defineOwn } from './caller-values';

/** The code of a {@link CudaError}. An error `CUDA_ERROR_X` of the driver has the code `ERR_CUDA_X`. */
export type CudaErrorCode =
  /** There is no driver, the driver is too old, there is no device, or the kernel files are missing. */
  | 'ERR_CUDA_UNAVAILABLE'
  /** The device does not have enough memory left. */
  | 'ERR_CUDA_OUT_OF_MEMORY'
  | `ERR_CUDA_${string}`;

/** The code of an error that this package throws. Node.js's own codes are used where it has them. */
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

type NonCudaErrorCode = Exclude<ErrorCode, CudaErrorCode>;

const constructors = {
  ERR_INVALID_ARG_TYPE: TypeError,
  ERR_INVALID_ARG_VALUE: TypeError,
  ERR_OUT_OF_RANGE: RangeError,
  ERR_INVALID_ENVIRONMENT: Error,
  ERR_INVALID_STATE: Error,
  ERR_DISPOSED: Error,
  ERR_MEMORY_ALLOCATION_FAILED: Error,
  ERR_ADDON_NOT_LOADED: Error,
} as const satisfies Record<NonCudaErrorCode, ErrorConstructor>;

/** The properties of a native error of the driver, besides its code. */
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
  /**
   * The driver's name of the error, such as `'CUDA_ERROR_OUT_OF_MEMORY'`; null if it is not a driver
   * error.
   */
  readonly driverError: string | null;
  /** The driver's text for the error, such as `'out of memory'`; null if it is not a driver error. */
  readonly driverMessage: string | null;

  /** @internal */
  constructor(code: CudaErrorCode, message: string, cause: NativeCudaError) {
    super(message, { cause });
    this.code = code;
    // The copy does not have the properties that other code has added to Object.prototype.
    const own = Object.assign(Object.create(null) as NativeCudaError, cause);
    this.driverError = own.driverError ?? null;
    this.driverMessage = own.driverMessage ?? null;
  }
}

/**
 * An error of the class that belongs to `code`, which becomes its property `code`.
 *
 * @internal
 */
export function codedError(
  code: NonCudaErrorCode,
  message: string,
  options?: ErrorOptions,
): Error & { code: NonCudaErrorCode } {
  return defineOwn(new constructors[code](message, options), 'code', code);
}

/** The error for a wrong argument: it must be `expected`. */
export function argumentError(
  code: NonCudaErrorCode,
  name: string,
  expected: string,
  actual: unknown,
): Error {
  return requirementError(code, name, `be ${expected}`, actual);
}

/** The error for an argument of the wrong length. */
export function lengthError(name: string, length: number, actual: unknown): Error {
  const elements = length === 1 ? 'element' : 'elements';
  return requirementError('ERR_OUT_OF_RANGE', name, `have ${length} ${elements}`, actual);
}

/** The error for a wrong argument. All messages about arguments have this form: what the argument must do. */
export function requirementError(
  code: NonCudaErrorCode,
  name: string,
  requirement: string,
  actual: unknown,
): Error {
  return codedError(
    code,
    `The argument '${name}' must ${requirement}. Received ${describe(actual)}`,
  );
}

/**
 * Converts an error of the addon to this realm's classes, so that `instanceof` holds: a test runner runs
 * JavaScript in other realms than the addon. Returns other errors as they are.
 */
export function adoptNativeError(error: unknown): unknown {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code !== 'string') return error;
  if (code.startsWith('ERR_CUDA_')) {
    return new CudaError(code as CudaErrorCode, String(message), error as NativeCudaError);
  }
  if (!Object.hasOwn(constructors, code)) return error;
  return codedError(code as NonCudaErrorCode, String(message), { cause: error });
}

/** The longest description of a value in a message, in characters. */
const maxDescriptionLength = 200;

/** Describes a value for a message. Never throws. */
export function describe(value: unknown): string {
  if (typeof value === 'function') return 'a function';
  try {
    const text = ArrayBuffer.isView(value) ? describeView(value) : describeOther(value);
    const line = text.replaceAll(/\s*\n\s*/g, ' ');
    if (line.length <= maxDescriptionLength) return line;
    return `${line.slice(0, maxDescriptionLength)}…`;
  } catch {
    // A getter of the value threw.
    return 'an object';
  }
}

const typedArray = Object.getPrototypeOf(Uint8Array.prototype) as object;

/** Reads a view by the getters of its class: own properties of the same names could say something else. */
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
