import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import path from 'node:path';

/** The oldest glibc that the prebuilt addons load with. */
const neededGlibc = '2.28';

/** What decides which addon a process can load. */
export interface Host {
  /** Such as `'linux-x64'`. */
  readonly platform: string;
  readonly nodeVersion: string;
  /** Such as `'2.31'`; null where the C library is another. */
  readonly glibcVersion: string | null;
  readonly electronVersion: string | null;
  /** Environment variables that are set and let node-gyp-build look for another addon. */
  readonly steering: Readonly<Partial<Record<SteeringName, string>>>;
}

/** This process's. */
export function thisHost(): Host {
  const { platform, arch, versions } = process;
  const host = {
    platform: `${platform}-${arch}`,
    nodeVersion: versions.node,
    glibcVersion: platform === 'linux' ? readGlibcVersion() : null,
    electronVersion: versions['electron'] ?? null,
  };
  return { ...host, steering: readSteering(host) };
}

/** All variables that node-gyp-build reads, and what it does where they are set. */
const steeringNames = {
  FUSED_RMSNORM_PREBUILD: 'looks for the addon in that folder, not in that of the package',
  PREBUILDS_ONLY: 'passes over an addon that was built here',
  npm_config_platform: 'looks for an addon for that system',
  npm_config_arch: 'looks for an addon for that processor',
  LIBC: 'looks for an addon for that C library',
  ARM_VERSION: 'looks for an addon for that version of ARM',
  ELECTRON_RUN_AS_NODE: 'looks for an addon for Electron',
} as const;

type SteeringName = keyof typeof steeringNames;

/** Those that are set, unless they say what is so anyway. */
function readSteering({ electronVersion, glibcVersion }: Omit<Host, 'steering'>): Host['steering'] {
  const { platform, arch, env } = process;
  const idle: Partial<Record<SteeringName, string | undefined>> = {
    npm_config_platform: platform,
    npm_config_arch: arch,
    LIBC: platform === 'linux' && glibcVersion === null ? 'musl' : 'glibc',
    ARM_VERSION: arch === 'arm64' ? '8' : undefined,
    ELECTRON_RUN_AS_NODE: electronVersion === null ? undefined : env['ELECTRON_RUN_AS_NODE'],
  };
  const names = Object.keys(steeringNames) as SteeringName[];
  const entries = names.map((name) => [name, env[name] ?? ''] as const);
  return Object.fromEntries(
    entries.filter(([name, value]) => value !== '' && value !== idle[name]),
  );
}

function readGlibcVersion(): string | null {
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return report.header?.glibcVersionRuntime ?? null;
}

/** An addon that could not be loaded, or none that could have been. */
export interface Failure {
  /** The folder of the package. */
  readonly root: string;
  /** The addon's; null if there is none for this platform. */
  readonly file: string | null;
  /** What the loader threw. */
  readonly error: Error & { readonly code?: string };
}

/** The message of an error about it: what was tried, what came of it, and what to do. */
export function describeFailure(failure: Failure, host: Host): string {
  const { root, file, error } = failure;
  const { platform, nodeVersion, glibcVersion, electronVersion } = host;
  const facts = [
    `Node.js ${nodeVersion}`,
    ...(electronVersion === null ? [] : [`Electron ${electronVersion}`]),
    ...(glibcVersion === null ? [] : [`glibc ${glibcVersion}`]),
  ];
  const tried = file === null ? emptyFolders(root, host) : [`${file}: ${error.message}`];
  return [
    `fused-rmsnorm can not load its native addon on ${platform} (${facts.join(', ')}).`,
    'Tried:',
    ...tried.map((line) => `- ${line}`),
    'What to do:',
    ...adviceFor(failure, host).map((line) => `- ${line}`),
  ].join('\n');
}

/** Where no addon was found, and what is there instead. */
function emptyFolders(root: string, { platform, steering }: Host): string[] {
  const { FUSED_RMSNORM_PREBUILD: folder = root, PREBUILDS_ONLY, LIBC } = steering;
  const [system = '', processor = ''] = platform.split('-');
  const { npm_config_platform = system, npm_config_arch = processor } = steering;
  const wanted = [
    `${npm_config_platform}-${npm_config_arch}`,
    ...(LIBC === undefined ? [] : [LIBC]),
  ];
  const isSteered = Object.keys(steering).length > 0;
  const built = PREBUILDS_ONLY === undefined ? 'no addon' : 'passed over';
  const names = folderNames(path.join(folder, 'prebuilds')).filter((name) => name.includes('-'));
  const others = isSteered ? `, none for ${wanted.join(' with ')}` : '';
  const shipped = names.length === 0 ? 'no addons' : `addons for ${names.join(', ')}${others}`;
  return [
    `${path.join(folder, 'build/Release')}: ${built}`,
    `${path.join(folder, 'prebuilds')}: ${shipped}`,
  ];
}

/** What to do about each variable that steers. */
function steeringAdvice({ platform, steering }: Host): string[] {
  return Object.entries(steering).map(
    ([name, value]) =>
      `Unset the environment variable ${name}, which is '${value}': with it, node-gyp-build ` +
      `${steeringNames[name as SteeringName]}. This process is ${platform}.`,
  );
}

function folderNames(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function adviceFor({ root, file, error }: Failure, host: Host): string[] {
  const { platform, glibcVersion, electronVersion, steering } = host;
  if (!isPackage(root)) {
    return [
      `This code does not run from the package's folder: a bundler has taken it along without the ` +
        `addon. Make 'fused-rmsnorm' external to the bundle, and install it where that runs.`,
    ];
  }
  if (error.code === 'ERR_DLOPEN_DISABLED') {
    return [
      'This process may not load addons. Leave out --no-addons, or, with the permission model, ' +
        'give it --allow-addons.',
    ];
  }
  const build =
    `Build the addon here: 'npx fused-rmsnorm build' in your project. It needs CMake 3.22 and a ` +
    `C++20 compiler.`;
  const advice = steeringAdvice(host);
  // Without them there may well be an addon: what else could be done is known then.
  if (file === null && advice.length > 0) return advice;
  if (electronVersion !== null) {
    advice.push(
      'The addon needs no rebuild for Electron. In an asar archive it can not be loaded: unpack ' +
        `'**/node_modules/fused-rmsnorm/**' (asarUnpack).`,
    );
  }
  if (platform.startsWith('linux') && glibcVersion === null) {
    return [
      ...advice,
      `This Node.js is built for musl, as on Alpine. There is no addon for it, since NVIDIA has no ` +
        `driver for it: use one for glibc, such as the image node:22-slim.`,
      build,
    ];
  }
  const needed = /version [`']?GLIBC_([\d.]+)/.exec(error.message)?.[1];
  if (needed !== undefined) {
    advice.push(
      `This system's glibc is ${glibcVersion ?? 'unknown'}, and the addon needs ${needed}. Prebuilt ` +
        `ones need ${neededGlibc}, which Debian 10, Ubuntu 20.04 and RHEL 8 have.`,
    );
  }
  const made = file === null ? null : platformOfFile(file);
  const isWanted = 'npm_config_arch' in steering || 'npm_config_platform' in steering;
  if (made !== null && !platform.startsWith(made) && !isWanted) {
    advice.push(
      `The file is for ${made}: it was copied from another machine. Install the package here ` +
        `(npm install), or delete ${path.dirname(file ?? root)} if you built it.`,
    );
  }
  return [...advice, build];
}

function isPackage(root: string): boolean {
  try {
    const { name } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
      name?: string;
    };
    return name === 'fused-rmsnorm';
  } catch {
    return false;
  }
}

const elfMachines: Readonly<Record<number, string>> = {
  0x03: 'ia32',
  0x28: 'arm',
  0x3e: 'x64',
  0xb7: 'arm64',
};

/** What a file was built for, such as `'linux-arm64'` or `'win32'`; null if its head does not tell. */
function platformOfFile(file: string): string | null {
  const head = Buffer.alloc(20);
  try {
    const descriptor = openSync(file, 'r');
    readSync(descriptor, head, 0, head.length, 0);
    closeSync(descriptor);
  } catch {
    return null;
  }
  if (head.toString('latin1', 0, 4) === '\x7fELF') {
    const arch = elfMachines[head.readUInt16LE(18)];
    return arch === undefined ? null : `linux-${arch}`;
  }
  if (head.toString('latin1', 0, 2) === 'MZ') return 'win32';
  return head.readUInt32LE(0) === 0xfeedfacf ? 'darwin' : null;
}
