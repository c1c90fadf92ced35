// What is said where the addon does not load: what was tried, what came of it, and what to do.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { describeFailure, thisHost, type Failure, type Host } from '../lib/load-failure';
import { addon, runProgram } from './processes';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'rmsnorm-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const platform = `${process.platform}-${process.arch}`;
const build = "- Build the addon here: 'npx fused-rmsnorm build' in your project.";

/** What a process prints as it ends because the package's only addon is these bytes, or none. */
async function failureWith(bytes: Buffer | null, environment = {}): Promise<string> {
  const prebuilds = path.join(folder, 'prebuilds', platform);
  mkdirSync(prebuilds, { recursive: true });
  if (bytes !== null) writeFileSync(path.join(prebuilds, 'rmsnorm.node'), bytes);
  const { end, stderr } = await runProgram('', { FUSED_RMSNORM_PREBUILD: folder, ...environment });
  expect(end).toBe(1);
  expect(stderr).toContain("code: 'ERR_ADDON_NOT_LOADED'");
  expect(stderr).toContain(
    `fused-rmsnorm can not load its native addon on ${platform} (Node.js ${process.versions.node}`,
  );
  return stderr;
}

describe('a process whose addon', () => {
  const file = () => path.join(folder, 'prebuilds', platform, 'rmsnorm.node');
  const whole = () => readFileSync(addon);

  test('is missing in the folder that a variable names', async () => {
    const text = await failureWith(null);
    expect(text).toContain(`- ${folder}/build/Release: no addon`);
    expect(text).toContain(`- ${folder}/prebuilds: addons for ${platform}, none for ${platform}\n`);
    expect(text).toContain(
      `- Unset the environment variable FUSED_RMSNORM_PREBUILD, which is '${folder}': `,
    );
    expect(text).not.toContain(build);
  });

  // Each makes node-gyp-build look for what there is not, though the addon is there.
  test.each([
    ['LIBC', 'musl', 'for that C library', `${platform} with musl`],
    ['npm_config_arch', 's390x', 'for that processor', `${process.platform}-s390x`],
    ['npm_config_platform', 'aix', 'for that system', `aix-${process.arch}`],
    ['ARM_VERSION', '5', 'for that version of ARM', platform],
    ['ELECTRON_RUN_AS_NODE', '1', 'for Electron', platform],
  ])('is not the one that %s asks for', async (name, value, meaning, wanted) => {
    const prebuilds = path.join(folder, 'prebuilds', platform);
    mkdirSync(prebuilds, { recursive: true });
    const tag = { ARM_VERSION: 'armv8', ELECTRON_RUN_AS_NODE: 'node' }[name] ?? 'glibc';
    writeFileSync(path.join(prebuilds, `rmsnorm.${tag}.node`), whole());
    const text = await failureWith(null, { [name]: value });
    expect(text).toContain(`addons for ${platform}, none for ${wanted}\n`);
    expect(text).toContain(
      `- Unset the environment variable ${name}, which is '${value}': with it,`,
    );
    expect(text).toContain(`${meaning}. This process is ${platform}.`);
  });

  test('is the one that npm_config_arch asks for', async () => {
    const other = process.arch === 'arm64' ? 'x64' : 'arm64';
    const bytes = whole();
    bytes.writeUInt16LE(other === 'arm64' ? 0xb7 : 0x3e, 18);
    const prebuilds = path.join(folder, 'prebuilds', `linux-${other}`);
    mkdirSync(prebuilds, { recursive: true });
    writeFileSync(path.join(prebuilds, 'rmsnorm.node'), bytes);
    const text = await failureWith(null, { npm_config_arch: other });
    expect(text).toContain(`- Unset the environment variable npm_config_arch, which is '${other}'`);
    expect(text).not.toContain('it was copied from another machine');
  });

  test('is found although variables say what is so', async () => {
    const { end } = await runProgram('', {
      npm_config_arch: process.arch,
      npm_config_platform: process.platform,
      LIBC: 'glibc',
    });
    expect(end).toBe(0);
  });

  test('is no addon', async () => {
    const text = await failureWith(Buffer.from('version https://example.com\n'));
    expect(text).toContain(`- ${file()}: ${file()}: file too short`);
    expect(text).toContain(build);
  });

  test('is of another package', async () => {
    const other = path.join(path.dirname(addon), 'rmsnorm_bench.node');
    const text = await failureWith(readFileSync(other));
    expect(text).toContain(`- ${file()}: this is an addon of another package`);
    expect(text).toContain('- Unset the environment variable FUSED_RMSNORM_PREBUILD');
  });

  test('is for another processor', async () => {
    const bytes = whole();
    const other = process.arch === 'arm64' ? 'x64' : 'arm64';
    bytes.writeUInt16LE(other === 'arm64' ? 0xb7 : 0x3e, 18);
    const text = await failureWith(bytes);
    expect(text).toContain(`- ${file()}: `);
    expect(text).toContain(`- The file is for linux-${other}: it was copied from another machine.`);
  });

  test('needs a newer glibc', async () => {
    const bytes = whole();
    const version = /GLIBC_2\.\d\d/.exec(bytes.toString('latin1'))?.[0] ?? '';
    bytes.write('GLIBC_9', bytes.indexOf(version));
    const text = await failureWith(bytes);
    expect(text).toContain(`version \`${version.replace('_2', '_9')}' not found`);
    const { glibcVersion } = thisHost();
    expect(text).toContain(
      `- This system's glibc is ${String(glibcVersion)}, and the addon needs ${version.slice(6).replace('2', '9')}.`,
    );
  });

  test('is not allowed', async () => {
    const text = await failureWith(whole(), { NODE_OPTIONS: '--no-addons' });
    expect(text).toContain('- This process may not load addons. Leave out --no-addons');
    expect(text).not.toContain(build);
  });
});

describe('the message', () => {
  const host: Host = {
    platform: 'linux-x64',
    nodeVersion: '20.1.2',
    glibcVersion: '2.31',
    electronVersion: null,
    steering: {},
  };
  const message = (failure: Partial<Failure>, facts: Partial<Host> = {}) =>
    describeFailure(
      { root: folder, file: null, error: new Error('no'), ...failure },
      { ...host, ...facts },
    );

  beforeEach(() => {
    writeFileSync(path.join(folder, 'package.json'), '{ "name": "fused-rmsnorm" }');
  });

  test('names the platforms that there are addons for', () => {
    for (const name of ['cuda', 'linux-arm64', 'win32-x64']) {
      mkdirSync(path.join(folder, 'prebuilds', name), { recursive: true });
    }
    expect(message({}, { platform: 'freebsd-x64', glibcVersion: null })).toBe(
      [
        'fused-rmsnorm can not load its native addon on freebsd-x64 (Node.js 20.1.2).',
        'Tried:',
        `- ${folder}/build/Release: no addon`,
        `- ${folder}/prebuilds: addons for linux-arm64, win32-x64`,
        'What to do:',
        `${build} It needs CMake 3.22 and a C++20 compiler.`,
      ].join('\n'),
    );
  });

  test('says that what was built here is passed over', () => {
    expect(message({}, { steering: { PREBUILDS_ONLY: '1' } })).toBe(
      [
        'fused-rmsnorm can not load its native addon on linux-x64 (Node.js 20.1.2, glibc 2.31).',
        'Tried:',
        `- ${folder}/build/Release: passed over`,
        `- ${folder}/prebuilds: no addons`,
        'What to do:',
        "- Unset the environment variable PREBUILDS_ONLY, which is '1': with it, node-gyp-build " +
          'passes over an addon that was built here. This process is linux-x64.',
      ].join('\n'),
    );
  });

  test('knows all variables that node-gyp-build reads', () => {
    const source = readFileSync(require.resolve('node-gyp-build/node-gyp-build.js'), 'utf8');
    const read = Array.from(source.matchAll(/process\.env\.(\w+)/g), ([, name]) => name ?? '');
    expect(read.length).toBeGreaterThan(5);
    // And one named for the package, which it makes a name of.
    expect(source).toContain("process.env[name + '_PREBUILD']");
    for (const name of read) {
      jest.replaceProperty(process, 'env', { [name]: 'other' });
      expect(thisHost().steering).toEqual({ [name]: 'other' });
      jest.restoreAllMocks();
    }
  });

  test('says why there is none for musl', () => {
    const text = message({}, { glibcVersion: null });
    expect(text).toContain('There is no addon for it, since NVIDIA has no driver for it');
    expect(text).toContain(build);
  });

  test('says what Electron needs', () => {
    const text = message({}, { electronVersion: '40.0.0' });
    expect(text).toContain('(Node.js 20.1.2, Electron 40.0.0, glibc 2.31)');
    expect(text).toContain("unpack '**/node_modules/fused-rmsnorm/**'");
  });

  test.each(['{ "name": "app" }', '{', null])('knows a bundle by its package.json: %s', (text) => {
    rmSync(path.join(folder, 'package.json'));
    if (text !== null) writeFileSync(path.join(folder, 'package.json'), text);
    expect(message({})).toContain("Make 'fused-rmsnorm' external to the bundle");
  });

  test.each([
    ['MZ', 'win32'],
    ['\xcf\xfa\xed\xfe', 'darwin'],
  ])('knows a file of another system by its head', (head, system) => {
    const file = path.join(folder, 'rmsnorm.node');
    writeFileSync(file, Buffer.from(head.padEnd(64), 'latin1'));
    expect(message({ file })).toContain(`The file is for ${system}: `);
    expect(message({ file }, { platform: `${system}-x64` })).not.toContain('The file is for');
  });
});
