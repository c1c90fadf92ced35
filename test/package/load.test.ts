// Tests that the installed package loads in every runtime, and what it says if it cannot load.

import { existsSync, rmSync } from 'node:fs';
import path from 'node:path';

import {
  failureOf,
  makeApplication,
  outputOf,
  printed,
  programNames,
  removeFolders,
  run,
  runtimes,
} from './application';

afterAll(removeFolders);

let folder = '';

beforeAll(() => {
  folder = makeApplication();
});

const deno = ['run', '--no-prompt', '--node-modules-dir=manual'];
const argumentsOf = (runtime: string) => (runtime === 'deno' ? [...deno, '--allow-all'] : []);

describe.each(Object.entries(runtimes))('%s', (runtime, command) => {
  test.each(programNames)('runs %s', (name) => {
    expect(outputOf(folder, command, [...argumentsOf(runtime), name])).toBe(printed);
  });
});

describe('Node.js', () => {
  test.each([
    '--frozen-intrinsics',
    '--disallow-code-generation-from-strings',
    '--preserve-symlinks',
  ])('runs the programs with %s', (flag) => {
    expect(outputOf(folder, process.execPath, [flag, 'app.cjs'])).toBe(printed);
    expect(outputOf(folder, process.execPath, [flag, 'app.mjs'])).toBe(printed);
  });
});

describe('Deno', () => {
  test('needs only --allow-read and --allow-ffi', () => {
    const args = [...deno, '--allow-read', '--allow-ffi', 'app.cjs'];
    expect(outputOf(folder, runtimes.deno, args)).toBe(printed);
  });

  test.each([[['--allow-read']], [['--allow-read', '--allow-env', '--allow-sys']]])(
    'says which permissions are missing with %j',
    (flags) => {
      const stderr = failureOf(folder, runtimes.deno, [...deno, ...flags, 'app.cjs']);
      expect(stderr).toContain('run again with the --allow-ffi flag');
      expect(stderr).toContain('Deno loads addons only with --allow-ffi and --allow-read');
    },
  );
});

describe('the permission model of Node.js', () => {
  const permission = {
    node: '--experimental-permission',
    'node-24': '--permission',
    'node-26': '--permission',
  };
  const cases = Object.entries(permission) as [keyof typeof permission, string][];

  test.each(cases)(
    'lets the package run with access to only the application and addons: %s',
    (runtime, flag) => {
      const args = [flag, `--allow-fs-read=${folder}/*`, '--allow-addons', 'app.cjs'];
      const { end, stdout, stderr } = run(folder, runtimes[runtime], args);
      expect({ end, stdout, stderr }).toMatchObject({ end: 0, stdout: printed });
    },
  );

  test.each(cases)('causes a message about --allow-addons: %s', (runtime, flag) => {
    const args = [flag, `--allow-fs-read=${folder}/*`, 'app.cjs'];
    const stderr = failureOf(folder, runtimes[runtime], args);
    expect(stderr).toContain('add --allow-addons');
  });

  test.each(cases)('causes a message about --allow-fs-read: %s', (runtime, flag) => {
    const allowed = [
      'app.cjs',
      'node_modules/fused-rmsnorm/dist/*',
      'node_modules/fused-rmsnorm/package.json',
      'node_modules/node-gyp-build/*',
    ];
    const reads = allowed.map((name) => `--allow-fs-read=${path.join(folder, name)}`);
    const args = [flag, ...reads, '--allow-addons', 'app.cjs'];
    const stderr = failureOf(folder, runtimes[runtime], args);
    expect(stderr).toContain(
      `--allow-fs-read=${path.join(folder, 'node_modules/fused-rmsnorm')}/*`,
    );
  });
});

test('the error names a file system that is mounted noexec', () => {
  const mount = `mount --bind . . && mount -o remount,noexec,bind . && cd "$PWD" && exec "$0" app.cjs`;
  const stderr = failureOf(folder, 'unshare', ['--mount', 'sh', '-c', mount, process.execPath]);
  expect(stderr).toContain('failed to map segment from shared object');
  expect(stderr).toContain(`The file system of ${folder}/node_modules/fused-rmsnorm/prebuilds`);
  expect(stderr).toContain('is mounted noexec');
  expect(stderr).not.toContain('fused-rmsnorm build');
});

test('the error says that the prebuilds are missing', () => {
  const other = makeApplication();
  const prebuilds = path.join(other, 'node_modules/fused-rmsnorm/prebuilds');
  rmSync(prebuilds, { recursive: true });
  const stderr = failureOf(other, process.execPath, ['app.cjs']);
  expect(stderr).toContain(`- ${prebuilds}: no such folder`);
  expect(stderr).toContain("The package's folder 'prebuilds' is missing");
  expect(existsSync(path.join(other, 'node_modules/fused-rmsnorm/build'))).toBe(false);
});
