// Tests `fused-rmsnorm build` with stand-ins for the tools that it calls: what it asks of them, and
// what it says if one is missing or fails. scripts/test-package.sh runs the real build.

import { spawn } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { addon, type Ending } from '../support/processes';

const root = path.join(__dirname, '../..');
let tools = '';
let temporary = '';

beforeEach(() => {
  tools = mkdtempSync(path.join(tmpdir(), 'rmsnorm-tools-'));
  temporary = path.join(tools, 'temporary');
  mkdirSync(temporary);
  symlinkSync(process.execPath, path.join(tools, 'node'));
  install('an app');
});
afterEach(() => {
  rmSync(tools, { recursive: true });
});

let installed = '';

/** Installs the package without an addon, in a folder of this name. */
function install(folder: string): void {
  const modules = path.join(tools, folder, 'node_modules');
  installed = path.join(modules, 'fused-rmsnorm');
  mkdirSync(installed, { recursive: true });
  for (const name of ['package.json', 'CMakeLists.txt', 'cmake', 'csrc', 'bench/native', 'dist']) {
    cpSync(path.join(root, name), path.join(installed, name), { recursive: true });
  }
  const manifest = readFileSync(path.join(root, 'package.json'), 'utf8');
  const { dependencies } = JSON.parse(manifest) as { dependencies: object };
  for (const name of [...Object.keys(dependencies), ...headerPackages]) {
    symlinkSync(path.join(root, 'node_modules', name), path.join(modules, name));
  }
}

const headerPackages = ['node-addon-api', 'node-api-headers'] as const;
type HeaderPackage = (typeof headerPackages)[number];

/** Replaces an installed header package by one with this version but no headers, or removes it. */
function setVersion(name: HeaderPackage, version?: string): void {
  const folder = path.join(installed, '..', name);
  rmSync(folder);
  if (version === undefined) return;
  mkdirSync(folder);
  writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name, version }));
}

/** Adds a program that logs its arguments, and fails if the first of them is `failsAt`. */
function addTool(name: string, failsAt = '', body = ''): void {
  const file = path.join(tools, name);
  const log = path.join(tools, `${name}.log`);
  const lines = [
    '#!/usr/bin/env node',
    'const { appendFileSync, cpSync, mkdirSync, readFileSync, realpathSync, writeFileSync } =',
    "  require('node:fs');",
    'const args = process.argv.slice(2);',
    `appendFileSync(${JSON.stringify(log)}, JSON.stringify(args) + '\\n');`,
    `if (args[0] === ${JSON.stringify(failsAt)}) process.exit(3);`,
    body,
  ];
  writeFileSync(file, lines.join('\n'));
  chmodSync(file, 0o755);
}

/** Checks that it could build its sources, and leaves the files of a build. */
const cmake = `
  if (args[0] === '-S') {
    const includes = args.find((arg) => arg.startsWith('-DCMAKE_JS_INC=')).slice(15).split(';');
    const sources = ['CMakeLists.txt', 'cmake/kernels.cmake', 'csrc/op/fold.h', 'bench/native/launches.cc'];
    const files = sources.map((name) => args[1] + '/' + name);
    files.push(includes[0] + '/node_api.h', includes[1] + '/napi.h');
    for (const file of files) if (realpathSync(file) !== file) throw new Error('Elsewhere: ' + file);
  }
  if (args[0] === '--build') {
    mkdirSync(args[1] + '/Release', { recursive: true });
    cpSync(${JSON.stringify(addon)}, args[1] + '/Release/rmsnorm.node');
    writeFileSync(args[1] + '/Release/rmsnorm_bench.node', 'bench');
    mkdirSync(args[1] + '/cuda');
    writeFileSync(args[1] + '/cuda/forward.fatbin', 'kernels');
    writeFileSync(args[1] + '/cuda/forward.ptxas.log', '');
  }`;

/**
 * Installs the dependencies in the current folder's package.json, from the packages of this
 * checkout.
 */
const npm = `
  const { private: isPrivate, dependencies } = JSON.parse(readFileSync('package.json', 'utf8'));
  if (!isPrivate) throw new Error('package.json');
  for (const [name, range] of Object.entries(dependencies)) {
    const from = ${JSON.stringify(path.join(root, 'node_modules'))} + '/' + name;
    const { version } = JSON.parse(readFileSync(from + '/package.json', 'utf8'));
    if (range[0] !== '^' || range.split('.')[0] !== '^' + version.split('.')[0]) throw new Error(range);
    cpSync(from, 'node_modules/' + name, { recursive: true });
  }`;

function callsOf(name: string): string[][] {
  const lines = readFileSync(path.join(tools, `${name}.log`), 'utf8')
    .trimEnd()
    .split('\n');
  return lines.map((line) => JSON.parse(line) as string[]);
}

/** Runs the command, and interrupts it once the file `interruptedAt` exists. */
function build(
  args: string[] = [],
  env: NodeJS.ProcessEnv = {},
  interruptedAt = '',
): Promise<Ending> {
  const all = [path.join(installed, 'dist/bench/cli.js'), 'build', ...args];
  const child = spawn(process.execPath, all, {
    env: { PATH: tools, CXX: 'a-compiler', TMPDIR: temporary, ...env },
    detached: true,
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const waiting = setInterval(() => {
    if (!existsSync(interruptedAt)) return;
    clearInterval(waiting);
    process.kill(-(child.pid as number), 'SIGINT');
  }, 20);
  return new Promise((resolve) => {
    child.on('close', (code, signal) => {
      clearInterval(waiting);
      resolve({ end: code ?? signal, stdout, stderr });
    });
  });
}

test.each([
  'plain',
  'Ünï 应用',
  'a $HOME; "b" #1 (2) [3] {4}',
  "it's 100%41 & *?!~ <x> | `y`",
  '$<1:x>;${y} @z@',
])('builds and installs in a folder named %s', async (folder) => {
  install(folder);
  addTool('cmake', '', cmake);
  addTool('a-compiler');
  const { end, stdout, stderr } = await build();
  expect({ end, stdout, stderr }).toEqual({
    end: 0,
    stdout: `${path.join(installed, 'build/Release/rmsnorm.node')} was built and loads.\n`,
    stderr: '',
  });
  const [version, configure = [], compile = []] = callsOf('cmake');
  expect(version).toEqual(['--version']);
  for (const argument of [...configure, ...compile]) {
    expect(argument.replace(/^-D\w+=/, '')).toMatch(/^[A-Za-z0-9 ._/;-]+$/);
  }
  expect(configure).toContain('-DCMAKE_BUILD_TYPE=Release');
  expect(configure).toContain('-DRMSNORM_CUDA=AUTO');
  expect(compile.slice(0, 2)).toEqual(['--build', configure[3]]);
  expect(compile[2]).toBe('--parallel');
  const built = path.join(installed, 'build');
  expect(readFileSync(path.join(built, 'Release/rmsnorm_bench.node'), 'utf8')).toBe('bench');
  expect(readdirSync(path.join(built, 'cuda'))).toEqual(['forward.fatbin']);
  expect(readdirSync(temporary)).toEqual([]);
});

test('compiles no kernels if the package has them', async () => {
  mkdirSync(path.join(installed, 'prebuilds/cuda'), { recursive: true });
  addTool('cmake', '', cmake);
  addTool('a-compiler');
  expect((await build()).end).toBe(0);
  expect(callsOf('cmake')[1]).toContain('-DRMSNORM_CUDA=OFF');
});

test.each([
  ['a command with arguments', 'a-compiler g++ -m64', ''],
  ['a command in quotes', '"a-compiler" -O1', ''],
  ['a command with blanks around it', '  a-compiler  ', ''],
  ['a path with a blank', 'PATH/a compiler', 'a compiler'],
  ['a path in quotes, with arguments', '"PATH/a compiler" -DX="y z"', 'a compiler'],
  ['empty, with c++ installed', '', 'c++'],
  ['empty, with only g++ installed', '', 'g++'],
  ['empty, with only clang++ installed', '', 'clang++'],
])('finds the compiler if CXX is %s', async (_, compiler, name) => {
  addTool('cmake', '', cmake);
  addTool(name === '' ? 'a-compiler' : name);
  const { end, stderr } = await build([], { CXX: compiler.replace('PATH', tools) });
  expect([end, stderr]).toEqual([0, '']);
});

test.each([
  ['cmake', 'a-compiler', 'a-compiler', 'The build needs CMake 3.22 or newer'],
  ['a-compiler', 'cmake', 'a-compiler', 'The build needs a C++20 compiler'],
  ['a-compiler', 'cmake', 'a-compiler -m64', 'The build needs a C++20 compiler'],
  ['c++', 'cmake', '', 'The build needs a C++20 compiler'],
])(
  'says that %s is missing, if there is %s and CXX is %p',
  async (missing, other, compiler, text) => {
    addTool(other);
    const { end, stderr } = await build([], { CXX: compiler });
    expect(end).toBe(1);
    expect(stderr).toContain(text);
    expect(stderr).toContain(`'${missing}' cannot be run.`);
    expect(stderr).not.toContain('.js:');
  },
);

test.each([
  ['-S', "'cmake -S …' failed: see above."],
  ['--build', "'cmake --build …' failed: see above."],
])('fails if cmake %s fails, and leaves no files', async (step, text) => {
  addTool('cmake', step);
  addTool('a-compiler');
  const { end, stderr } = await build();
  expect({ end, stderr }).toEqual({ end: 1, stderr: `${text}\n` });
  expect(readdirSync(temporary)).toEqual([]);
  expect(existsSync(path.join(installed, 'build'))).toBe(false);
});

describe('without the header packages', () => {
  const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
    devDependencies: Record<HeaderPackage, string>;
  };
  const { 'node-addon-api': wrapper, 'node-api-headers': headers } = manifest.devDependencies;
  const both = `node-api-headers@${headers} and node-addon-api@${wrapper}`;

  beforeEach(() => {
    addTool('cmake', '', cmake);
    addTool('a-compiler');
  });

  test.each([
    ['both are missing', [undefined, undefined]],
    ['the first is missing', [undefined]],
    ['the second is missing', [null, undefined]],
    ['the first has a newer major version', ['9.0.0']],
    ['the first is too old', ['8.0.0']],
    ['the second is too old', [null, '1.0.0']],
  ])('lets npm install them for the build if %s', async (_, versions) => {
    versions.forEach((version, i) => {
      if (version !== null) setVersion(headerPackages[i] as HeaderPackage, version);
    });
    addTool('npm', '', npm);
    const { end, stdout, stderr } = await build();
    expect({ end, stderr }).toEqual({ end: 0, stderr: '' });
    const [says, built, nothing] = stdout.split('\n');
    const [, folder] = /into (\S+), which is removed after the build\.$/.exec(says ?? '') ?? [];
    expect(says).toContain(`The build needs ${both}. npm installs them into ${folder ?? '?'}`);
    expect(folder).toContain(path.join(temporary, 'fused-rmsnorm-build-'));
    expect(built).toContain('rmsnorm.node was built and loads.');
    expect(nothing).toBe('');
    expect(callsOf('npm')).toEqual([
      ['install', '--prefix', '.', '--no-global', '--ignore-scripts', '--no-audit', '--no-fund'],
    ]);
    expect(readdirSync(temporary)).toEqual([]);
  });

  test.each([
    ['there is no npm', undefined, 'npm: '],
    ['npm fails', "console.error('ENOTFOUND'); process.exit(1);", 'ENOTFOUND\n'],
  ])('says what to do if %s', async (_, body, complaint) => {
    setVersion('node-addon-api');
    if (body !== undefined) addTool('npm', '', body);
    const { end, stderr } = await build();
    expect(end).toBe(1);
    expect(stderr).toContain(complaint);
    expect(stderr.trimEnd().split('\n').at(-1)).toBe(
      `npm could not install ${both}: see above. Install them where fused-rmsnorm is installed, and ` +
        'build again: npm install --no-save node-api-headers@1 node-addon-api@8',
    );
    expect(callsOf('cmake')).toEqual([['--version']]);
    expect(readdirSync(temporary)).toEqual([]);
  });
});

test('leaves no files when it is interrupted', async () => {
  const started = path.join(tools, 'started');
  const wait = `if (args[0] === '--build') {
    writeFileSync(${JSON.stringify(started)}, '');
    setTimeout(() => undefined, 60_000);
  }`;
  addTool('cmake', '', wait);
  addTool('a-compiler');
  const { end, stderr } = await build([], {}, started);
  expect({ end, stderr }).toEqual({ end: 1, stderr: "'cmake --build …' was interrupted.\n" });
  expect(readdirSync(temporary)).toEqual([]);
});

test('builds in another temporary folder if TMPDIR has an unusual path', async () => {
  const odd = path.join(tools, 'a $b;c');
  mkdirSync(odd);
  addTool('cmake', '', cmake);
  addTool('a-compiler');
  const { end } = await build([], { TMPDIR: odd });
  expect(end).toBe(0);
  expect(callsOf('cmake')[1]?.[1]).toMatch(/^(\/var)?\/tmp\/fused-rmsnorm-build-\w+\/source$/);
  expect(readdirSync(odd)).toEqual([]);
});

test('accepts no options', async () => {
  expect((await build(['--release'])).end).toBe(2);
});
