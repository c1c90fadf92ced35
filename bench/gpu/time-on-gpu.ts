import { CudaError, CudaEvent, Graph, Stream, type CudaDevice } from 'fused-rmsnorm';

import { makeArrays, type Elements } from '../cases/arrays';
import { caseName, minimumBytes, type Case } from '../cases/cases';
import { WrongAnswer, type Answer } from '../cases/verify';
import type { Schedule } from '../measure/measure';
import type { CaseResult } from '../report/result';
import { answerOfCpu } from '../subjects/ours';
import { timeSubjects, type TimedSubject } from '../subjects/subject';
import { gpuSets } from './sets';

/**
 * Minimum size in bytes of all sets of buffers of a case together, so that each set is in DRAM when its
 * turn comes. More than twice the second-level cache of any current GPU.
 */
const defaultFootprint = 256 * 2 ** 20;

/**
 * Maximum number of sets. More sets need more launches in a round. So very small cases stay in the cache.
 */
const maxSets = 4096;

/** Enqueues a call or a copy on one set of buffers. */
type Enqueue = () => unknown;

/**
 * Times a case on data in GPU memory: kernels between events, enqueued one by one or as a graph,
 * and device-to-device copies of as many bytes. Throws WrongAnswer unless all bits are the CPU's,
 * before and after. Returns the reason if the GPU has too little memory.
 */
export async function timeOnGpu(
  one: Case,
  device: CudaDevice,
  schedule: Schedule,
  onRound: () => void,
  footprint = defaultFootprint,
): Promise<CaseResult | string> {
  const arrays = makeArrays(one);
  const expected = answerOfCpu(one, arrays);
  const count = Math.min(maxSets, Math.max(2, Math.ceil(footprint / minimumBytes(one))));
  const stream = new Stream({ device: device.device });
  const disposables: { dispose(): void }[] = [stream];
  try {
    const sets = gpuSets(one, arrays, count, stream);
    const timer = eventTimer(stream, count);
    disposables.push(sets, timer);
    const onEach = (calls: readonly Enqueue[]) => () => {
      for (const call of calls) call();
    };
    const graphOf = (calls: readonly Enqueue[]) => {
      const graph = Graph.capture(stream, onEach(calls));
      disposables.push(graph);
      return graph;
    };
    const allocating = sets.allocating.map((call) => () => {
      for (const buffer of Object.values(call())) buffer.dispose();
    });
    const { planned } = sets;
    const graph = graphOf(planned ?? sets.existing);
    const launch = () => {
      graph.launch(stream);
    };
    const check = () => {
      const ways = {
        ours: onEach(sets.existing),
        ...(planned !== null && { 'ours plan': onEach(planned) }),
        'ours graph': launch,
      };
      for (const [name, enqueue] of Object.entries(ways)) {
        sets.fill();
        enqueue();
        compare(one, name, expected, sets.answer());
      }
      sets.fill();
      compare(one, 'ours fresh', expected, sets.toHost(sets.allocating.at(-1)?.() ?? {}));
    };
    const subjects = [
      subjectOf('ours', timer.calls(sets.existing)),
      { ...subjectOf('ours fresh', timer.calls(allocating)), outputs: 'fresh' as const },
      ...(planned === null ? [] : [subjectOf('ours plan', timer.calls(planned))]),
      subjectOf('ours graph', timer.launches(graph)),
      subjectOf('device copy', timer.calls(sets.copies), 'limit'),
      subjectOf('device copy graph', timer.launches(graphOf(sets.copies)), 'limit'),
    ];
    return {
      ...{ ...one, device: device.device, sets: count, minimumBytes: minimumBytes(one) },
      subjects: await timeSubjects(subjects, schedule, onRound, check),
    };
  } catch (error) {
    if (!(error instanceof CudaError) || error.code !== 'ERR_CUDA_OUT_OF_MEMORY') throw error;
    return 'the GPU has too little memory';
  } finally {
    for (const each of disposables.reverse()) each.dispose();
  }
}

/** Throws unless an answer has the bits of the CPU's. */
export function compare(one: Case, subject: string, expected: Answer, actual: Answer): void {
  for (const [name, values] of Object.entries(expected) as [keyof Answer, Elements][]) {
    const received = actual[name];
    if (received !== undefined && bytesOf(values).equals(bytesOf(received))) continue;
    throw new WrongAnswer(
      `${subject} is wrong at ${caseName(one)}: ${name} does not have the bits of the CPU`,
    );
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function subjectOf(
  name: string,
  run: TimedSubject['run'],
  role: 'ours' | 'limit' = 'ours',
): TimedSubject {
  return { name, role, computes: role === 'ours' ? 'rms-norm' : 'movement', outputs: 'given', run };
}

/** Times enqueued work between two events. If the host is slower, this is the host's time. */
function eventTimer(stream: Stream, sets: number) {
  const { device } = stream;
  const [begin, end] = [new CudaEvent({ device }), new CudaEvent({ device })];
  const time = async (enqueue: () => void): Promise<number> => {
    begin.record(stream);
    enqueue();
    end.record(stream);
    await end.synchronizeAsync();
    return 1e6 * begin.elapsed(end);
  };
  return {
    /** Runs the case's calls, one for each set, in turn. */
    calls: (calls: readonly Enqueue[]): TimedSubject['run'] => {
      let next = 0;
      return (repeats) =>
        time(() => {
          for (let i = 0; i < repeats; ++i) (calls[next++ % sets] as Enqueue)();
        });
    },
    /** Launches a graph that computes the case once for each set. */
    launches: (graph: Graph): TimedSubject['run'] => {
      return async (repeats) => {
        const launches = Math.max(1, Math.round(repeats / sets));
        const elapsed = await time(() => {
          for (let i = 0; i < launches; ++i) graph.launch(stream);
        });
        return (elapsed * repeats) / (launches * sets);
      };
    },
    dispose: () => {
      begin.dispose();
      end.dispose();
    },
  };
}
