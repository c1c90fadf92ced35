// The message if the addon does not load: the attempts, their errors, and what to do.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import type { Host } from '../../lib/core/host';
import { thisHost } from '../../lib/core/host';
import { describeFailure, type Attempt } from '../../lib/core/load-failure';
import { addon, runProgram } from '../support/processes';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'rmsnorm-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const platform = `${process.platform}-${process.arch}`;
const manifest = JSON.parse(readFileSync(path.join(__dirname, '../../package.json'), 'utf8')) as {
  version: string;
};
const build = "- Build the addon here: 'npx fused-rmsnorm build' in your project.";

/** Writes an addon into the folder that FUSED_RMSNORM_PREBUILD names. Returns its path. */
function addAddon(bytes: Buffer | string, name = 'rmsnorm.node', of = platform): string {
  const file = path.join(folder, 'prebuilds', of, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, bytes);
  return file;
}

/** The error output of a process that ends because no addon in the folder loads. */
async function failure(environment = {}): Promise<string> {
  const { end, stderr } = await runProgram('', { FUSED_RMSNORM_PREBUILD: folder, ...environment });
  expect(end).toBe(1);
  expect(stderr).toContain("code: 'ERR_ADDON_NOT_LOADED'");
  expect(stderr).toContain(
    `fused-rmsnorm cannot load its native addon on ${platform} (Node.js ${process.versions.node}`,
  );
  return stderr;
}

describe('the loader', () => {
  const whole = () => readFileSync(addon);

  test('says that the folder of a variable has no addon for this system', async () => {
    mkdirSync(path.join(folder, 'prebuilds', 'sunos-sparc'), { recursive: true });
    const text = await failure();
    expect(text).toContain(`- ${folder}/build/Release: no addon`);
    expect(text).toContain(`- ${folder}/prebuilds: addons for sunos-sparc\n`);
    expect(text).toContain(
      `- Unset the environment variable FUSED_RMSNORM_PREBUILD, which is '${folder}': `,
    );
  });

  // Each of these makes node-gyp-build look for another addon.
  test.each([
    ['LIBC', 'musl'],
    ['npm_config_arch', 's390x'],
    ['npm_config_platform', 'aix'],
    ['ARM_VERSION', '5'],
    ['ELECTRON_RUN_AS_NODE', '1'],
  ])('finds the addon although %s is %s', async (name, value) => {
    addAddon(whole(), 'rmsnorm.glibc.node');
    const program = 'process.stdout.write(String(lib.getNumThreads() > 0))';
    const environment = { FUSED_RMSNORM_PREBUILD: folder, [name]: value };
    expect(await runProgram(program, environment)).toMatchObject({ end: 0, stdout: 'true' });
  });

  test('passes over an addon of another package that node-gyp-build prefers', async () => {
    // node-gyp-build prefers more tags, as more specific.
    addAddon('not even an addon', 'classic_level.armv8.uv1.glibc.node');
    addAddon(whole(), 'rmsnorm.glibc.node');
    const { end } = await runProgram('', { FUSED_RMSNORM_PREBUILD: folder });
    expect(end).toBe(0);
  });

  test('says that a file is no addon', async () => {
    const file = addAddon('version https://example.com\n');
    const text = await failure();
    expect(text).toContain(`- ${file}: file too short`);
    expect(text).toContain(build);
  });

  test('says that an addon is of another package, by its name or its exports', async () => {
    const named = addAddon(whole(), 'another.glibc.node');
    const other = readFileSync(path.join(path.dirname(addon), 'rmsnorm_bench.node'));
    const exporting = addAddon(other);
    const text = await failure();
    expect(text).toContain(`- ${named}: it is the addon of another package\n`);
    expect(text).toContain(`- ${exporting}: it is the addon of another package\n`);
    expect(text).toContain('- Unset the environment variable FUSED_RMSNORM_PREBUILD');
  });

  test('says that an addon is of another version', async () => {
    const bytes = whole();
    bytes.write('fused-rmsnorm@9', bytes.indexOf('fused-rmsnorm@'));
    const file = addAddon(bytes);
    const { version } = manifest;
    expect(await failure()).toContain(
      `- ${file}: it is the addon of fused-rmsnorm@9${version.slice(1)}, not of fused-rmsnorm@${version}\n`,
    );
  });

  test('says that an addon is for another processor', async () => {
    const bytes = whole();
    const other = process.arch === 'arm64' ? 'x64' : 'arm64';
    bytes.writeUInt16LE(other === 'arm64' ? 0xb7 : 0x3e, 18);
    const file = addAddon(bytes);
    const text = await failure();
    expect(text).toContain(`- ${file} is for linux-${other}: it was copied from another machine.`);
  });

  test('says that an addon needs a newer glibc', async () => {
    const bytes = whole();
    const version = /GLIBC_2\.\d\d/.exec(bytes.toString('latin1'))?.[0] ?? '';
    bytes.write('GLIBC_9', bytes.indexOf(version));
    addAddon(bytes);
    const text = await failure();
    expect(text).toContain(`version \`${version.replace('_2', '_9')}' not found`);
    const { glibcVersion } = thisHost();
    expect(text).toContain(
      `- This system's glibc is ${String(glibcVersion)}, and the addon needs ${version.slice(6).replace('2', '9')}.`,
    );
  });

  test('says that the process may not load addons', async () => {
    addAddon(whole());
    const text = await failure({ NODE_OPTIONS: '--no-addons' });
    expect(text).toContain('- This process may not load addons. Remove --no-addons');
    expect(text).not.toContain(build);
  });
});

describe('the message', () => {
  const host: Host = {
    platform: 'linux-x64',
    nodeVersion: '20.1.2',
    runtime: null,
    glibcVersion: '2.31',
    programFolder: '/usr/bin',
    isSingleExecutable: false,
    otherFolder: null,
    prebuildsOnly: false,
  };
  const message = (facts: Partial<Host> = {}, attempts: readonly Attempt[] = []) =>
    describeFailure({ root: folder, attempts }, { ...host, ...facts });
  const attempt = (text: string, file: string | null = '/a/rmsnorm.node', code?: string) => ({
    file,
    error: Object.assign(new Error(text), code === undefined ? {} : { code }),
  });

  beforeEach(() => {
    writeFileSync(path.join(folder, 'package.json'), '{ "name": "fused-rmsnorm" }');
    mkdirSync(path.join(folder, 'prebuilds'));
  });

  test('names the platforms of the prebuilt addons', () => {
    for (const name of ['cuda', 'linux-arm64', 'win32-x64']) {
      mkdirSync(path.join(folder, 'prebuilds', name), { recursive: true });
    }
    const none = attempt('No native build was found for platform=freebsd', null);
    expect(message({ platform: 'freebsd-x64', glibcVersion: null }, [none])).toBe(
      [
        'fused-rmsnorm cannot load its native addon on freebsd-x64 (Node.js 20.1.2).',
        'Tried:',
        `- ${folder}/build/Release: no addon`,
        `- ${folder}/prebuilds: addons for linux-arm64, win32-x64`,
        'What to do:',
        `${build} It needs CMake 3.22 and a C++20 compiler.`,
      ].join('\n'),
    );
  });

  test('says that a local build is skipped', () => {
    expect(message({ prebuildsOnly: true })).toBe(
      [
        'fused-rmsnorm cannot load its native addon on linux-x64 (Node.js 20.1.2, glibc 2.31).',
        'Tried:',
        `- ${folder}/build/Release: skipped`,
        `- ${folder}/prebuilds: no addons`,
        'What to do:',
        '- Unset the environment variable PREBUILDS_ONLY: it makes the loader skip an addon that was ' +
          'built here.',
        `${build} It needs CMake 3.22 and a C++20 compiler.`,
      ].join('\n'),
    );
  });

  test('lists all attempts, and what to do about each', () => {
    const text = message({}, [
      attempt('it is the addon of another package', '/a/build/Release/other.node'),
      attempt("/a/rmsnorm.node: version `GLIBC_2.38' not found"),
    ]);
    expect(text).toContain('- /a/build/Release/other.node: it is the addon of another package\n');
    expect(text).toContain("- /a/rmsnorm.node: version `GLIBC_2.38' not found\n");
    expect(text).toContain("- This system's glibc is 2.31, and the addon needs 2.38.");
  });

  test('says why there is no addon for musl', () => {
    const text = message({ glibcVersion: null });
    expect(text).toContain('There is no addon for musl, since NVIDIA has no driver for it');
    expect(text).toContain(build);
    expect(message({ glibcVersion: undefined })).not.toContain('musl');
  });

  test('says what Electron needs', () => {
    const text = message({ runtime: 'Electron 40.0.0' });
    expect(text).toContain('(Node.js 20.1.2, Electron 40.0.0, glibc 2.31)');
    expect(text).toContain("unpack '**/node_modules/fused-rmsnorm/**'");
  });

  test('says that the folder of prebuilt addons is missing', () => {
    rmSync(path.join(folder, 'prebuilds'), { recursive: true });
    const text = message();
    expect(text).toContain(`- ${folder}/prebuilds: no such folder\n`);
    expect(text).toContain("The package's folder 'prebuilds' is missing: a bundler,");
  });

  test('says that the file system is mounted noexec', () => {
    const text = message({}, [
      attempt('/a/rmsnorm.node: failed to map segment from shared object'),
    ]);
    expect(text).toContain('- The file system of /a is mounted noexec');
    expect(text).not.toContain(build);
  });

  test.each([
    ['ERR_DLOPEN_DISABLED', 'no addons', {}, 'Remove --no-addons'],
    ['ERR_ACCESS_DENIED', 'restricted', {}, '--allow-addons and --allow-fs-read=FOLDER/*'],
    [
      'EPERM',
      'Requires ffi access, run again with the --allow-ffi flag',
      { runtime: 'Deno 2.9.6', glibcVersion: undefined },
      'Deno loads addons only with --allow-ffi and --allow-read',
    ],
  ])('says which permissions a process needs: %s', (code, text, facts, advice) => {
    const report = message(facts, [attempt(text, '/a/rmsnorm.node', code)]);
    expect(report).toContain(`What to do:\n- `);
    expect(report).toContain(advice.replace('FOLDER', folder));
    expect(report).not.toContain(build);
  });

  test('asks for no permission if a file could be read', () => {
    const text = message({}, [
      attempt('restricted', null, 'ERR_ACCESS_DENIED'),
      attempt('file too short'),
    ]);
    expect(text).toContain('- node-gyp-build: restricted\n');
    expect(text).not.toContain('--allow-fs-read');
    expect(text).toContain(build);
  });

  test.each(['{ "name": "app" }', '{', null])(
    'recognises a bundle by its package.json: %s',
    (text) => {
      rmSync(path.join(folder, 'package.json'));
      if (text !== null) writeFileSync(path.join(folder, 'package.json'), text);
      expect(message()).toContain("Make 'fused-rmsnorm' external to the bundle");
      expect(message({ isSingleExecutable: true })).toContain(
        "Put the package's folder 'prebuilds' beside it: cp -r node_modules/fused-rmsnorm/prebuilds /usr/bin",
      );
    },
  );

  test.each([
    ['MZ', 'win32'],
    ['\xcf\xfa\xed\xfe', 'darwin'],
  ])('recognises a file of another system by its first bytes', (head, system) => {
    const file = path.join(folder, 'rmsnorm.node');
    writeFileSync(file, Buffer.from(head.padEnd(64), 'latin1'));
    const attempts = [attempt('no', file)];
    expect(message({}, attempts)).toContain(`${file} is for ${system}: `);
    expect(message({ platform: `${system}-x64` }, attempts)).not.toContain(' is for ');
  });
});
