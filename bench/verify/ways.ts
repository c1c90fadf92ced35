// Makes a call on the CPU, and on a GPU in each of several ways (through buffers, arrays, promises, graphs
// or two streams). Each way returns the memory of the results, once or more.

import {
  CudaEvent,
  DeviceBuffer,
  Graph,
  HostBuffer,
  rmsNorm,
  Stream,
  type BufferDType,
  type CudaDevice,
  type QuantizedDType,
} from 'fused-rmsnorm';

import type { CheckedCall } from './cases';
import type { WayName } from './groups';
import { argumentOf, epsOf, type Memory, type OperandName, type Operands } from './operands';

/** The memory of each result. */
export type Results = ReadonlyMap<OperandName, Memory>;

type Device = CudaDevice['device'];
type Way = (
  call: CheckedCall,
  operands: Operands,
  device: Device,
) => Results[] | Promise<Results[]>;

/** Any function of the operator, without types of arguments: `compute` passes matching ones. */
type Operator = (...args: unknown[]) => unknown;

export function onCpu(call: CheckedCall, operands: Operands): Results {
  return onArrays(call, operands, {});
}

export const ways: Readonly<Record<WayName, Way>> = {
  buffers: (call, operands, device) => {
    const stream = Stream.default(device);
    const buffers = new Buffers(operands, device);
    try {
      buffers.fill(stream);
      buffers.run(call, stream);
      return [buffers.read(stream)];
    } finally {
      buffers.dispose();
    }
  },
  arrays: (call, operands, device) => [onArrays(call, operands, { device })],
  graph: (call, operands, device) => {
    const stream = new Stream({ device });
    const buffers = new Buffers(operands, device);
    const disposables: { dispose(): void }[] = [buffers, stream];
    try {
      const graph = Graph.capture(stream, () => {
        buffers.run(call, stream);
      });
      disposables.unshift(graph);
      return [1, 2].map(() => {
        buffers.fill(stream);
        graph.launch(stream);
        return buffers.read(stream);
      });
    } finally {
      for (const each of disposables) each.dispose();
    }
  },
  // First through page-locked memory, which the GPU reads and writes itself, then through arrays.
  promises: async (call, operands, device) => {
    const stream = new Stream({ device });
    const buffers = new Buffers(operands, device);
    const hosts: HostBuffer<BufferDType>[] = [];
    try {
      const copies = Array.from(buffers, ([name, buffer, memory]) => {
        const host = new HostBuffer(buffer.length, buffer.dtype, { device });
        hosts.push(host);
        host.array.set(memory);
        buffer.copyFrom(host, { stream });
        return { name, buffer, host };
      });
      buffers.run(call, stream);
      const written = copies.filter(({ name }) => buffers.isWritten(name));
      for (const { buffer, host } of written) buffer.copyTo(host, { stream });
      await stream.synchronizeAsync();
      const first = new Map(written.map(({ name, host }) => [name, host.array.slice()]));
      await Promise.all(
        Array.from(buffers, ([, buffer, memory]) => buffer.copyFromAsync(memory, { stream })),
      );
      buffers.run(call, stream);
      const second = written.map(async ({ name, buffer }) => {
        return [name, await buffer.toHostAsync({ stream })] as const;
      });
      return [first, new Map(await Promise.all(second))];
    } finally {
      for (const each of [...hosts, buffers, stream]) each.dispose();
    }
  },
  // One call's operands are copied on the first stream and used on the second; the next call does
  // it the other way round.
  streams: (call, operands, device) => {
    const streams = [new Stream({ device }), new Stream({ device })] as const;
    const [first, second] = streams;
    const turns = [
      { copies: first, runs: second },
      { copies: second, runs: first },
    ].map((turn) => ({ ...turn, buffers: new Buffers(operands, device) }));
    const events: CudaEvent[] = [];
    const order = (before: Stream, after: Stream) => {
      const event = new CudaEvent({ device, timing: false });
      events.push(event);
      event.record(before);
      after.wait(event);
    };
    try {
      for (const { copies, runs, buffers } of turns) {
        buffers.fill(copies);
        order(copies, runs);
        buffers.run(call, runs);
        order(runs, copies);
      }
      return turns.map(({ copies, buffers }) => buffers.read(copies));
    } finally {
      for (const { buffers } of turns) buffers.dispose();
      for (const each of [...events, ...streams]) each.dispose();
    }
  },
};

/** The operands of a call in GPU memory. */
class Buffers {
  readonly #operands: Operands;
  readonly #written: ReadonlySet<OperandName>;
  readonly #buffers = new Map<OperandName, DeviceBuffer<BufferDType>>();
  readonly #views: DeviceBuffer<BufferDType>[] = [];

  constructor(operands: Operands, device: Device) {
    this.#operands = operands;
    this.#written = new Set(operands.results.values());
    for (const [name, { memory, dtype }] of operands.byName) {
      this.#buffers.set(name, new DeviceBuffer(memory.length, dtype, { device }));
    }
  }

  /** Each buffer, with its contents before the call. */
  *[Symbol.iterator](): Generator<[OperandName, DeviceBuffer<BufferDType>, Memory]> {
    for (const [name, buffer] of this.#buffers) {
      yield [name, buffer, this.#operands.byName.get(name)?.memory as Memory];
    }
  }

  isWritten(name: OperandName): boolean {
    return this.#written.has(name);
  }

  /** Enqueues copies that restore the contents before the call. */
  fill(stream: Stream): void {
    for (const [, buffer, memory] of this) buffer.copyFrom(memory, { stream });
  }

  run(call: CheckedCall, stream: Stream): void {
    compute(call, this.#operands, { stream }, (name, layout) => {
      const argument = argumentOf(layout, this.#buffers.get(name) as DeviceBuffer<BufferDType>);
      if (argument instanceof DeviceBuffer) this.#views.push(argument);
      return argument;
    });
  }

  read(stream: Stream): Results {
    const written = [...this.#buffers].filter(([name]) => this.isWritten(name));
    return new Map(written.map(([name, buffer]) => [name, buffer.toHost({ stream })]));
  }

  dispose(): void {
    for (const each of [...this.#views, ...this.#buffers.values()]) each.dispose();
  }
}

function onArrays(call: CheckedCall, operands: Operands, where: { device?: Device }): Results {
  const arrays = new Map(
    Array.from(operands.byName, ([name, { memory }]) => [name, memory.slice()] as const),
  );
  compute(call, operands, where, (name, layout) =>
    argumentOf(layout, arrays.get(name) as Float32Array),
  );
  const written = new Set(operands.results.values());
  return new Map(Array.from(written, (name) => [name, arrays.get(name) as Memory] as const));
}

/** Makes the call. `argument` makes the argument for each operand. */
function compute(
  call: CheckedCall,
  { byName, results }: Operands,
  where: object,
  argument: (name: OperandName, layout: Parameters<typeof argumentOf>[0]) => unknown,
): void {
  const args = new Map(
    Array.from(byName, ([name, { layout }]) => [name, argument(name, layout)] as const),
  );
  const input = (name: OperandName) => args.get(name) ?? null;
  const output = (name: OperandName) => args.get(results.get(name) ?? name);
  const { dtype, castOrder, weightOffset, hiddenSize, gradients } = call;
  const options = {
    ...{ dtype, castOrder, weightOffset, eps: epsOf(call), normalizedShape: hiddenSize },
    ...(call.gate !== 'none' && { gate: input('gate'), gateOrder: call.gate }),
    ...where,
  };
  if (call.op === 'forward') {
    (rmsNorm.forward as Operator)(input('x'), input('weight'), {
      ...options,
      ...{ out: output('y'), rstdOut: output('rstd') },
      ...(call.isAdded && { residual: input('residual'), sumOut: output('sum') }),
      ...(call.quantize !== 'none' && {
        quantize: call.quantize,
        ...scaleOf(call.scale, call.quantize, output('scale')),
      }),
    });
    return;
  }
  (rmsNorm.backward as Operator)(input('dy'), input('x'), input('weight'), input('rstd'), {
    ...options,
    ...(gradients === 'dweight' ? { needsDx: false } : { dxOut: output('dx') }),
    ...(results.has('dgate') && { dgateOut: output('dgate') }),
    ...(results.has('dweight') ? { dweightOut: output('dweight') } : { needsDweight: false }),
    ...(call.isAdded && { dsum: input('dsum') }),
    accumulate: call.accumulates,
  });
}

/** Smaller than some rows need, so that some of their codes are the largest. */
const lowScales: Readonly<Record<QuantizedDType, number>> = {
  int8: 0.018,
  float8_e4m3: 0.0051,
  float8_e5m2: 4e-5,
};

/** The options for a kind of scale. */
function scaleOf(kind: CheckedCall['scale'], codes: QuantizedDType, scaleOut: unknown): object {
  if (kind === 'static') return { scale: lowScales[codes] };
  return { scaleOut, ...(kind === 'bounded' && { scaleMax: lowScales[codes] }) };
}
