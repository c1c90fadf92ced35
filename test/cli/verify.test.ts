// Tests `fused-rmsnorm verify` as it ships, on every GPU or on simulated ones: a complete run, its
// text, and its report on a GPU with wrong results.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { nvidiaDriver } from '../../bench/environment/machine';
import { packageVersion } from '../../bench/environment/package';
import type { VerificationReport } from '../../bench/verify/text';
import { gpus, onEachGpu, onGpu } from '../support/gpu';
import { cli, root, widthOf, type Ending } from './program';

jest.setTimeout(180_000); // simulated devices take long on a busy machine

const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => /^(RMSNORM|CUDASIM|CUDA)_/.test(name)),
);
const verify = (args: readonly string[], more: NodeJS.ProcessEnv = {}): Promise<Ending> =>
  cli(['verify', ...args], { env: { ...env, ...more } });
const reportOf = ({ stdout }: Ending) => JSON.parse(stdout) as VerificationReport;

onEachGpu('verify on $device ($computeCapability)', ({ device, computeCapability }) => {
  test('finds the bits of the CPU, and reaches every kernel', async () => {
    const ending = await verify(['--device', device, '--json']);
    const report = reportOf(ending);
    const wrong = report.groups.filter(({ findings, errors }) => findings.length + errors.length);
    expect(wrong).toEqual([]);
    expect(report.kernels.length).toBeGreaterThan(0);
    expect(report.kernels.filter(({ isReached }) => !isReached)).toEqual([]);
    expect(report).toMatchObject({
      ...{ isComplete: true, isThorough: false, failure: null },
      machine: { version: packageVersion, node: process.versions.node },
      gpu: { device, computeCapability },
    });
    for (const { calls } of report.groups) expect(calls).toBeGreaterThan(10);
    expect(ending.end).toBe(0);
  });
});

onGpu('verify', () => {
  const device = gpus[0]?.device ?? 'cuda:0'; // also read without a GPU: the suite is then skipped

  test('prints a table of 80 columns, and the groups on stderr', async () => {
    const { end, stdout, stderr } = await verify(['--filter', '^(graphs|the CPU)']);
    expect(end).toBe(0);
    expect(widthOf(stdout)).toBeLessThanOrEqual(80);
    expect(stdout).toMatch(/^group +calls +kernels +result\n─+\nthe CPU, by the formula +30 +0 /m);
    expect(stdout).toMatch(/^graphs, captured and replayed +\d+ +\d+ +the same bits$/m);
    expect(stdout).toMatch(
      /^Some groups did not run, so some kernels were not checked\.\nAll checks passed\.$/m,
    );
    expect(stderr).toBe('the CPU, by the formula\ngraphs, captured and replayed\n');
  });

  test('prints JSON with the names in docs/device.md', async () => {
    const report = reportOf(await verify(['--filter', '^the CPU', '--json']));
    const document = readFileSync(path.join(root, 'docs/device.md'), 'utf8');
    const [, table] = /^`verify --json`.*\n\n((?:\|.*\n)+)/m.exec(document) ?? [];
    const documented = (table ?? '').split('\n').flatMap((row) => {
      const [names] = row.split('|').slice(1);
      return Array.from((names ?? '').matchAll(/`(\w+)`/g), ([, name]) => name);
    });
    expect(Object.keys(report).sort()).toEqual(documented.sort());
  });

  test.each([
    [['--device', 'cuda:77'], 1, /^--device must be one of cuda:0.*\. Received 'cuda:77'\n$/],
    [['--filter', 'no such group'], 1, /^No group matches --filter\.\n$/],
    [['--device', 'cpu'], 2, /'cpu' is not one of cuda, cuda:N\.\n$/],
    [['--filter', '('], 2, /--filter <regexp>/],
  ])('refuses %j', async (args, code, message) => {
    const { end, stdout, stderr } = await verify(args);
    expect([end, stdout]).toEqual([code, '']);
    expect(stderr).toMatch(message);
  });

  describe('for a wrong GPU', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'rmsnorm-verify-'));
    afterAll(() => {
      rmSync(folder, { recursive: true });
    });

    test('names the call, its kernel and the first element that differs', async () => {
      // Flips one bit in the third float16 result that comes from the GPU.
      const hook = path.join(folder, 'wrong.cjs');
      writeFileSync(
        hook,
        `const { DeviceBuffer } = require(${JSON.stringify(path.join(root, 'dist'))});
        const { toHost } = DeviceBuffer.prototype;
        let left = 3;
        DeviceBuffer.prototype.toHost = function (...args) {
          const array = toHost.apply(this, args);
          if (this.dtype === 'float16' && --left === 0) array[1] ^= 1;
          return array;
        };`,
      );
      const args = ['--device', device, '--filter', '^forward, one'];
      const { end, stdout, stderr } = await verify(args, { NODE_OPTIONS: `--require ${hook}` });
      expect(end).toBe(1);
      expect(stdout).toMatch(/^forward, one tile a thread +\d+ +\d+ +1 differ$/m);
      expect(stdout.replaceAll(/\s+/g, ' ')).toMatch(
        /forward, one tile a thread: 1 of \d+ differ, first forward \dx\d+ float16[^:]*, by forward\w+: y at row 0, column 1 is 0x[\da-f]{4} \([-\d.e]+\), the CPU's is 0x[\da-f]{4} \([-\d.e]+\)\. Elements that differ: 1\./,
      );
      expect(stderr).toMatch(/^1 of 1 groups differ from the CPU, or failed: see above\.\n$/m);
    });

    test('says what failed', async () => {
      const fail = 'cuLaunchKernel@7:CUDA_ERROR_LAUNCH_FAILED';
      const { end, stdout } = await verify(['--filter', '^forward'], { CUDASIM_FAIL: fail });
      // A real GPU ignores CUDASIM_FAIL.
      const isSimulated = gpus[0]?.name.startsWith('cudasim');
      expect(end).toBe(isSimulated ? 1 : 0);
      if (isSimulated) expect(stdout).toMatch(/forward, one tile[^:]*: forward [^]*LAUNCH_FAILED/);
    });
  });
});

test('verify says why there is no GPU', async () => {
  const { end, stdout, stderr } = await cli(['verify'], { env: { RMSNORM_LIBCUDA: 'no-such' } });
  expect([end, stdout]).toEqual([1, '']);
  expect(stderr).toMatch(/^CUDA is not available: .*'no-such'.*\n$/);
});

test("the version of the driver is read from NVIDIA's file", () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'rmsnorm-driver-'));
  const file = path.join(folder, 'version');
  const versions = ['for x86_64  580.65.06  Release', ' 450.80.02  Wed', 'without one'].map(
    (text) => {
      writeFileSync(file, `NVRM version: NVIDIA Kernel Module ${text}\nGCC version: 12.2.0\n`);
      return nvidiaDriver(file);
    },
  );
  rmSync(folder, { recursive: true });
  expect(versions).toEqual(['580.65.06', '450.80.02', null]);
  expect(nvidiaDriver(file)).toBeNull();
});
