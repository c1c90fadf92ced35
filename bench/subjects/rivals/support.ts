import type { Elements } from '../../cases/arrays';
import { importOptional, type OptionalPackage } from '../../environment/optional-packages';
import { MissingRival } from './rival';

/** The memory of a float32 case. */
export function float32(elements: Elements): Float32Array {
  if (elements instanceof Float32Array) return elements;
  throw new TypeError(`A case of float32 has a Float32Array, not ${elements.constructor.name}`);
}

/** Nanoseconds that `repeats` calls take, one after the other. */
export async function timedPromises(repeats: number, call: () => Promise<void>): Promise<number> {
  const start = process.hrtime.bigint();
  for (let i = 0; i < repeats; ++i) await call();
  return Number(process.hrtime.bigint() - start);
}

/** The packages of a rival. Throws MissingRival if one is missing or too old. */
export function importInstalled<Module>(
  rival: string,
  packages: readonly OptionalPackage[],
  load: () => Promise<Module>,
): Promise<Module> {
  return importOptional(packages, load, (hint, why) => new MissingRival(rival, hint, why));
}
