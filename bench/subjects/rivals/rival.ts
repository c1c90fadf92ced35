// The subjects that this package is compared with.

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

/** Another implementation of a norm, which a user could use instead. */
export interface Rival {
  readonly name: string;
  readonly computes: 'rms-norm' | 'layer-norm';
  /** One line for `--help` and the report. */
  readonly description: string;
  /** The npm packages it needs. */
  readonly packages: readonly OptionalPackage[];
  /** The modes that it supports; each is a subject. */
  readonly outputs: readonly OutputMode[];
  /** Whether it computes this operation in this dtype at this size. */
  supports(one: Case): boolean;
  /** Throws MissingRival if something must be installed first. */
  load(): Promise<LoadedRival>;
}

export interface LoadedRival {
  /** The version of the package that computes, or of its runtime. */
  readonly version: string;
  /** `outputs`: one of the rival's modes. The rival may copy inputs into its own memory, untimed. */
  prepare(one: Case, arrays: Arrays, outputs: OutputMode): PreparedRival | Promise<PreparedRival>;
  /** Ends child processes and worker threads. */
  close?(): Promise<void>;
}

export interface PreparedRival {
  /** Computes the case `repeats` times; returns the nanoseconds of all repeats. */
  run(repeats: number): number | Promise<number>;
  /** The results of the last run, for the check. */
  results(): Answer | Promise<Answer>;
  dispose?(): void | Promise<void>;
}

/** A rival that is not installed, or too old; the message says what to do. */
export class MissingRival extends Failure {
  override readonly name = 'MissingRival';

  readonly hint: string;
  /** The package that is too old, and the version that is needed. */
  readonly outdated: string | undefined;

  constructor(rival: string, hint: string, { outdated, ...options }: Unusable = {}) {
    const problem = outdated === undefined ? 'is not installed' : `cannot be measured: ${outdated}`;
    super(`${rival} ${problem}: ${hint}`, options);
    this.hint = hint;
    this.outdated = outdated;
  }
}

/** The elements of a float32 case, with their type checked. */
export function float32(elements: Elements): Float32Array {
  if (elements instanceof Float32Array) return elements;
  throw new TypeError(`A float32 case needs a Float32Array, not ${elements.constructor.name}`);
}

/** Loads a rival's packages. Throws MissingRival if one is missing or too old. */
export function importInstalled<Module>(
  rival: string,
  packages: readonly OptionalPackage[],
  load: () => Promise<Module>,
): Promise<Module> {
  return importOptional(packages, load, (hint, why) => new MissingRival(rival, hint, why));
}
