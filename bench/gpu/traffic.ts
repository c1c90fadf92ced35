import { existsSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { Stream, type CudaDevice } from 'fused-rmsnorm';

import { makeArrays } from '../cases/arrays';
import { minimumBytes, type Case } from '../cases/cases';
import type { TrafficResult } from '../report/result';
import { answerOfCpu } from '../subjects/ours';
import { gpuSets } from './sets';
import { compare } from './time-on-gpu';
import { readTrace, uniqueBytes, type LaunchLine } from './trace';

/** Elements of the largest case that a simulated device runs in a moment. */
const maxElements = 2 ** 18;

export function isSimulated({ name }: CudaDevice): boolean {
  return name.startsWith('cudasim');
}

/**
 * Makes a simulated driver trace what its kernels move. The driver decides at the first call that
 * asks for a GPU. Other drivers ignore it.
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
 * The bytes that the kernels of a case move on a simulated device, where times mean nothing. Throws
 * WrongAnswer unless the results have the bits of the CPU. Returns the reason if the case is too
 * large.
 */
export function trafficOf(one: Case, device: CudaDevice): TrafficResult | string {
  if (one.rows * one.hiddenSize > maxElements) return 'too much for a simulated GPU';
  const arrays = makeArrays(one);
  const stream = new Stream({ device: device.device });
  const sets = gpuSets(one, arrays, 1, stream);
  try {
    const before = launchesSoFar().length;
    sets.fill();
    sets.existing[0]?.();
    compare(one, 'ours', answerOfCpu(one, arrays), sets.answer());
    const launches = launchesSoFar().slice(before);
    return {
      ...one,
      device: device.device,
      minimumBytes: minimumBytes(one),
      launches: launches.map((launch) => ({
        kernel: launch.kernel,
        movedBytes: uniqueBytes(launch),
      })),
    };
  } finally {
    sets.dispose();
    stream.dispose();
  }
}

function launchesSoFar(): LaunchLine[] {
  const file = process.env['CUDASIM_TRACE'];
  if (file === undefined || !existsSync(file)) return [];
  return readTrace(file).filter((line) => line.type === 'launch');
}
