// The native functions over objects of a GPU, called with any arguments. They refuse the arguments
// or accept them harmlessly. They never crash, and never throw an error without a code.

import fc from 'fast-check';
import { types } from 'node:util';

import type { CudaBinding } from '../../binding';
import { binding } from '../../lib/binding';
import { onGpu } from '../support/gpu';
import { bits, detached, floats, outOfBounds } from '../support/refusals';

const { cuda } = binding;
type Name = keyof CudaBinding;

const codes = [
  ...['ERR_INVALID_ARG_TYPE', 'ERR_OUT_OF_RANGE', 'ERR_INVALID_ARG_VALUE', 'ERR_DISPOSED'],
  ...['ERR_INVALID_STATE', 'ERR_CUDA_OUT_OF_MEMORY', 'ERR_CUDA_INVALID_HANDLE'],
];

/** Fails unless the call, or its promise, succeeds or fails with one of the codes. */
async function outcomeOf(
  name: string,
  args: readonly unknown[],
  native = Reflect.get(cuda, name) as (...args: unknown[]) => unknown,
): Promise<'refused' | 'taken'> {
  try {
    await native(...args);
    return 'taken';
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (!types.isNativeError(error) || code === undefined || !codes.includes(code)) {
      throw new Error(`${name} threw ${String(code)}: ${message}`, { cause: error });
    }
    return 'refused';
  }
}

onGpu('the native functions', () => {
  // Filled, because a simulated GPU reports reads of memory that was never written.
  const buffer = (dtype = 0) => {
    const made = cuda.createDeviceBuffer(0, 8, dtype);
    cuda.deviceBufferFill(made, 1, null);
    cuda.streamSynchronize(cuda.defaultStream(0));
    return made;
  };
  const host = () => cuda.createHostBuffer(0, 32)[0];
  const stream = () => cuda.createStream(0);
  const event = () => cuda.createEvent(0, false);
  const recorded = () => {
    const made = cuda.createEvent(0, true);
    cuda.eventRecord(made, null);
    cuda.eventSynchronize(made);
    return made;
  };
  const capturing = () => {
    const made = stream();
    cuda.beginCapture(made);
    return made;
  };
  const graph = () => cuda.endCapture(capturing());
  const disposed = <T extends Parameters<CudaBinding['dispose']>[0]>(made: T): T => {
    cuda.dispose(made);
    return made;
  };

  /** Arguments that each function accepts. */
  const valid: Readonly<Record<Name, () => unknown[]>> = {
    createDeviceBuffer: () => [0, 8, 2, stream()],
    foreignDeviceBuffer: () => [0, cuda.deviceBufferPointer(buffer()), 4, 0],
    deviceBufferView: () => [buffer(), 1, 5],
    deviceBufferPointer: () => [buffer()],
    deviceBufferWrite: () => [buffer(), floats(8), 0, stream(), true],
    deviceBufferRead: () => [buffer(), floats(8), 0, null],
    deviceBufferReadAsync: () => [buffer(), floats(8), 0, null],
    deviceBufferFill: () => [buffer(), 1.5, stream()],
    createHostBuffer: () => [0, 32],
    copyBuffer: () => [buffer(), host(), stream()],
    createStream: () => [0],
    foreignStream: () => [0, 0n],
    defaultStream: () => [0],
    streamPointer: () => [stream()],
    streamSynchronize: () => [stream()],
    streamPassed: () => [stream()],
    streamIsIdle: () => [stream()],
    streamWait: () => [stream(), event()],
    createEvent: () => [0, true],
    eventRecord: () => [event(), stream()],
    eventHasPassed: () => [event()],
    eventSynchronize: () => [event()],
    eventPassed: () => [event()],
    eventElapsed: () => [recorded(), recorded()],
    beginCapture: () => [stream()],
    endCapture: () => [capturing()],
    abandonCapture: () => [capturing()],
    launchGraph: () => [graph(), stream()],
    launchCounts: () => [0],
    availableMemory: () => [0],
    loadedImages: () => [0],
    emptyCache: () => [],
    dispose: () => [buffer()],
  };
  const names = Object.keys(valid) as Name[];

  const garbage = (): unknown[] => [
    ...[undefined, null, true, '', 'x', 0, -1, 1.5, 3, 8, 2 ** 53, NaN, Infinity, 1e300],
    ...[1n, -1n, 2n ** 64n, 2n ** 40n, Symbol('x'), {}, [], () => 1, new Proxy({}, {})],
    ...[floats(8), floats(7), bits(8), detached(floats(8)), outOfBounds(), new Float64Array(8)],
    ...([new ArrayBuffer(32), Object.create(buffer()), new Proxy(buffer(), {})] as unknown[]),
    ...[buffer(), buffer(1), host(), stream(), event(), graph()],
    ...[disposed(buffer()), disposed(host()), disposed(stream()), disposed(event())],
    ...[disposed(graph()), capturing()],
  ];

  test('are all tested here', () => {
    expect(Object.keys(cuda).sort()).toEqual([...names].sort());
  });

  describe.each(names)('%s', (name) => {
    test('accepts valid arguments and refuses missing ones', async () => {
      expect(await outcomeOf(name, valid[name]())).toBe('taken');
      expect(await outcomeOf(name, [...valid[name](), ...garbage()])).toBe('taken');
      const takesNothing = valid[name]().length === 0;
      expect(await outcomeOf(name, [])).toBe(takesNothing ? 'taken' : 'refused');
    });

    test('refuses most garbage in every position', async () => {
      for (let position = 0; position < valid[name]().length; ++position) {
        const outcomes: string[] = [];
        for (const thing of garbage()) {
          const args = valid[name]();
          args[position] = thing;
          outcomes.push(await outcomeOf(name, args));
        }
        const refused = outcomes.filter((outcome) => outcome === 'refused');
        expect(refused.length).toBeGreaterThan(outcomes.length / 2);
      }
    });

    test('refuses disposed objects', async () => {
      const args = valid[name]();
      for (const arg of args) {
        if (typeof arg === 'object' && arg !== null && !ArrayBuffer.isView(arg)) {
          disposed(arg as Parameters<typeof disposed>[0]);
        }
      }
      const isTaken = !args.some((arg) => typeof arg === 'object' && !ArrayBuffer.isView(arg));
      const isTame = name === 'dispose' || name === 'abandonCapture' || args.includes(null);
      if (!isTame) expect(await outcomeOf(name, args)).toBe(isTaken ? 'taken' : 'refused');
    });
  });

  test('survive mixtures of garbage and valid arguments', async () => {
    const things = garbage().length;
    const call = fc.constantFrom(...names).chain((name) =>
      fc.tuple(
        fc.constant(name),
        fc.array(fc.option(fc.nat(things - 1)), {
          minLength: valid[name]().length,
          maxLength: valid[name]().length,
        }),
      ),
    );
    await fc.assert(
      fc.asyncProperty(call, async ([name, picks]) => {
        const [args, pool] = [valid[name](), garbage()];
        await outcomeOf(
          name,
          args.map((arg, i) => (picks[i] == null ? arg : pool[picks[i]])),
        );
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  test('of the operator survive arrays, buffers and garbage', async () => {
    const operands = (): unknown[] => [
      ...[floats(8), floats(4), floats(2), bits(8), buffer(), buffer(2)],
      ...[cuda.deviceBufferView(buffer(), 0, 4), cuda.deviceBufferView(buffer(), 0, 2)],
      ...[null, undefined, true, 4, {}, host(), stream(), disposed(buffer()), new Float64Array(17)],
    ];
    const pick = fc.nat(operands().length - 1);
    const format = fc.constantFrom(0, 1, 2, 3, 32, 33, 34, 35, 64, 32 + 8, 32 * 900);
    const names = ['forward', 'backward', 'forwardAsync', 'backwardAsync'] as const;
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...names),
        format,
        fc.array(pick, { minLength: 10, maxLength: 10 }),
        async (name, bits, picks) => {
          const pool = operands();
          const picked = picks.map((i) => pool[i]);
          const count = name.startsWith('forward') ? 4 : 6;
          const args = [...picked.slice(0, count), 4, 1e-6, 0, bits, ...picked.slice(count)];
          await outcomeOf(name, args, Reflect.get(binding, name) as never);
        },
      ),
      { seed: 2, numRuns: 3000 },
    );
  });
});
