// The kernels of csrc/cuda/kernels/kernel_table.h, and the report of ptxas on each of them.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const root = path.join(__dirname, '..');

/** Where a build leaves the logs of ptxas. */
export const logFolder = path.join(root, 'build/cuda');

/**
 * The resources of a kernel, by their names in ptxas's reports: bytes, except for registers of a
 * thread.
 */
const units = {
  registers: 'registers',
  staticSharedMemory: 'bytes smem',
  stackFrame: 'bytes stack frame',
  spillStores: 'bytes spill stores',
  spillLoads: 'bytes spill loads',
} as const;

/** A kernel on one architecture. */
export type CompiledKernel = Readonly<Record<keyof typeof units, number>> & {
  readonly name: string;
  /** Such as `'sm_90'`. */
  readonly architecture: string;
};

function readLog(log: string): CompiledKernel[] {
  // The section of each kernel begins with its name.
  const [, ...sections] = log.split('Compiling entry function ');
  return sections.map((section) => {
    const [, name, architecture] = /^'(\w+)' for '(\w+)'/.exec(section) ?? [];
    if (name === undefined || architecture === undefined || !/Used \d+ registers/.test(section)) {
      throw new Error(`This output of ptxas has an unknown format: ${section}`);
    }
    // 0 where ptxas does not mention it.
    const numberOf = (unit: string) => Number(new RegExp(`(\\d+) ${unit}`).exec(section)?.[1] ?? 0);
    const numbers = Object.entries(units).map(([field, unit]) => [field, numberOf(unit)] as const);
    return {
      name,
      architecture,
      ...(Object.fromEntries(numbers) as Record<keyof typeof units, number>),
    };
  });
}

/** Every kernel of the last build on each architecture; none if the build had no nvcc. */
export function compiledKernels(): CompiledKernel[] {
  if (!existsSync(logFolder)) return [];
  const logs = readdirSync(logFolder).filter((name) => name.endsWith('.ptxas.log'));
  return logs.flatMap((name) => readLog(readFileSync(path.join(logFolder, name), 'utf8')));
}

/** The macros of a header that take arguments: their names and their bodies, of one line each. */
function macrosOf(header: string): Map<string, string> {
  const joined = header.replaceAll(/\s*\\\n\s*/g, ' ');
  const definitions = joined.matchAll(/^#define (RMSNORM_\w+)\(F(?:, \.\.\.)?\) (.*)$/gm);
  return new Map(Array.from(definitions, ([, name, body]) => [name as string, body as string]));
}

/** The calls in a macro's body, by their names, and the arguments of each. */
function callsOf(body: string): { name: string; args: string[] }[] {
  return Array.from(body.matchAll(/(\w+)\(([^)]*)\)/g), ([, name, args]) => ({
    name: name as string,
    args: (args as string).split(',').map((arg) => arg.trim()),
  }));
}

/** The names of all kernels in the table, in its order. */
export function kernelNames(): string[] {
  const header = readFileSync(path.join(root, 'csrc/cuda/kernels/kernel_table.h'), 'utf8');
  const macros = macrosOf(header);
  // The arguments of each call of F in the expansion of a macro. `varArgs` replaces
  // __VA_ARGS__.
  const expand = (macro: string, varArgs: readonly string[]): string[][] => {
    const body = macros.get(macro);
    if (body === undefined) throw new Error(`kernel_table.h has no ${macro}`);
    return callsOf(body).flatMap(({ name, args }) => {
      const passed = args.flatMap((arg) => (arg === '__VA_ARGS__' ? varArgs : [arg]));
      return name === 'F' ? [passed] : expand(name, passed.slice(1));
    });
  };
  return expand('RMSNORM_KERNELS', []).map(([tag, , , , name, index, access]) =>
    [name, index, tag, access].join('_'),
  );
}
