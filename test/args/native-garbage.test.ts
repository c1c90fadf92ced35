// Passes arbitrary values to the native functions. They may refuse a value, or accept it where it
// does no harm. They must never crash or throw an error without a code.

import fc from 'fast-check';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { types } from 'node:util';

import type { Binding } from '../../binding';
import { getCpuVariant, getNumThreads, setCpuVariant, setNumThreads } from '../../lib';
import { binding } from '../../lib/binding';
import { nativeCalls, recordFor } from '../support/native-calls';
import { bits, detached, floats, outOfBounds } from '../support/refusals';
import { errorOf } from '../support/support';

jest.setTimeout(60_000); // processes take long to start on a busy machine

const variant = getCpuVariant();
const threads = getNumThreads();
afterAll(() => {
  setCpuVariant(variant);
  setNumThreads(threads);
});

const codes = [
  'ERR_MEMORY_ALLOCATION_FAILED',
  'ERR_CUDA_UNAVAILABLE',
  'ERR_INVALID_ARG_TYPE',
  'ERR_OUT_OF_RANGE',
  'ERR_INVALID_ARG_VALUE',
];

/** Fails unless the call, or its promise, succeeds or fails with one of the codes. */
async function outcomeOf(name: string, call: () => unknown): Promise<'refused' | 'taken'> {
  try {
    await call();
    return 'taken';
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (!types.isNativeError(error) || code === undefined || !codes.includes(code)) {
      throw new Error(`${name} threw ${String(code)}: ${message}`, { cause: error });
    }
    expect(message.length).toBeGreaterThan(10);
    return 'refused';
  }
}

type AnyFunction = (...args: unknown[]) => unknown;

function expectTame(name: Name, args: readonly unknown[]): Promise<'refused' | 'taken'> {
  writeRecord(name);
  return outcomeOf(name, () => (binding[name] as AnyFunction)(...args));
}

const symbol = Symbol('garbage');
const cyclic: Record<string, unknown> = {};
cyclic['self'] = cyclic;

/** New values at each call, since a native call may write to them. */
const garbage = (): unknown[] => [
  ...[undefined, null, true, false, '', 'scalar', '4', 'x'.repeat(1000), '\0', '\ud800'],
  ...[0, -0, -1, 1, 1.5, 4, 31, 32, 256, 257, NaN, Infinity, -Infinity],
  ...[2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 53), 1e300, 5e-324, 10n, 2n ** 70n, symbol],
  ...[[], [1, 2, 3, 4], {}, cyclic, Object.freeze({ length: 4 }), () => 4, Map],
  ...[new Date(), /x/, new Map(), Promise.resolve(), new Proxy({}, {}), new Proxy(floats(8), {})],
  ...[new ArrayBuffer(32), new SharedArrayBuffer(32), new DataView(new ArrayBuffer(32))],
  ...[floats(0), floats(2), floats(4), floats(8), floats(1000), bits(0), bits(2), bits(4), bits(8)],
  ...[new Float64Array(8), new Int16Array(8), new Int32Array(8), new Uint8Array(8)],
  ...[
    new Uint8ClampedArray(8),
    new BigInt64Array(8),
    Buffer.alloc(8),
    detached(floats(8)),
    outOfBounds(),
  ],
  ...[new Float32Array(new SharedArrayBuffer(32)), new Uint16Array(new SharedArrayBuffer(16))],
];

/** The native functions that need no GPU; cuda-garbage.test.ts tests the others. */
type Name = Exclude<
  keyof Binding,
  'cuda' | 'package' | 'record' | 'recordIntegers' | 'recordNumbers' | 'operations'
>;

/** Valid operands: two rows of four columns. */
const forward = () => ({
  ...{ x: floats(8), weight: floats(4), out: floats(8), rstdOut: floats(2) },
  ...{ residual: floats(8), sumOut: floats(8), scaleOut: floats(2), gate: floats(8) },
});
const backward = () => ({
  ...{ dy: floats(8), x: floats(8), weight: floats(4), rstd: floats(2) },
  ...{ dxOut: floats(8), dweightOut: floats(4), dsum: floats(8) },
  ...{ gate: floats(8), dgateOut: floats(8) },
});
const operands = {
  forward,
  forwardAsync: () => ({ ...forward(), rstdOut: true, sumOut: true }),
  backward,
  backwardAsync: () => ({ ...backward(), dxOut: true, dweightOut: true }),
};

/** Valid arguments of each function. */
const valid: Readonly<Record<Name, () => unknown[]>> = {
  forward: () => [null, ...Object.values(operands.forward())],
  forwardAsync: () => Object.values(operands.forwardAsync()),
  backward: () => [null, ...Object.values(operands.backward())],
  backwardAsync: () => Object.values(operands.backwardAsync()),
  adviseHugePages: () => [floats(2 ** 20)],
  convert: () => [floats(8), 0, bits(8), 2],
  devices: () => [],
  cpuVariants: () => [],
  cpuVariant: () => [],
  setCpuVariant: () => ['scalar'],
  numThreads: () => [],
  numThreadsSource: () => [],
  setNumThreads: () => [2],
};

/**
 * Positions of the operands among the arguments. `null` is the stream of a synchronous call; `true`
 * is an output that the call makes.
 */
function positionsOf(name: Name): number[] {
  const args = valid[name]();
  return [...args.keys()].filter((position) => args[position] !== true && args[position] !== null);
}

const integers = new Int32Array(binding.record, 0, binding.recordIntegers.length);
const numbersAt = 8 * Math.ceil(binding.recordIntegers.length / 2);
const numbers = new Float64Array(binding.record, numbersAt);

/** Writes the call record of the valid operands; each matrix gets a layout of contiguous rows. */
function writeRecord(name: Name): void {
  if (!(name in operands)) return;
  const call = name as keyof typeof operands;
  const names = Object.keys(operands[call]());
  const matrices = names.filter((operand) => !/weight|rstd|scale/.test(operand));
  recordFor(binding, call, operands[call](), {
    hiddenSize: 4,
    layouts: Object.fromEntries(matrices.map((operand) => [operand, [0, 4, 2, 0]])),
  });
}
const names = Object.keys(valid) as Name[];

test.each(['forward', 'backward', 'forwardAsync', 'backwardAsync'] as const)(
  '%s keeps the call record alive in a read-only property',
  (name) => {
    expect(Object.getOwnPropertyDescriptor(binding[name], 'record')).toEqual({
      value: binding.record,
      writable: false,
      enumerable: false,
      configurable: false,
    });
  },
);

describe.each(names)('%s', (name) => {
  test('takes valid arguments', async () => {
    expect(await expectTame(name, valid[name]())).toBe('taken');
  });

  test('refuses too few arguments and ignores extra ones', async () => {
    const args = valid[name]();
    const least = Math.max(0, ...positionsOf(name).map((position) => position + 1));
    for (let count = 0; count < least; ++count) {
      expect(await expectTame(name, args.slice(0, count))).toBe('refused');
    }
    expect(await expectTame(name, args.slice(0, least))).toBe('taken');
    // Arguments after the operands are ignored.
    expect(await expectTame(name, [...args, ...garbage()])).toBe('taken');
  });

  test('refuses most garbage in every position', async () => {
    for (const position of positionsOf(name)) {
      const outcomes: string[] = [];
      for (const thing of garbage()) {
        const args = valid[name]();
        args[position] = thing;
        outcomes.push(await expectTame(name, args));
      }
      const refused = outcomes.filter((outcome) => outcome === 'refused');
      expect(refused.length).toBeGreaterThan(outcomes.length / 2);
    }
  });

  test('behaves the same as a constructor and with any receiver', async () => {
    const call = Reflect.get(binding, name) as AnyFunction;
    const takesNothing = valid[name]().length === 0;
    const attempts: [() => unknown, boolean][] = [
      [() => Reflect.apply(call, symbol, []), takesNothing],
      [() => Reflect.apply(call, undefined, valid[name]()), true],
      [() => Reflect.construct(call, []) as unknown, takesNothing],
      [() => Reflect.construct(call, valid[name]()) as unknown, true],
    ];
    for (const [attempt, isTaken] of attempts) {
      writeRecord(name);
      expect(await outcomeOf(name, attempt)).toBe(isTaken ? 'taken' : 'refused');
    }
  });
});

describe.each(Object.keys(operands) as Name[])('%s with a bad call record', (name) => {
  const callWith = (change: () => void) => {
    writeRecord(name);
    change();
    return outcomeOf(name, () => (binding[name] as AnyFunction)(...valid[name]()));
  };

  test.each([...binding.recordIntegers])('refuses invalid values of %s', async (field) => {
    const index = binding.recordIntegers.indexOf(field);
    for (const value of [-(2 ** 31), -2, 2 ** 20, 2 ** 31 - 1]) {
      const change = () => {
        integers[index] = value;
      };
      expect(await callWith(change)).toBe('refused');
    }
  });

  const ofAllCalls = binding.recordNumbers.filter((field) => !field.startsWith('scale'));
  test.each(ofAllCalls)('refuses invalid values of %s', async (field) => {
    const index = binding.recordNumbers.indexOf(field);
    for (const value of [NaN, Infinity, -Infinity, -(2 ** 1000), 2 ** 1000]) {
      const change = () => {
        numbers[index] = value;
      };
      expect(await callWith(change)).toBe('refused');
    }
  });

  test('succeeds or throws a coded error for random values', async () => {
    const field = fc.oneof(
      fc.nat(127),
      fc.integer(),
      fc.constantFrom(-1, 0, 1, 2, 4, 8, 2 ** 53, NaN, Infinity, 0.5, 1e300, -0),
    );
    const fields = fc.array(fc.tuple(fc.nat(integers.length + numbers.length - 1), field), {
      maxLength: 4,
    });
    await fc.assert(
      fc.asyncProperty(fields, async (changes) => {
        await callWith(() => {
          for (const [index, value] of changes) {
            if (index < integers.length) integers[index] = value;
            else numbers[index - integers.length] = value;
          }
        });
      }),
      { seed: 1, numRuns: 2000 },
    );
  });
});

describe('the call record of a quantizing call', () => {
  const settings = { hiddenSize: 4, codes: 4 };
  const call = (fields: object, more: object = {}) => {
    const operands = { x: floats(8), out: new Int8Array(8), ...more };
    nativeCalls(binding).forward(operands, { ...settings, ...fields });
  };

  test('is taken if it is valid', () => {
    call({});
    call({ scale: 0.5 });
    call({ scaleMax: 1 });
  });

  test.each([
    [{ scale: NaN }],
    [{ scale: -1 }],
    [{ scale: 1e-60 }], // 0 in float32
    [{ scale: 1e-45 }], // its inverse is infinite
    [{ scale: Infinity }],
    [{ scaleMax: NaN }],
    [{ scaleMax: 0 }],
    [{ scaleMax: -1 }],
    [{ codes: 1 }],
    [{ codes: 3 }],
    [{ codes: 7 }],
    [{ dtype: 3 }],
  ])('is refused with %p', (fields) => {
    const x = 'dtype' in fields ? new Float64Array(8) : floats(8);
    const error = errorOf(() => {
      call(fields, { x });
    });
    expect(error.code).toBe('ERR_OUT_OF_RANGE');
  });

  test('is refused for backward', () => {
    const operands = { dy: floats(8), x: floats(8), dxOut: floats(8) };
    const error = errorOf(() => {
      nativeCalls(binding).backward(operands, settings);
    });
    expect(error.code).toBe('ERR_OUT_OF_RANGE');
  });
});

test('every native function survives mixtures of garbage and valid arguments', async () => {
  const mixed = (name: Name) => {
    const positions = valid[name]().map((_, position) =>
      fc.oneof(
        { weight: 3, arbitrary: fc.constant(() => valid[name]()[position]) },
        { weight: 1, arbitrary: fc.nat(garbage().length - 1).map((i) => () => garbage()[i]) },
        { weight: 1, arbitrary: fc.anything().map((anything) => () => anything) },
        { weight: 1, arbitrary: fc.integer({ min: -2, max: 40 }).map((number) => () => number) },
      ),
    );
    return fc.record({ name: fc.constant(name), makers: fc.tuple(...positions) });
  };
  await fc.assert(
    fc.asyncProperty(fc.oneof(...names.map(mixed)), async ({ name, makers }) => {
      await expectTame(
        name,
        makers.map((make) => make()),
      );
    }),
    { seed: 1, numRuns: 3000 },
  );
});

// In its own process, which a failed allocation may end. 2^46 floats fill a 48-bit address space.
test.each([2 ** 53 - 1, 2 ** 46])(
  'backwardAsync rejects with a code when it cannot make a dweight of %d elements',
  async (hiddenSize) => {
    const program = `
    const root = ${JSON.stringify(path.join(__dirname, '../..'))};
    const binding = require(${JSON.stringify(require.resolve('node-gyp-build'))})(root);
    const { nativeCalls } = require(${JSON.stringify(require.resolve('../support/native-calls.js'))});
    const none = new Float32Array(0);
    const operands = { dy: none, x: none, dweightOut: true };
    nativeCalls(binding)
      .backwardAsync(operands, { rows: 0, hiddenSize: ${hiddenSize} })
      .catch((error) => process.stdout.write(String(error.code)));
  `;
    const printed = await new Promise<string>((resolve) => {
      execFile(process.execPath, ['-e', program], (error, stdout) => {
        resolve(
          error === null ? stdout : `ended by ${error.signal ?? `code ${String(error.code)}`}`,
        );
      });
    });
    expect(['ERR_MEMORY_ALLOCATION_FAILED', 'ERR_OUT_OF_RANGE']).toContain(printed);
  },
);
