// The native functions themselves, given anything at all: they may refuse it or take it where it
// does no harm, but never crash, and never throw an error without a code.

import fc from 'fast-check';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { types } from 'node:util';

import type { Binding } from '../../binding';
import { getCpuVariant, getNumThreads, setCpuVariant, setNumThreads } from '../../lib';
import { binding } from '../../lib/binding';
import { bits, detached, floats, outOfBounds } from '../support/refusals';

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

/**
 * Fails unless the call, or its promise, succeeds or fails with one of the codes. The short way of
 * plain calls refuses by returning false.
 */
async function outcomeOf(name: string, call: () => unknown): Promise<'refused' | 'taken'> {
  try {
    return (await call()) === false ? 'refused' : 'taken';
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
  return outcomeOf(name, () => (binding[name] as AnyFunction)(...args));
}

const symbol = Symbol('garbage');
const cyclic: Record<string, unknown> = {};
cyclic['self'] = cyclic;

/** Made anew each time: a call may write to it. */
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

/** Those over objects of a GPU: cuda-garbage.test.ts. */
type Name = Exclude<keyof Binding, 'cuda' | 'package'>;

/** Two packed rows for each of four matrices. */
const layout = () => Float64Array.from([2, ...[0, 0, 0, 0].flatMap(() => [0, 4, 2, 0])]);

/** Arguments that are taken: two rows of four. */
const valid: Readonly<Record<Name, () => unknown[]>> = {
  forward: () => [
    ...[floats(8), floats(4), floats(8), floats(2), 4, 1e-6, 0, 0],
    ...[floats(8), floats(8), layout()],
  ],
  forwardAsync: () => [
    ...[floats(8), floats(4), floats(8), true, 4, 1e-6, 0, 0],
    ...[floats(8), true, layout()],
  ],
  backward: () => [
    ...[floats(8), floats(8), floats(4), floats(2), floats(8), floats(4), 4, 1e-6, 0, 0],
    ...[floats(8), layout()],
  ],
  backwardAsync: () => [
    ...[floats(8), floats(8), floats(4), floats(2), true, true, 4, 1e-6, 0, 0],
    ...[floats(8), layout()],
  ],
  plainForward: () => [floats(8), floats(4), floats(8), 1e-6, 0],
  plainBackward: () => [floats(8), floats(8), floats(4), floats(2), floats(8), floats(4), 0],
  createPlan: () => [2, 4, 1e-6, 0, 0, floats(4)],
  adviseHugePages: () => [floats(2 ** 20)],
  convert: () => [floats(8), 0, bits(8), 2],
  devices: () => [],
  cpuVariants: () => [],
  cpuVariant: () => [],
  setCpuVariant: () => ['scalar'],
  numThreads: () => [],
  setNumThreads: () => [2],
};
/** How many of them are required, where not all are. */
const required: Readonly<Partial<Record<Name, number>>> = {
  forward: 8,
  forwardAsync: 8,
  backward: 10,
  backwardAsync: 10,
  createPlan: 5,
};
const names = Object.keys(valid) as Name[];

describe.each(names)('%s', (name) => {
  test('takes what is valid', async () => {
    expect(await expectTame(name, valid[name]())).toBe('taken');
  });

  test('too few and too many arguments', async () => {
    const args = valid[name]();
    const least = required[name] ?? args.length;
    for (let count = 0; count < least; ++count) {
      expect(await expectTame(name, args.slice(0, count))).toBe('refused');
    }
    expect(await expectTame(name, args.slice(0, least))).toBe('taken');
    expect(await expectTame(name, [...args, ...garbage()])).toBe('taken');
  });

  test('garbage in every position', async () => {
    for (let position = 0; position < valid[name]().length; ++position) {
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

  test('as a constructor, and called on something else', async () => {
    const call = Reflect.get(binding, name) as AnyFunction;
    const takesNothing = valid[name]().length === 0;
    const refusesByFalse = name.startsWith('plain'); // for which `new` gives an object
    const attempts: [() => unknown, boolean][] = [
      [() => Reflect.apply(call, symbol, []), takesNothing],
      [() => Reflect.apply(call, undefined, valid[name]()), true],
      [() => Reflect.construct(call, []) as unknown, takesNothing || refusesByFalse],
      [() => Reflect.construct(call, valid[name]()) as unknown, true],
    ];
    for (const [attempt, isTaken] of attempts) {
      expect(await outcomeOf(name, attempt)).toBe(isTaken ? 'taken' : 'refused');
    }
  });
});

test('lists of garbage and valid arguments', async () => {
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

// In a process of its own, since an allocation that fails may end it. An address has 48 bits.
test.each([2 ** 53 - 1, 2 ** 46])('a dweight of %d elements to be made', async (hiddenSize) => {
  const program = `
    const root = ${JSON.stringify(path.join(__dirname, '../..'))};
    const binding = require(${JSON.stringify(require.resolve('node-gyp-build'))})(root);
    const none = new Float32Array(0);
    const call = async () =>
      binding.backwardAsync(none, none, null, null, null, true, ${hiddenSize}, 1e-6, 0, 0);
    call().catch((error) => process.stdout.write(String(error.code)));
  `;
  const printed = await new Promise<string>((resolve) => {
    execFile(process.execPath, ['-e', program], (error, stdout) => {
      resolve(error === null ? stdout : `ended by ${error.signal ?? `code ${String(error.code)}`}`);
    });
  });
  expect(['ERR_MEMORY_ALLOCATION_FAILED', 'ERR_OUT_OF_RANGE']).toContain(printed);
});
