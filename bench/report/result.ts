import type { CudaDevice } from 'fused-rmsnorm';

import { minimumBytes, type Case } from '../cases/cases';
import type { Machine } from '../environment/machine';
import type { SubjectResult } from '../subjects/subject';

/** The times of all subjects of a case on one device. */
export interface CaseResult extends Case {
  /** `'cpu'`, or the device name of a GPU. */
  readonly device: string;
  /** Number of sets of buffers, which are used in turn. */
  readonly sets: number;
  /** Bytes if each element is read or written once. GB/s are computed from them. */
  readonly minimumBytes: number;
  readonly subjects: readonly SubjectResult[];
}

/** The cost of each form of a call, and of copying its row. */
export interface CallResult extends Pick<Case, 'rows' | 'hiddenSize'> {
  readonly device: 'cpu';
  /** The first is the form that the others are compared with. */
  readonly subjects: readonly SubjectResult[];
}

/** The bytes that a case moves on a simulated GPU, whose times mean nothing. */
export interface TrafficResult extends Case {
  readonly device: string;
  readonly minimumBytes: number;
  /** In launch order, each with the bytes of DRAM that it must read and write. */
  readonly launches: readonly { readonly kernel: string; readonly movedBytes: number }[];
}

/** A case that was not measured on a device, and why. */
export interface LeftOut extends Case {
  readonly device: string;
  readonly reason: string;
}

/** The units of fields whose names do not say them. */
export const units = { time: 'ns', totalMemory: 'bytes' } as const;

/** Increases when a field changes its meaning, but not when a field is added. */
export const schemaVersion = 2;

/** The results of one run of the benchmark, as `--json` writes them. */
export interface Report {
  readonly schemaVersion: typeof schemaVersion;
  readonly units: typeof units;
  readonly date: string;
  readonly machine: Machine;
  /** The GPUs that cases ran on. */
  readonly gpus: readonly CudaDevice[];
  /** The rivals' versions, by name. */
  readonly rivals: Readonly<Record<string, string>>;
  readonly cases: readonly CaseResult[];
  /** One entry if calls were measured, otherwise none. */
  readonly calls: readonly CallResult[];
  readonly traffic: readonly TrafficResult[];
  /** The cases that were not measured, and why. */
  readonly leftOut: readonly LeftOut[];
}

export function subjectOf({ subjects }: CaseResult, name: string): SubjectResult | undefined {
  return subjects.find((subject) => subject.name === name);
}

/** The result of this package with existing memory for its outputs. */
export function oursOf(result: CaseResult): SubjectResult {
  const ours = subjectOf(result, 'ours');
  if (ours === undefined) throw new Error('a case has no times of fused-rmsnorm');
  return ours;
}

/** The fastest movement of the same number of bytes. */
export function limitOf({ subjects }: Pick<CaseResult, 'subjects'>): SubjectResult {
  const [fastest] = subjects
    .filter(({ role }) => role === 'limit')
    .sort((a, b) => a.time.median - b.time.median);
  if (fastest === undefined) throw new Error('a case has no limit');
  return fastest;
}

/** The bandwidth of a subject: the minimum bytes of its case, divided by its median time. */
export function gbPerSecond(result: Case, { time }: SubjectResult): number {
  return minimumBytes(result) / time.median;
}

/** The speed of a subject relative to the limit of its case: 1 is as fast. */
export function shareOfLimit(result: CaseResult, { time }: SubjectResult): number {
  return limitOf(result).time.median / time.median;
}
