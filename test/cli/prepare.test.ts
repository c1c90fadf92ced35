// Tests scripts/prepare.mjs with stand-ins for the tools that it calls: what `npm run quickstart`
// and `npm test` build, and what they say if a tool is missing or fails.

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const root = path.join(__dirname, '../..');
let tree = '';
let tools = '';

function write(file: string, contents = ''): void {
  mkdirSync(path.dirname(path.join(tree, file)), { recursive: true });
  writeFileSync(path.join(tree, file), contents);
}

/** Adds a program that logs its arguments, and then runs `body`. */
function addTool(name: string, body = ''): void {
  const file = path.join(tools, name);
  const lines = [
    '#!/usr/bin/env node',
    "const { appendFileSync, mkdirSync, writeFileSync } = require('node:fs');",
    'const args = process.argv.slice(2);',
    `if (args[0] !== '--version') appendFileSync('calls', '${name} ' + args.join(' ') + '\\n');`,
    body,
  ];
  writeFileSync(file, lines.join('\n'));
  chmodSync(file, 0o755);
}

/** Makes the files that npm's scripts build. */
const npm = `
  const target = args.at(-1);
  const make = (folder, file, contents) => {
    mkdirSync(folder, { recursive: true });
    writeFileSync(folder + '/' + file, contents);
  };
  if (target === 'build:ts') make('dist/bench', 'cli.js', '');
  if (target === 'build:native' || target === 'build:addon') {
    make('build/Release', 'rmsnorm.node', 'forward.0123456789abcdef.fatbin');
  }
  if (target === 'build:native') {
    for (const name of ['bench', 'test']) make('build/Release', 'rmsnorm_' + name + '.node', '');
  }
`;

beforeEach(() => {
  tree = mkdtempSync(path.join(tmpdir(), 'rmsnorm-prepare-'));
  tools = path.join(tree, 'tools');
  mkdirSync(tools);
  symlinkSync(process.execPath, path.join(tools, 'node'));
  const native = ['csrc/a.cc', 'bench/native/b.cc', 'test/support/addon/c.cc', 'cmake/d.cmake'];
  const sources = [...native, 'bench/e.ts', 'lib/f.ts'];
  const settings = ['CMakeLists.txt', 'package-lock.json', 'tsconfig.json', 'tsconfig.bench.json'];
  const before = new Date(Date.now() - 60_000);
  for (const file of [...sources, ...settings, 'test/cudasim/g.cc']) {
    write(file);
    utimesSync(path.join(tree, file), before, before);
  }
  write('node_modules/.package-lock.json');
  mkdirSync(path.join(tree, 'scripts'));
  for (const name of ['prepare.mjs', 'addon-kernels.js']) {
    cpSync(path.join(root, 'scripts', name), path.join(tree, 'scripts', name));
  }
  addTool('npm', npm);
  addTool('cmake');
  addTool('c++');
});
afterEach(() => {
  rmSync(tree, { recursive: true });
});

/** Runs the script. Returns how it ended and which tools it called. */
function prepare(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  rmSync(path.join(tree, 'calls'), { force: true });
  const all = [path.join(tree, 'scripts/prepare.mjs'), ...args];
  const { status, stderr } = spawnSync(process.execPath, all, {
    cwd: tree,
    env: { PATH: tools, ...env },
    encoding: 'utf8',
  });
  const log = path.join(tree, 'calls');
  const calls = existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n') : [];
  return { status, stderr, calls };
}

test('the quick start builds only the addon, and only once', () => {
  const { scripts } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
    scripts: { quickstart: string };
  };
  expect(scripts.quickstart).toContain('scripts/prepare.mjs --addon ');
  expect(prepare(['--addon']).calls).toEqual(['npm run --silent build:addon']);
  expect(prepare(['--addon']).calls).toEqual([]);
});

test('the tests build the rest afterwards', () => {
  prepare(['--addon']);
  expect(prepare(['--simulator']).calls).toEqual([
    'npm run --silent build:native',
    'npm run --silent build:ts',
  ]);
  expect(prepare(['--simulator']).calls).toEqual([]);
});

test('an edit that changes no addon is built only once', () => {
  prepare([]);
  const soon = new Date(Date.now() + 60_000);
  for (const name of ['rmsnorm', 'rmsnorm_bench', 'rmsnorm_test']) {
    const built = path.join(tree, `build/Release/${name}.node`);
    utimesSync(built, new Date(0), new Date(0));
  }
  addTool('npm'); // finds nothing to do
  expect(prepare([]).calls).toEqual(['npm run --silent build:native']);
  expect(prepare([]).calls).toEqual([]);
  utimesSync(path.join(tree, 'csrc/a.cc'), soon, soon);
  expect(prepare([]).calls).toEqual(['npm run --silent build:native']);
});

describe('packages that are not installed', () => {
  beforeEach(() => {
    rmSync(path.join(tree, 'node_modules/.package-lock.json'));
    symlinkSync('/bin/sh', path.join(tools, 'sh'));
  });

  test('are installed, without downloads of onnxruntime', () => {
    write('build/CMakeCache.txt');
    addTool('npm', `${npm}\nconsole.error(process.env.ONNXRUNTIME_NODE_INSTALL);`);
    const { calls, stderr } = prepare(['--addon']);
    expect(calls).toEqual(['npm install --no-save', 'npm run --silent build:addon']);
    expect(stderr).toContain('\nskip\n');
  });

  test('are installed while the code that needs none of them compiles', () => {
    addTool('cmake', "console.error('in between');");
    const { status, calls, stderr } = prepare(['--addon']);
    expect(status).toBe(0);
    expect(calls.at(-1)).toBe('npm run --silent build:addon');
    const ofCmake = calls.filter((call) => call.startsWith('cmake '));
    expect(ofCmake).toEqual([
      expect.stringMatching(/^cmake -S \. -B build -D/),
      expect.stringMatching(/^cmake --build build --target rmsnorm_core --parallel \d+$/),
    ]);
    expect(stderr).not.toContain('in between');
  });

  test('are reported as failed only after the compilation has ended', () => {
    addTool('npm', 'process.exit(4);');
    const { status, calls, stderr } = prepare(['--addon']);
    expect([status, calls.length]).toEqual([1, 3]);
    expect(stderr).toMatch(/\n'npm install --no-save' failed \(exit code 4\): see above\.\n$/);
  });
});

describe('the simulated CUDA driver', () => {
  const kernels = ['build/cuda', 'prebuilds/cuda'].map((folder) => [folder] as const);

  test.each(kernels)('is built for kernels in %s, with one job for each processor', (folder) => {
    write(`${folder}/forward.0123456789abcdef.fatbin`);
    const { calls } = prepare(['--simulator']);
    expect(calls.slice(2)).toEqual([
      'cmake -S test/cudasim -B build/cudasim -DCMAKE_BUILD_TYPE=Release',
      expect.stringMatching(/^cmake --build build\/cudasim --target cuda --parallel \d+$/),
    ]);
  });

  test('is not built for kernels of another addon', () => {
    write('build/cuda/forward.fedcba9876543210.fatbin');
    expect(prepare(['--simulator']).calls.length).toBe(2);
  });

  test.each(['-S', '--build'])('shows the last lines of CMake if cmake %s fails', (step) => {
    write('build/cuda/forward.0123456789abcdef.fatbin');
    const failure = 'CMake Error at CMakeLists.txt:7:\n  Something else is wrong.';
    addTool(
      'cmake',
      `if (args[0] === '${step}') { console.error(${JSON.stringify(failure)}); process.exit(7); }`,
    );
    const { status, stderr } = prepare(['--simulator']);
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /\nCMake Error at CMakeLists\.txt:7:\n {2}Something else is wrong\.\n'cmake .*cudasim.*' failed \(exit code 7\): see above\.\n$/,
    );
    expect(stderr).not.toContain('zstd');
  });
});

describe('a missing tool', () => {
  const needs = 'The native addon needs CMake 3.22 and a C++20 compiler to be built';

  test('is reported if it is cmake', () => {
    rmSync(path.join(tools, 'cmake'));
    const { status, stderr, calls } = prepare(['--addon']);
    expect([status, stderr, calls]).toEqual([1, `${needs}: install cmake.\n`, []]);
  });

  test('is reported if it is the compiler', () => {
    rmSync(path.join(tools, 'c++'));
    const { status, stderr, calls } = prepare(['--addon']);
    expect([status, stderr, calls]).toEqual([
      1,
      `${needs}: install g++ or clang, or set CXX.\n`,
      [],
    ]);
  });

  test.each(['g++', 'clang++'])('is not reported if there is %s', (name) => {
    rmSync(path.join(tools, 'c++'));
    addTool(name);
    expect(prepare(['--addon']).status).toBe(0);
  });

  test('is not looked for if CXX names a compiler, with arguments', () => {
    rmSync(path.join(tools, 'c++'));
    expect(prepare(['--addon'], { CXX: 'ccache g++-13' }).status).toBe(0);
  });

  test('is reported if it is npm', () => {
    rmSync(path.join(tools, 'npm'));
    const { status, stderr } = prepare(['--addon']);
    expect(status).toBe(1);
    expect(stderr).toContain("failed: there is no program 'npm'.");
  });
});
