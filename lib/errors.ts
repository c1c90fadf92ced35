import { inspect } from 'node:util';

/** Codes of the errors this package throws; those Node.js has are Node.js's own. */
export type ErrorCode =
  | 'ERR_INVALID_ARG_TYPE'
  | 'ERR_INVALID_ARG_VALUE'
  | 'ERR_OUT_OF_RANGE'
  | 'ERR_INVALID_ENVIRONMENT'
  | 'ERR_INVALID_STATE'
  | 'ERR_MEMORY_ALLOCATION_FAILED'
  | 'ERR_ADDON_NOT_LOADED';

const constructors = {
  ERR_INVALID_ARG_TYPE: TypeError,
  ERR_INVALID_ARG_VALUE: TypeError,
  ERR_OUT_OF_RANGE: RangeError,
  ERR_INVALID_ENVIRONMENT: Error,
  ERR_INVALID_STATE: Error,
  ERR_MEMORY_ALLOCATION_FAILED: Error,
  ERR_ADDON_NOT_LOADED: Error,
} as const satisfies Record<ErrorCode, ErrorConstructor>;

/** An error of the class that belongs to `code`, with it as its `code`. */
export function codedError(
  code: ErrorCode,
  message: string,
  options?: ErrorOptions,
): Error & { code: ErrorCode } {
  return Object.assign(new constructors[code](message, options), { code });
}

/** The error for an argument that is not what it must be: every such message has this shape. */
export function argumentError(
  code: ErrorCode,
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
  if (typeof code !== 'string' || !Object.hasOwn(constructors, code)) return error;
  return codedError(code as ErrorCode, String(message), { cause: error });
}

function describe(value: unknown): string {
  if (ArrayBuffer.isView(value)) {
    const { length } = value as unknown as { length?: number };
    return `${value[Symbol.toStringTag as never] as string}(${String(length ?? value.byteLength)})`;
  }
  if (typeof value === 'function') return 'a function';
  return inspect(value, {
    depth: 0,
    breakLength: Infinity,
    maxArrayLength: 8,
    maxStringLength: 64,
  });
}
