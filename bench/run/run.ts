import { devices, type CudaDevice } from 'fused-rmsnorm';

import { callName, callShape, caseName, reasonImpossible, type Case } from '../cases/cases';
import { describeMachine } from '../environment/machine';
import { timeOnGpu } from '../gpu/time-on-gpu';
import { isSimulated, trafficOf } from '../gpu/traffic';
import type { Progress } from '../report/progress';
import {
  schemaVersion,
  units,
  type CaseResult,
  type LeftOut,
  type Report,
  type TrafficResult,
} from '../report/result';
import type { ChosenRival } from '../subjects/rivals/chosen';
import { timeCalls, timeOnCpu } from './time-on-cpu';

/** The cases to measure, on which devices, and for how long. */
export interface RunOptions {
  readonly cases: readonly Case[];
  /** Whether the forms of a call are measured. */
  readonly calls: boolean;
  readonly targets: readonly ('cpu' | CudaDevice)[];
  readonly rounds: number;
  /** Approximate total of all cases, in seconds. */
  readonly seconds: number;
}

/**
 * Measures the forms of a call, and every case on every target. Throws WrongAnswer at the first
 * wrong answer.
 */
export async function run(
  { cases, calls, targets, rounds, seconds }: RunOptions,
  rivals: readonly ChosenRival[],
  progress: Progress,
): Promise<Report> {
  const measured: CaseResult[] = [];
  const traffic: TrafficResult[] = [];
  const leftOut: LeftOut[] = [];
  const count = targets.length * cases.length + (calls ? 1 : 0);
  const schedule = { rounds, ms: (1000 * seconds) / count };
  let done = 0;
  const begin = (name: string) => {
    let round = 0;
    progress(name, done / count);
    return () => {
      progress(name, (done + ++round / rounds) / count);
    };
  };
  const measureOn = (target: 'cpu' | CudaDevice, one: Case, onRound: () => void) => {
    const reason = reasonImpossible(one);
    if (reason !== null) return reason;
    if (target === 'cpu') return timeOnCpu(one, rivals, schedule, onRound);
    if (one.dtype === 'float64') return 'GPUs do not compute in float64';
    return isSimulated(target) ? trafficOf(one, target) : timeOnGpu(one, target, schedule, onRound);
  };
  const beginCalls = () => begin(`${callName(callShape)} cpu`);
  const callResults = calls ? [await timeCalls(schedule, beginCalls())] : [];
  done += callResults.length;
  for (const target of targets) {
    for (const one of cases) {
      const device = target === 'cpu' ? target : target.device;
      const result = await measureOn(target, one, begin(`${caseName(one)} ${device}`));
      if (typeof result === 'string') leftOut.push({ ...one, device, reason: result });
      else if ('launches' in result) traffic.push(result);
      else measured.push(result);
      ++done;
    }
  }
  return {
    ...{ schemaVersion, units },
    date: new Date().toISOString(),
    machine: describeMachine(),
    gpus: devices().filter((device) => targets.includes(device)),
    rivals: Object.fromEntries(rivals.map(({ rival, loaded }) => [rival.name, loaded.version])),
    cases: measured,
    calls: callResults,
    traffic,
    leftOut,
  };
}
