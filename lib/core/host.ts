// The properties of this process that decide which addon it can load.

import path from 'node:path';

/** A process that loads the addon. */
export interface Host {
  /** The operating system and architecture, such as `'linux-x64'`. */
  readonly platform: string;
  readonly nodeVersion: string;
  /** The name and version of a runtime other than Node.js, such as `'Electron 40.0.0'`; else null. */
  readonly runtime: string | null;
  /** The version of glibc, such as `'2.31'`; null for another C library, undefined if unknown. */
  readonly glibcVersion: string | null | undefined;
  /** The folder of the executable: of Node.js, or of a single executable application. */
  readonly programFolder: string;
  /** Whether the program is one executable file with its JavaScript in it. */
  readonly isSingleExecutable: boolean;
  /** `FUSED_RMSNORM_PREBUILD`: another folder to load from; null if it is not set. */
  readonly otherFolder: string | null;
  /** Whether `PREBUILDS_ONLY` is set, which excludes addons that were built on this machine. */
  readonly prebuildsOnly: boolean;
}

const runtimes = ['Electron', 'Deno', 'Bun'] as const;

/** The properties of this process. Never throws, even if the process may not read some of them. */
export function thisHost(): Host {
  const { platform, arch, versions, execPath } = process;
  const runtime = runtimes.find((name) => versions[name.toLowerCase()] !== undefined);
  const otherFolder = readVariable('FUSED_RMSNORM_PREBUILD');
  return {
    platform: `${platform}-${arch}`,
    nodeVersion: versions.node,
    runtime: runtime === undefined ? null : `${runtime} ${versions[runtime.toLowerCase()] ?? ''}`,
    glibcVersion: platform === 'linux' ? readGlibcVersion() : null,
    programFolder: path.dirname(execPath),
    isSingleExecutable: isSingleExecutable(),
    otherFolder: otherFolder === '' ? null : otherFolder,
    prebuildsOnly: readVariable('PREBUILDS_ONLY') !== '',
  };
}

/** An environment variable; empty if it is not set or Deno forbids reading it. */
function readVariable(name: string): string {
  try {
    return process.env[name] ?? '';
  } catch {
    return '';
  }
}

/**
 * Reads the version from a report of Node.js. Undefined without a report: Deno needs --allow-sys for
 * one, and other runtimes have none.
 */
function readGlibcVersion(): string | null | undefined {
  try {
    const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
    return report.header === undefined ? undefined : (report.header.glibcVersionRuntime ?? null);
  } catch {
    return undefined;
  }
}

/**
 * Whether the program is a single executable application of Node.js, or made by `bun build --compile`.
 */
function isSingleExecutable(): boolean {
  // Node.js has this function from 20.16 and 22.3 on, but its types for 20 do not declare it.
  const { getBuiltinModule } = process as { getBuiltinModule?: (name: string) => unknown };
  const sea = getBuiltinModule?.('node:sea') as { isSea(): boolean } | undefined;
  return sea?.isSea() === true || /^(\/\$bunfs|[A-Z]:[\\/]~BUN)/.test(process.argv[1] ?? '');
}
