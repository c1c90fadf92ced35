import { devices, type CudaDevice } from 'fused-rmsnorm';

import { caseName, type Case } from '../cases/cases';
import { contest, type Participant } from './time-on-cpu';
import { contestOnGpu, isSimulated, reasonToLeaveOut } from '../gpu/time-on-gpu';
import { describeMachine } from '../environment/machine';
import type { CaseResult, LeftOut, Report, TrafficResult } from '../report/result';
import { reasonNotToSimulate, trafficOf } from '../gpu/traffic';

/** What is measured, and for how long. */
export interface Settings {
  readonly cases: readonly Case[];
  /** Where each is. */
  readonly places: readonly ('cpu' | CudaDevice)[];
  readonly rounds: number;
  /** For all cases together, about. */
  readonly seconds: number;
}

/** Told what is being measured, and how much of all has been, from 0 to 1. */
export type Progress = (name: string, fraction: number) => void;

/** Measures every case at every place. Throws WrongAnswer as soon as one is wrong. */
export async function run(
  { cases, places, rounds, seconds }: Settings,
  participants: readonly Participant[],
  progress: Progress,
): Promise<Report> {
  const measured: CaseResult[] = [];
  const traffic: TrafficResult[] = [];
  const leftOut: LeftOut[] = [];
  const count = places.length * cases.length;
  const schedule = { rounds, ms: (1000 * seconds) / count };
  let done = 0;
  for (const place of places) {
    for (const one of cases) {
      const device = place === 'cpu' ? place : place.device;
      const name = `${caseName(one)} ${device}`;
      let round = 0;
      const onRound = () => {
        progress(name, (done + ++round / rounds) / count);
      };
      progress(name, done / count);
      const reason = place === 'cpu' ? null : reasonNotToRun(one, place);
      if (reason !== null) {
        leftOut.push({ ...one, device, reason });
      } else if (place === 'cpu') {
        measured.push(await contest(one, participants, schedule, onRound));
      } else if (isSimulated(place)) {
        traffic.push(trafficOf(one, place));
      } else {
        const result = await contestOnGpu(one, place, schedule, onRound);
        if (typeof result === 'string') leftOut.push({ ...one, device, reason: result });
        else measured.push(result);
      }
      ++done;
    }
  }
  return {
    schemaVersion: 1,
    date: new Date().toISOString(),
    machine: describeMachine(),
    gpus: devices().filter((device) => places.includes(device)),
    rivals: Object.fromEntries(
      participants.map(({ rival, loaded }) => [rival.name, loaded.version]),
    ),
    cases: measured,
    traffic,
    leftOut,
  };
}

function reasonNotToRun(one: Case, device: CudaDevice): string | null {
  return reasonToLeaveOut(one) ?? (isSimulated(device) ? reasonNotToSimulate(one) : null);
}
