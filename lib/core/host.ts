// What decides which addon a process can load.

import path from 'node:path';

/** A process. */
export interface Host {
  /** Such as `'linux-x64'`. */
  readonly platform: string;
  readonly nodeVersion: string;
  /** Where the runtime is not Node.js alone: its name and version, such as `'Electron 40.0.0'`. */
  readonly runtime: string | null;
  /** Such as `'2.31'`; null where the C library is another, undefined where nothing tells. */
  readonly glibcVersion: string | null | undefined;
  /** The folder of the program. */
  readonly programFolder: string;
  /** Whether the program is one executable file with its JavaScript in it. */
  readonly isSingleExecutable: boolean;
  /** The environment variables that name another folder, or exclude what was built here. */
  readonly otherFolder: string | null;
  readonly prebuildsOnly: boolean;
}

const runtimes = ['Electron', 'Deno', 'Bun'] as const;

/** This one. Never throws, whatever is forbidden to it. */
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

/** An environment variable; empty where it is not set, or Deno forbids to read it. */
function readVariable(name: string): string {
  try {
    return process.env[name] ?? '';
  } catch {
    return '';
  }
}

/** From a report of Node.js. Deno makes none without --allow-sys; others have none. */
function readGlibcVersion(): string | null | undefined {
  try {
    const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
    return report.header === undefined ? undefined : (report.header.glibcVersionRuntime ?? null);
  } catch {
    return undefined;
  }
}

/** Made by Node.js's single executable applications, or by `bun build --compile`. */
function isSingleExecutable(): boolean {
  // Node.js has it from 20.16 and 22.3 on; the types of 20 do not.
  const { getBuiltinModule } = process as { getBuiltinModule?: (name: string) => unknown };
  const sea = getBuiltinModule?.('node:sea') as { isSea(): boolean } | undefined;
  return sea?.isSea() === true || /^(\/\$bunfs|[A-Z]:[\\/]~BUN)/.test(process.argv[1] ?? '');
}
