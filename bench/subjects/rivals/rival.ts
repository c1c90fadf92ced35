// What is measured beside this package: somebody else's.

import type { Arrays, Elements } from '../../cases/arrays';
import type { Case } from '../../cases/cases';
import type { Answer } from '../../cases/verify';
import { Failure } from '../../environment/failure';
import {
  importOptional,
  type OptionalPackage,
  type Unusable,
} from '../../environment/optional-packages';
import type { OutputMode } from '../subject';

/** Something else that normalises: what a user would use instead. */
export interface Rival {
  readonly name: string;
  readonly computes: 'rms-norm' | 'layer-norm';
  /** One line for `--help` and the report. */
  readonly description: string;
  /** The npm packages it needs. */
  readonly packages: readonly OptionalPackage[];
  /** The modes it offers; each is a subject. */
  readonly outputs: readonly OutputMode[];
  /** Whether it computes this operation in this dtype at this size. */
  supports(one: Case): boolean;
  /** Throws MissingRival where something must be installed first. */
  load(): Promise<LoadedRival>;
}

export interface LoadedRival {
  /** Of the package that computes, or of what runs it. */
  readonly version: string;
  /** `outputs`: one of the rival's. Inputs are copied to where the rival wants them, untimed. */
  prepare(one: Case, arrays: Arrays, outputs: OutputMode): PreparedRival | Promise<PreparedRival>;
  /** Ends child processes and worker threads. */
  close?(): Promise<void>;
}

export interface PreparedRival {
  /** Does the case `repeats` times; returns nanoseconds in all. */
  run(repeats: number): number | Promise<number>;
  /** What the last run computed, for the check. */
  results(): Answer | Promise<Answer>;
  dispose?(): void | Promise<void>;
}

/** A rival that is not installed, or too old; the message says what to do. */
export class MissingRival extends Failure {
  override readonly name = 'MissingRival';

  readonly hint: string;
  /** Which package is too old, and what is needed. */
  readonly outdated: string | undefined;

  constructor(rival: string, hint: string, { outdated, ...options }: Unusable = {}) {
    const problem = outdated === undefined ? 'is not installed' : `cannot take part: ${outdated}`;
    super(`${rival} ${problem}: ${hint}`, options);
    this.hint = hint;
    this.outdated = outdated;
  }
}

/** The memory of a float32 case. */
export function float32(elements: Elements): Float32Array {
  if (elements instanceof Float32Array) return elements;
  throw new TypeError(`A case of float32 has a Float32Array, not ${elements.constructor.name}`);
}

/** The packages of a rival. Throws MissingRival if one is missing or too old. */
export function importInstalled<Module>(
  rival: string,
  packages: readonly OptionalPackage[],
  load: () => Promise<Module>,
): Promise<Module> {
  return importOptional(packages, load, (hint, why) => new MissingRival(rival, hint, why));
}
