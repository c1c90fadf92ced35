// Tests what the command `info` finds, as text and as JSON; and the help of all commands.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { findKernels, type Kernels } from '../../bench/environment/kernels';
import { packageVersion } from '../../bench/environment/package';
import { pinTo, processors } from '../support/cpu-limits';
import { hasSimulator, simulator } from '../support/processes';
import { cli, root, widthOf } from './program';

describe('info', () => {
  test('reports what runs here, and why there is no GPU', async () => {
    const { end, stdout } = await cli(['info'], { env: { RMSNORM_LIBCUDA: 'no-such-library' } });
    expect(end).toBe(0);
    expect(stdout).toContain(`fused-rmsnorm: ${packageVersion}`);
    expect(stdout).toContain(`Node.js:       ${process.versions.node}, Node-API `);
    expect(stdout).toMatch(/^addon: +\S+rmsnorm.*\.node$/m);
    expect(stdout).toMatch(/^variant: +\w+ \(available: .*scalar\)$/m);
    expect(stdout).toMatch(/^GPU: +none\. CUDA is not available: [^]*'no-such-library'/m);
    expect(stdout).toMatch(/^kernels: +(\d files in|none)/m);
  });

  const onSimulator = hasSimulator ? test : test.skip;
  onSimulator('lists GPUs', async () => {
    const env = { RMSNORM_LIBCUDA: simulator, CUDASIM_DEVICES: '2' };
    const { stdout } = await cli(['info'], { env });
    expect(stdout.match(/^GPU: +cuda:[01]: cudasim /gm)?.length).toBe(2);
    expect(stdout).toMatch(/^architectures: .*compute_75\+80\S* \d+ KiB/m);
    expect(widthOf(stdout)).toBeLessThanOrEqual(80);
  });

  const pinned = pinTo(1);
  const pinnedTest = 'missing' in pinned ? test.skip : test;
  const reason = 'missing' in pinned ? ` (skipped: ${pinned.missing})` : '';
  const [by, source] = [
    'missing' in pinned ? [] : pinned.command,
    processors > 1 ? 'affinity mask' : 'processors',
  ];
  pinnedTest(`reports the source of the thread count${reason}`, async () => {
    const text = async (env: NodeJS.ProcessEnv) => (await cli(['info'], { env, by })).stdout;
    expect(await text({})).toMatch(
      new RegExp(`^threads: +at most 1 \\(source: ${source}\\)$`, 'm'),
    );
    const variable = { RMSNORM_NUM_THREADS: '3' };
    expect(await text(variable)).toMatch(/^threads: +at most 3 \(source: RMSNORM_NUM_THREADS\)$/m);
    const json = async (env: NodeJS.ProcessEnv) =>
      JSON.parse((await cli(['info', '--json'], { env, by })).stdout) as unknown;
    expect(await json({})).toMatchObject({ threads: 1, threadsSource: source });
    const found = { threads: 3, threadsSource: 'RMSNORM_NUM_THREADS' };
    expect(await json(variable)).toMatchObject(found);
  });

  describe('--json', () => {
    const foundBy = async (env: NodeJS.ProcessEnv) => {
      const { end, stdout, stderr } = await cli(['info', '--json'], { env });
      expect([end, stderr]).toEqual([0, '']);
      return JSON.parse(stdout) as Record<string, unknown>;
    };

    test('is one object with the names in docs/benchmarks.md', async () => {
      const found = await foundBy({ RMSNORM_LIBCUDA: 'no-such-library' });
      const document = readFileSync(path.join(root, 'docs/benchmarks.md'), 'utf8');
      const [, table] = /^\*\*`info --json`\*\*[^]*?\n\n(\|[^]*?)\n\n/m.exec(document) ?? [];
      const documented = (table ?? '').split('\n').flatMap((row) => {
        const [names] = row.split('|').slice(1);
        return Array.from((names ?? '').matchAll(/`(\w+)`/g), ([, name]) => name);
      });
      expect(Object.keys(found).sort()).toEqual(documented.sort());
      expect(found).toMatchObject({
        ...{ version: packageVersion, node: process.versions.node, gpus: [] },
        ...{ nodeApi: Number(process.versions['napi']), platform: 'linux-x64' },
        addon: expect.stringMatching(/rmsnorm.*\.node$/) as unknown,
        variants: expect.arrayContaining([found['variant'], 'scalar']) as unknown,
        gpusReason: expect.stringContaining("'no-such-library'") as unknown,
      });
    });

    onSimulator('lists GPUs, and no reason why there are none', async () => {
      const found = await foundBy({ RMSNORM_LIBCUDA: simulator, CUDASIM_DEVICES: '2' });
      expect(found['gpusReason']).toBeNull();
      expect(found['gpus']).toMatchObject([
        { device: 'cuda:0', totalMemory: expect.any(Number) as unknown },
        { device: 'cuda:1' },
      ]);
      const { folder, files, bytesByArchitecture } = found['kernels'] as Kernels;
      const fatbins = readdirSync(folder).filter((name) => name.endsWith('.fatbin'));
      expect(fatbins.length).toBe(files);
      expect(Object.keys(bytesByArchitecture)).toContainEqual(
        expect.stringMatching(/^sm_\d+(\+\d+)*$/),
      );
      expect(Math.min(...Object.values(bytesByArchitecture))).toBeGreaterThan(1000);
    });

    test('has null for missing kernels', () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'rmsnorm-info-'));
      expect(findKernels(path.join(folder, 'build/Release/rmsnorm.node'))).toBeNull();
      rmSync(folder, { recursive: true });
    });
  });
});

describe('--help', () => {
  test.each([[], ['bench'], ['info'], ['verify'], ['build']])(
    'of %j fits 80 columns, and lists the exit codes',
    async (...names) => {
      const { end, stdout } = await cli([...names, '--help']);
      expect(end).toBe(0);
      expect(widthOf(stdout)).toBeLessThanOrEqual(80);
      expect(stdout).toMatch(
        names.length === 0
          ? /^Exit codes: 0, 1 /m
          : /^Exit codes:\n {2}0 +\w[^]*^ {2}1 +\w[^]*^ {2}2 +wrong usage$/m,
      );
    },
  );
});
