import type { CudaDevice } from 'fused-rmsnorm';

import { minimumBytes, type Case } from '../cases/cases';
import type { Machine } from '../environment/machine';
import type { OutputMode } from '../subjects/rivals/rival';
import type { Summary } from '../measure/statistics';
import type { Norm } from '../cases/verify';

/** The figures of one contender at one case. */
export interface Entry {
  readonly name: string;
  readonly role: 'ours' | 'limit' | 'rival';
  readonly computes: Norm | 'movement';
  readonly outputs: OutputMode;
  /** Nanoseconds of one run. */
  readonly time: Summary;
}

export interface CaseResult extends Case {
  /** `'cpu'`, or of a GPU. */
  readonly device: string;
  /** Sets of buffers that were taken in turn. */
  readonly sets: number;
  /** Each element read or written at least once; what GB/s are of. */
  readonly minimumBytes: number;
  readonly entries: readonly Entry[];
}

/** What a case moves on a simulated GPU, which has no times. */
export interface TrafficResult extends Case {
  readonly device: string;
  readonly minimumBytes: number;
  /** In their order, with the bytes of DRAM that each reads and writes at least. */
  readonly launches: readonly { readonly kernel: string; readonly movedBytes: number }[];
}

export interface LeftOut extends Case {
  readonly device: string;
  readonly reason: string;
}

/** What a run of the benchmark is kept as. */
export interface Report {
  readonly schemaVersion: 1;
  readonly date: string;
  readonly machine: Machine;
  /** That took part. */
  readonly gpus: readonly CudaDevice[];
  /** The versions of those that took part, by name. */
  readonly rivals: Readonly<Record<string, string>>;
  readonly cases: readonly CaseResult[];
  readonly traffic: readonly TrafficResult[];
  /** What was not measured, and why. */
  readonly leftOut: readonly LeftOut[];
}

export function entryOf({ entries }: CaseResult, name: string): Entry | undefined {
  return entries.find((entry) => entry.name === name);
}

/** The package's own, into memory that is there already. */
export function oursOf(result: CaseResult): Entry {
  const ours = entryOf(result, 'ours');
  if (ours === undefined) throw new Error('a case without figures of ours');
  return ours;
}

/** The fastest movement of as many bytes. */
export function limitOf({ entries }: CaseResult): Entry {
  const [fastest] = entries
    .filter(({ role }) => role === 'limit')
    .sort((a, b) => a.time.median - b.time.median);
  if (fastest === undefined) throw new Error('a case without a limit');
  return fastest;
}

/** Of the median. */
export function gbPerSecond(result: Case, { time }: Entry): number {
  return minimumBytes(result) / time.median;
}

/** How fast an entry is against the limit of its case: 1 is as fast. */
export function shareOfLimit(result: CaseResult, { time }: Entry): number {
  return limitOf(result).time.median / time.median;
}
