import type { Elements } from '../arrays';
import { MissingRival } from './rival';

/** The memory of a float32 case. */
export function float32(elements: Elements): Float32Array {
  if (elements instanceof Float32Array) return elements;
  throw new TypeError(`A case of float32 has a Float32Array, not ${elements.constructor.name}`);
}

/** Nanoseconds that `repeats` calls take. */
export function timed(repeats: number, call: () => void): number {
  const start = process.hrtime.bigint();
  for (let i = 0; i < repeats; ++i) call();
  return Number(process.hrtime.bigint() - start);
}

/** The same, one after the other. */
export async function timedPromises(repeats: number, call: () => Promise<void>): Promise<number> {
  const start = process.hrtime.bigint();
  for (let i = 0; i < repeats; ++i) await call();
  return Number(process.hrtime.bigint() - start);
}

/** A package of the user's. Throws MissingRival if it is not installed. */
export async function importInstalled<Module>(
  rival: string,
  packages: readonly string[],
  load: () => Promise<Module>,
): Promise<Module> {
  try {
    return await load();
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? '';
    if (!['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND'].includes(code)) throw cause;
    throw new MissingRival(rival, `npm install ${packages.join(' ')}`, { cause });
  }
}
