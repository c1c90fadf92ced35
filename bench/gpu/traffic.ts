import { existsSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { Stream, type CudaDevice } from 'fused-rmsnorm';

import { makeArrays } from '../cases/arrays';
import { minimumBytes, type Case } from '../cases/cases';
import type { TrafficResult } from '../report/result';
import { answerOfCpu } from '../subjects/ours';
import { gpuSets } from './sets';
import { compare } from './time-on-gpu';

/** What a simulated device can run in a moment. */
const mostElements = 2 ** 18;

const sectorBytes = 32;

/** What is read of the lines of a trace: see test/cudasim/README.md. */
interface TraceLine {
  readonly type: string;
  readonly kernel: string;
  readonly buffers: readonly { readonly read_sectors: number; readonly written_sectors: number }[];
}

/**
 * Has a simulated driver write down what its kernels move, which it decides with the first call that
 * asks for a GPU. Another driver takes no notice.
 */
export function traceSimulator(): void {
  if (process.env['CUDASIM_TRACE'] !== undefined) return;
  const file = path.join(tmpdir(), `fused-rmsnorm-${process.pid}.jsonl`);
  process.env['CUDASIM_TRACE'] = file;
  process.once('exit', () => {
    rmSync(file, { force: true });
  });
}

/**
 * What the kernels of a case move on a simulated device, where times mean nothing. Throws WrongAnswer
 * unless the results have the bits of the CPU. Returns a text where the case is too large.
 */
export function trafficOf(one: Case, device: CudaDevice): TrafficResult | string {
  if (one.rows * one.hiddenSize > mostElements) return 'too much for a simulated GPU';
  const arrays = makeArrays(one);
  const stream = new Stream({ device: device.device });
  const sets = gpuSets(one, arrays, 1, stream);
  try {
    const before = readTrace().length;
    sets.fill();
    sets.given[0]?.();
    compare(one, 'ours', answerOfCpu(one, arrays), sets.answer());
    const launches = readTrace()
      .slice(before)
      .filter(({ type }) => type === 'launch');
    return {
      ...one,
      device: device.device,
      minimumBytes: minimumBytes(one),
      launches: launches.map(({ kernel, buffers }) => ({
        kernel,
        movedBytes: buffers.reduce(
          (sum, buffer) => sum + sectorBytes * (buffer.read_sectors + buffer.written_sectors),
          0,
        ),
      })),
    };
  } finally {
    sets.dispose();
    stream.dispose();
  }
}

function readTrace(): TraceLine[] {
  const file = process.env['CUDASIM_TRACE'];
  if (file === undefined || !existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as TraceLine);
}
