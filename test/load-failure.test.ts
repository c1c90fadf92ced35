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

  test('is missing', async () => {
    const text = await failureWith(null);
    expect(text).toContain('build/Release: no addon');
    expect(text).toContain(build);
  });

  test('is no addon', async () => {
    const text = await failureWith(Buffer.from('version https://example.com\n'));
    expect(text).toContain(`- ${file()}: ${file()}: file too short`);
    expect(text).toContain(build);
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
