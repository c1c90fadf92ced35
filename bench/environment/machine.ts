import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { cpuVariants, getCpuVariant, getNumThreads, type CudaDevice } from 'fused-rmsnorm';

import { packageRoot, packageVersion } from './package';

/** The hardware and software that measurements depend on. */
export interface Machine {
  readonly cpu: string;
  readonly processors: number;
  readonly lastCacheBytes: number;
  readonly memoryBytes: number;
  readonly platform: string;
  readonly node: string;
  /** The version of this package. */
  readonly version: string;
  /** The commit of a checkout, with '+' if there are changes; null for an installed package. */
  readonly commit: string | null;
  readonly variant: string;
  /** The variants that the processor can run, best first. */
  readonly variants: readonly string[];
  readonly threads: number;
}

export function describeMachine(): Machine {
  return {
    cpu: os.cpus()[0]?.model ?? 'unknown',
    processors: os.availableParallelism(),
    lastCacheBytes: lastCacheBytes(),
    memoryBytes: os.totalmem(),
    platform: `${process.platform}-${process.arch}`,
    node: process.versions.node,
    version: packageVersion,
    commit: commit(),
    variant: getCpuVariant(),
    variants: cpuVariants(),
    threads: getNumThreads(),
  };
}

/** The version, and the commit if it is known. */
export function describeVersion({ version, commit }: Machine): string {
  return commit === null ? version : `${version} (${commit})`;
}

export function describeGpu({ device, name, ...more }: CudaDevice): string {
  const gib = (more.totalMemory / 2 ** 30).toFixed(0);
  return (
    `${device}: ${name}, compute capability ${more.computeCapability}, ` +
    `${more.multiprocessors} multiprocessors, ${gib} GiB, driver for CUDA ${more.driverVersion}`
  );
}

/** The version of NVIDIA's driver, such as '580.65.06'; null if the system does not report it. */
export function nvidiaDriver(file = '/proc/driver/nvidia/version'): string | null {
  if (!existsSync(file)) return null;
  const text = readFileSync(file, 'utf8');
  return / Kernel Module(?: for \S+)? +([\d.]+)/.exec(text)?.[1] ?? null;
}

/** Used if the system does not report its caches: typical for a desktop processor. */
const usualCacheBytes = 32 * 2 ** 20;

/** The size of the first processor's largest cache. */
export function lastCacheBytes(): number {
  const folder = '/sys/devices/system/cpu/cpu0/cache';
  let largest = 0;
  for (let i = 0; existsSync(`${folder}/index${i}/size`); ++i) {
    const [, count, unit] =
      /^(\d+)([KM])/.exec(readFileSync(`${folder}/index${i}/size`, 'utf8')) ?? [];
    largest = Math.max(largest, Number(count) * (unit === 'M' ? 2 ** 20 : 2 ** 10));
  }
  return largest > 0 ? largest : usualCacheBytes;
}

function commit(): string | null {
  if (!existsSync(path.join(packageRoot, '.git'))) return null;
  try {
    const git = (...args: string[]) =>
      execFileSync('git', args, { cwd: packageRoot, encoding: 'utf8' }).trim();
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain') === '' ? '' : '+');
  } catch {
    return null;
  }
}
