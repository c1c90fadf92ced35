import type { CudaDevice } from 'fused-rmsnorm';

import { minimumBytes, type Case } from '../cases/cases';
import type { Machine } from '../environment/machine';
import type { SubjectResult } from '../subjects/subject';

export interface CaseResult extends Case {
  /** `'cpu'`, or of a GPU. */
  readonly device: string;
  /** Sets of buffers that were taken in turn. */
  readonly sets: number;
  /** Each element read or written at least once; what GB/s are of. */
  readonly minimumBytes: number;
  readonly subjects: readonly SubjectResult[];
}

/** What the forms of a call cost, and what a copy of their row does. */
export interface CallResult extends Pick<Case, 'rows' | 'hiddenSize'> {
  readonly device: 'cpu';
  /** The first is the form that the others are compared with. */
  readonly subjects: readonly SubjectResult[];
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

/** The units of fields whose names do not say them. */
export const units = { time: 'ns', totalMemory: 'bytes' } as const;

/** Grows when a field changes its meaning, but not when one is added. */
export const schemaVersion = 2;

/** What a run of the benchmark is kept as. */
export interface Report {
  readonly schemaVersion: typeof schemaVersion;
  readonly units: typeof units;
  readonly date: string;
  readonly machine: Machine;
  /** That took part. */
  readonly gpus: readonly CudaDevice[];
  /** Their versions, by name. */
  readonly rivals: Readonly<Record<string, string>>;
  readonly cases: readonly CaseResult[];
  /** One, if calls were measured. */
  readonly calls: readonly CallResult[];
  readonly traffic: readonly TrafficResult[];
  /** What was not measured, and why. */
  readonly leftOut: readonly LeftOut[];
}

export function subjectOf({ subjects }: CaseResult, name: string): SubjectResult | undefined {
  return subjects.find((subject) => subject.name === name);
}

/** The package's own, into memory that is there already. */
export function oursOf(result: CaseResult): SubjectResult {
  const ours = subjectOf(result, 'ours');
  if (ours === undefined) throw new Error('a case without figures of ours');
  return ours;
}

/** The fastest movement of as many bytes. */
export function limitOf({ subjects }: Pick<CaseResult, 'subjects'>): SubjectResult {
  const [fastest] = subjects
    .filter(({ role }) => role === 'limit')
    .sort((a, b) => a.time.median - b.time.median);
  if (fastest === undefined) throw new Error('a case without a limit');
  return fastest;
}

/** By the median. */
export function gbPerSecond(result: Case, { time }: SubjectResult): number {
  return minimumBytes(result) / time.median;
}

/** How fast a subject is against the limit of its case: 1 is as fast. */
export function shareOfLimit(result: CaseResult, { time }: SubjectResult): number {
  return limitOf(result).time.median / time.median;
}
