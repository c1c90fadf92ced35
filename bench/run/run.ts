import { devices, type CudaDevice } from 'fused-rmsnorm';

import { callName, callShape, caseName, type Case } from '../cases/cases';
import { describeMachine } from '../environment/machine';
import { isSimulated, reasonToLeaveOut } from '../gpu/devices';
import { timeOnGpu } from '../gpu/time-on-gpu';
import { reasonNotToSimulate, trafficOf } from '../gpu/traffic';
import type { CallResult, CaseResult, LeftOut, Report, TrafficResult } from '../report/result';
import type { ChosenRival } from '../subjects/rivals/chosen';
import { timeCalls } from './time-calls';
import { timeOnCpu } from './time-on-cpu';

/** What is measured, and for how long. */
export interface Settings {
  readonly cases: readonly Case[];
  /** Whether the forms of a call are measured. */
  readonly calls: boolean;
  readonly targets: readonly ('cpu' | CudaDevice)[];
  readonly rounds: number;
  /** For all cases together, about. */
  readonly seconds: number;
}

/** Told what is being measured, and how much of all has been, from 0 to 1. */
export type Progress = (name: string, fraction: number) => void;

/** Measures every case on every target, and before that the forms of a call. Throws WrongAnswer as soon as one is wrong. */
export async function run(
  { cases, calls, targets, rounds, seconds }: Settings,
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
  const callResults: CallResult[] = [];
  if (calls) {
    callResults.push(await timeCalls(schedule, begin(`${callName(callShape)} cpu`)));
    ++done;
  }
  for (const target of targets) {
    for (const one of cases) {
      const device = target === 'cpu' ? target : target.device;
      const onRound = begin(`${caseName(one)} ${device}`);
      const reason = target === 'cpu' ? null : reasonNotToRun(one, target);
      if (reason !== null) {
        leftOut.push({ ...one, device, reason });
      } else if (target === 'cpu') {
        measured.push(await timeOnCpu(one, rivals, schedule, onRound));
      } else if (isSimulated(target)) {
        traffic.push(trafficOf(one, target));
      } else {
        const result = await timeOnGpu(one, target, schedule, onRound);
        if (typeof result === 'string') leftOut.push({ ...one, device, reason: result });
        else measured.push(result);
      }
      ++done;
    }
  }
  return {
    schemaVersion: 2,
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

function reasonNotToRun(one: Case, device: CudaDevice): string | null {
  return reasonToLeaveOut(one) ?? (isSimulated(device) ? reasonNotToSimulate(one) : null);
}
