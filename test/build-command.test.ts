// fused-rmsnorm build, with stand-ins for the tools it calls: what it asks them for, and what it says
// where one is missing or fails. scripts/test-package.sh has it build for real.

import { execFile } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import type { Ending } from './processes';

const root = path.join(__dirname, '..');
let tools = '';

beforeEach(() => {
  tools = mkdtempSync(path.join(tmpdir(), 'rmsnorm-'));
  symlinkSync(process.execPath, path.join(tools, 'node'));
});
afterEach(() => {
  rmSync(tools, { recursive: true });
});

/** A program that notes its arguments, and fails if the first of them is `failsAt`. */
function addTool(name: string, failsAt = ''): void {
  const file = path.join(tools, name);
  const log = path.join(tools, `${name}.log`);
  const lines = [
    '#!/usr/bin/env node',
    'const args = process.argv.slice(2);',
    `require('node:fs').appendFileSync(${JSON.stringify(log)}, JSON.stringify(args) + '\\n');`,
    `process.exit(args[0] === ${JSON.stringify(failsAt)} ? 3 : 0);`,
  ];
  writeFileSync(file, lines.join('\n'));
  chmodSync(file, 0o755);
}

function callsOf(name: string): string[][] {
  const lines = readFileSync(path.join(tools, `${name}.log`), 'utf8')
    .trimEnd()
    .split('\n');
  return lines.map((line) => JSON.parse(line) as string[]);
}

function build(...args: string[]): Promise<Ending> {
  const cli = path.join(root, 'bench/cli.ts');
  const env = { ...process.env, PATH: tools, CXX: 'a-compiler' };
  const all = ['-r', 'tsx/cjs', cli, 'build', ...args];
  return new Promise((resolve) => {
    execFile(process.execPath, all, { env, cwd: root }, (error, stdout, stderr) => {
      resolve({ end: error === null ? 0 : error.code, stdout, stderr });
    });
  });
}

test('asks cmake for a build into build/Release, with the headers of Node-API', async () => {
  addTool('cmake');
  addTool('a-compiler');
  const { end, stdout } = await build();
  expect({ end, stdout }).toEqual({
    end: 0,
    stdout: `${path.join(root, 'build/Release/rmsnorm.node')} is built, and loads.\n`,
  });
  const [version, configure = [], compile = []] = callsOf('cmake');
  expect(version).toEqual(['--version']);
  expect(configure.slice(0, 2)).toEqual(['-S', root]);
  const values = new Map(
    configure.flatMap((argument) => {
      const [, name = '', value = ''] = /^-D(\w+)=(.*)$/.exec(argument) ?? [];
      return name === '' ? [] : [[name, value] as const];
    }),
  );
  expect(values.get('CMAKE_LIBRARY_OUTPUT_DIRECTORY')).toBe(path.join(root, 'build/Release'));
  expect(values.get('CMAKE_BUILD_TYPE')).toBe('Release');
  const [nodeApi = '', wrapper = ''] = values.get('CMAKE_JS_INC')?.split(';') ?? [];
  expect(existsSync(path.join(nodeApi, 'node_api.h'))).toBe(true);
  expect(existsSync(path.join(wrapper, 'napi.h'))).toBe(true);
  expect(compile.slice(0, 2)).toEqual(['--build', configure[3]]);
});

test.each([
  ['cmake', 'a-compiler', 'The build needs CMake 3.22 or newer'],
  ['a-compiler', 'cmake', 'The build needs a C++20 compiler'],
])('says that there is no %s', async (missing, other, text) => {
  addTool(other);
  const { end, stderr } = await build();
  expect(end).toBe(1);
  expect(stderr).toContain(text);
  expect(stderr).toContain(`There is no '${missing}' that runs.`);
  expect(stderr).not.toContain('.ts:');
});

test.each([
  ['-S', "'cmake -S …' failed: see above."],
  ['--build', "'cmake --build …' failed: see above."],
])('ends where cmake %s fails', async (step, text) => {
  addTool('cmake', step);
  addTool('a-compiler');
  const { end, stderr } = await build();
  expect({ end, stderr }).toEqual({ end: 1, stderr: `${text}\n` });
});

test('has no options', async () => {
  expect((await build('--release')).end).toBe(2);
});
