// Checks that arguments are refused: with which error, by a call and by its asynchronous twin, and
// that nothing was written.

import { bytesOf, detach, errorOf, rejectionOf, type CodedError } from './support';

export const floats = (length: number) => new Float32Array(length);
export const bits = (length: number) => new Uint16Array(length);
export const detached = <A extends ArrayBufferView>(array: A): A => {
  detach(array);
  return array;
};

type ResizableBuffer = new (
  length: number,
  options: { maxByteLength: number },
) => ArrayBuffer & { resize(length: number): void };

/** An array of two elements whose buffer has become too short for it. */
export const outOfBounds = () => {
  const buffer = new (ArrayBuffer as unknown as ResizableBuffer)(16, { maxByteLength: 16 });
  const array = new Float32Array(buffer, 8, 2);
  buffer.resize(12);
  return array;
};

export const type = 'ERR_INVALID_ARG_TYPE';
export const value = 'ERR_INVALID_ARG_VALUE';
export const range = 'ERR_OUT_OF_RANGE';
const classes = { [type]: TypeError, [value]: TypeError, [range]: RangeError };

const arrays = 'a Float32Array, Float64Array, Uint16Array, Float16Array or DeviceBuffer';
export const anArray = `${arrays}, or a tensor { data, dims } whose data is one`;
/** For the data of a tensor. */
export const someData = `must be ${arrays}. `;
/** For a tensor beside a float32 x. */
export const floatsToo =
  'a Float32Array, or a tensor { data, dims } whose data is one, since x is float32';
export const aShape = 'an integer >= 1, or an array of such integers';
export const nonNegative = 'a number >= 0 that is finite in float32';

/**
 * The code of an error, the argument it names, what it must be or do (in part), and what was received.
 * If the code is `ERR_INVALID_ARG_VALUE` and the argument 'options', the last is an unknown
 * option's name.
 */
export type Refusal = readonly [
  code: keyof typeof classes,
  name: string,
  expected: string,
  received: string,
];

export function expectRefusal(error: CodedError, refusal: Refusal): void {
  const [code, name, expected, received] = refusal;
  expect(error).toBeInstanceOf(classes[code]);
  expect(error.code).toBe(code);
  expect(error.message).toContain(expected);
  if (name === 'options' && code === value) {
    expect(error.message.startsWith(`Unknown option ${received}`)).toBe(true);
    return;
  }
  expect(error.message.startsWith(`The argument '${name}' must `)).toBe(true);
  expect(error.message.endsWith(`. Received ${received}`)).toBe(true);
}

/** A function of the API, called with arguments that TypeScript would reject. */
export type AnyFunction = (...args: unknown[]) => unknown;

/** The errors of a call and of its asynchronous twin. */
export async function errorsOf(
  [sync, async]: readonly unknown[],
  args: readonly unknown[],
): Promise<CodedError[]> {
  const ofSync = errorOf(() => (sync as AnyFunction)(...args));
  return [ofSync, await rejectionOf((async as AnyFunction)(...args) as Promise<unknown>)];
}

/** One test for each row: its title, the arguments, and the refusal. */
export function describeRefusals(
  title: string,
  functions: readonly unknown[],
  rows: readonly (readonly [string, readonly unknown[], ...Refusal])[],
): void {
  describe(title, () => {
    test.each(rows)('%s', async (_, args, ...refusal) => {
      const options = (args.at(-1) ?? {}) as Record<string, unknown>;
      const arrays = [...args, ...Object.values(options)].filter(
        (arg): arg is ArrayBufferView => ArrayBuffer.isView(arg) && arg.byteLength > 0,
      );
      for (const array of arrays) bytesOf(array).fill(0x5a);
      for (const error of await errorsOf(functions, args)) expectRefusal(error, refusal);
      for (const array of arrays) expect(bytesOf(array).every((byte) => byte === 0x5a)).toBe(true);
    });
  });
}
