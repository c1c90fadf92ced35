import { CudaError, CudaEvent, Graph, Stream, type CudaDevice } from 'fused-rmsnorm';

import { makeArrays, type Elements } from '../cases/arrays';
import { caseName, minimumBytes, type Case } from '../cases/cases';
import { answerOfCpu, GpuSets } from './sets';
import type { Schedule } from '../measure/measure';
import type { CaseResult } from '../report/result';
import { timeSubjects, type TimedSubject } from '../subjects/subject';
import { WrongAnswer, type Answer } from '../cases/verify';

/**
 * What a case's sets of buffers have together at least, so that each is in DRAM when its turn comes:
 * more than twice the second-level cache of any GPU of these years.
 */
const usualFootprint = 256 * 2 ** 20;

/** Sets at most: small cases stay in the cache instead of taking that many launches a round. */
const mostSets = 4096;

/**
 * Times a case on data that a GPU has: kernels between events, enqueued one by one or as a graph,
 * and copies from device to device of as many bytes. Throws WrongAnswer unless all bits are the
 * CPU's, before and after. Returns a text where the GPU has too little memory.
 */
export async function timeOnGpu(
  one: Case,
  device: CudaDevice,
  schedule: Schedule,
  onRound: () => void,
  footprint = usualFootprint,
): Promise<CaseResult | string> {
  const arrays = makeArrays(one);
  const expected = answerOfCpu(one, arrays);
  const count = Math.min(mostSets, Math.max(2, Math.ceil(footprint / minimumBytes(one))));
  const stream = new Stream({ device: device.device });
  let sets: GpuSets | undefined;
  const disposables: { dispose(): void }[] = [stream];
  try {
    sets = new GpuSets(one, arrays, count, stream);
    const memory = sets;
    const all = Array.from({ length: count }, (_, set) => set);
    const graphOf = (call: (set: number) => void) => {
      const graph = Graph.capture(stream, () => {
        all.forEach(call);
      });
      disposables.push(graph);
      return graph;
    };
    const call = (set: number) => {
      memory.call(set);
    };
    const planned = (set: number) => {
      memory.planned(set);
    };
    const fresh = (set: number) => {
      for (const buffer of Object.values(memory.fresh(set))) buffer.dispose();
    };
    const copy = (set: number) => {
      memory.copy(set);
    };
    const graph = graphOf(planned);
    const check = () => {
      const compute = {
        ours: () => {
          all.forEach(call);
        },
        'ours plan': () => {
          all.forEach(planned);
        },
        'ours graph': () => {
          graph.launch(stream);
        },
      };
      for (const [name, enqueue] of Object.entries(compute)) {
        memory.fill();
        enqueue();
        compare(one, name, expected, memory.answer(count - 1));
      }
      memory.fill();
      compare(one, 'ours fresh', expected, memory.toHost(memory.fresh(count - 1)));
    };
    check();

    const timer = new EventTimer(stream);
    disposables.push(timer);
    const subjects = [
      timer.subject('ours', 'ours', count, call),
      { ...timer.subject('ours fresh', 'ours', count, fresh), outputs: 'fresh' as const },
      timer.subject('ours plan', 'ours', count, planned),
      timer.graphSubject('ours graph', 'ours', count, graph),
      timer.subject('device copy', 'limit', count, copy),
      timer.graphSubject('device copy graph', 'limit', count, graphOf(copy)),
    ];
    const results = await timeSubjects(subjects, schedule, onRound);
    check();
    return {
      ...one,
      device: device.device,
      sets: count,
      minimumBytes: minimumBytes(one),
      subjects: results,
    };
  } catch (error) {
    if (!(error instanceof CudaError) || error.code !== 'ERR_CUDA_OUT_OF_MEMORY') throw error;
    return 'the GPU has too little memory';
  } finally {
    sets?.dispose();
    for (const each of disposables.reverse()) each.dispose();
  }
}

/** Throws unless an answer has the bits of the CPU's. */
export function compare(one: Case, subject: string, expected: Answer, actual: Answer): void {
  for (const [name, values] of Object.entries(expected) as [keyof Answer, Elements][]) {
    const received = actual[name];
    if (received !== undefined && bytesOf(values).equals(bytesOf(received))) continue;
    throw new WrongAnswer(
      `${subject} is wrong at ${caseName(one)}: ${name} has not the bits of the CPU`,
    );
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

type GpuRole = 'ours' | 'limit';

function subjectOf(name: string, role: GpuRole, run: TimedSubject['run']): TimedSubject {
  return { name, role, computes: role === 'ours' ? 'rms-norm' : 'movement', outputs: 'given', run };
}

/** Times what is enqueued on a stream between two events: where the host is slower, the host. */
class EventTimer {
  readonly #stream: Stream;
  readonly #begin: CudaEvent;
  readonly #end: CudaEvent;

  constructor(stream: Stream) {
    this.#stream = stream;
    this.#begin = new CudaEvent({ device: stream.device });
    this.#end = new CudaEvent({ device: stream.device });
  }

  dispose(): void {
    this.#begin.dispose();
    this.#end.dispose();
  }

  subject(name: string, role: GpuRole, sets: number, call: (set: number) => void): TimedSubject {
    let next = 0;
    const run = (repeats: number) =>
      this.#time(() => {
        for (let i = 0; i < repeats; ++i) call(next++ % sets);
      });
    return subjectOf(name, role, run);
  }

  /** Of a graph that computes the case once for each set. */
  graphSubject(name: string, role: GpuRole, sets: number, graph: Graph): TimedSubject {
    const run = async (repeats: number) => {
      const launches = Math.max(1, Math.round(repeats / sets));
      const elapsed = await this.#time(() => {
        for (let i = 0; i < launches; ++i) graph.launch(this.#stream);
      });
      return (elapsed * repeats) / (launches * sets);
    };
    return subjectOf(name, role, run);
  }

  /** Nanoseconds that the GPU takes for what `enqueue` enqueues. */
  async #time(enqueue: () => void): Promise<number> {
    this.#begin.record(this.#stream);
    enqueue();
    this.#end.record(this.#stream);
    await this.#end.synchronizeAsync();
    return 1e6 * this.#begin.elapsed(this.#end);
  }
}
