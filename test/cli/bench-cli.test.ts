// Tests the command line program as it ships: compiled, in a separate process.

import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { packageVersion } from '../../bench/environment/package';
import type { Report } from '../../bench/report/result';
import { hasSimulator, simulator } from '../support/processes';
import { cli, root, type Ending } from './program';

const folder = mkdtempSync(path.join(tmpdir(), 'rmsnorm-bench-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe('bench', () => {
  const json = path.join(folder, 'report.json');
  const svg = path.join(folder, 'chart.svg');
  const shapes = ['--shapes', '1x64,4x256', '--quick', '--time', '0.3'];
  let ending: Ending;
  let report: Report;

  beforeAll(async () => {
    const rivals = ['--rivals', 'javascript,layer-norm'];
    ending = await cli(['bench', ...shapes, ...rivals, '--json', json, '--plot', svg]);
    report = JSON.parse(readFileSync(json, 'utf8')) as Report;
  });

  test('succeeds, and names what it measures on stderr', () => {
    expect(ending.end).toBe(0);
    expect(ending.stderr).toBe(
      ['forward', 'backward']
        .flatMap((op) => ['1x64', '4x256'].map((shape) => `${op} ${shape} float32 cpu\n`))
        .join(''),
    );
  });

  test('prints tables, without colours or other terminal codes', () => {
    const { stdout } = ending;
    expect(stdout).toContain('forward, float32, cpu: our time, compared with the limit');
    expect(stdout).toContain("forward, float32, cpu: LayerNorm's time / our RMSNorm's time");
    expect(stdout).toContain("backward, float32, cpu: rivals' time / our time");
    expect(stdout).toMatch(
      /^ *4x256 +[\d.]+ +[\d.]+–[\d.]+ +[\d.]+ +[\d.]+ +\d+% +[\d.]+ +[\d.]+$/m,
    );
    // eslint-disable-next-line no-control-regex
    expect(stdout + ending.stderr).not.toMatch(/\u001b/);
  });

  test('writes JSON with the machine, the versions and every subject', () => {
    expect(report.schemaVersion).toBe(2);
    expect(report.units).toEqual({ time: 'ns', totalMemory: 'bytes' });
    expect(Date.now() - Date.parse(report.date)).toBeLessThan(600_000);
    expect(report.machine).toMatchObject({ node: process.versions.node, version: packageVersion });
    expect(report.machine.commit).toMatch(/^[0-9a-f]{7,}\+?$/);
    expect(Object.keys(report.rivals)).toEqual(['javascript', 'layer-norm']);
    expect(report.leftOut).toEqual([]);
    expect(report.cases.map(({ op, rows }) => `${op} ${rows}`)).toEqual([
      ...['forward 1', 'forward 4', 'backward 1', 'backward 4'],
    ]);
    const [forward] = report.cases;
    expect(forward).toMatchObject({
      ...{ op: 'forward', rows: 1, hiddenSize: 64, dtype: 'float32', device: 'cpu' },
      castOrder: 'llama',
      ...{ sets: 1, minimumBytes: 512 },
    });
    const names = forward?.subjects.map(({ name }) => name) ?? [];
    expect(names).toEqual(expect.arrayContaining(['ours', 'ours fresh', 'ours plan']));
    expect(names).toEqual(expect.arrayContaining(['copy streaming 1T', 'copy library 1T']));
    expect(names).toEqual(expect.arrayContaining(['javascript', 'javascript fresh']));
    for (const { time } of report.cases.flatMap(({ subjects }) => subjects)) {
      expect(time.samples).toBe(5);
      const { min, lowerQuartile, median, upperQuartile, max } = time;
      const ascending = [0, min, lowerQuartile, median, upperQuartile, max];
      expect(ascending).toEqual([...ascending].sort((a, b) => a - b));
    }
  });

  test('draws a bar with its time for every subject and shape, on a transparent background', () => {
    const chart = readFileSync(svg, 'utf8');
    expect(chart).toMatch(/^<svg /);
    const texts = Array.from(chart.matchAll(/<text[^>]*>([^<]*)<\/text>/g), ([, text]) => text);
    expect(texts).toEqual(expect.arrayContaining(['forward, float32, cpu', '1x64', '4x256']));
    expect(texts).toEqual(expect.arrayContaining(['fused-rmsnorm', 'limit', 'javascript']));
    const title = 'Time of a call, as a multiple of the limit (log scale): shorter is better';
    expect(texts).toContain(title);
    const bars = Array.from(chart.matchAll(/aria-roledescription="bar"/g));
    expect(texts.filter((text) => / [µm]s$/.test(text ?? '')).length).toBe(2 * 2 * 4);
    expect(bars.length).toBe(2 * 2 * 4);
    // Text is grey, for light and dark pages.
    const fills = Array.from(chart.matchAll(/<text[^>]* fill="([^"]*)"/g), ([, fill]) => fill);
    expect(new Set(fills)).toEqual(new Set(['#808080']));
    expect(chart).not.toMatch(/<rect[^>]*fill="(white|#fff)/);
  });

  test('compares with a baseline', async () => {
    const { end, stdout } = await cli(['bench', ...shapes, '--rivals', 'none', '--baseline', json]);
    expect(end).toBe(0);
    expect(stdout).toMatch(/Compared with the baseline of \d{4}-\d\d-\d\d \([0-9a-f]+\+?\)/);
    expect(stdout).toMatch(/\d+ of 12 times did not change by more than the noise\.\n$/);
  });

  test('prints a table for --op call, and compares it with a baseline', async () => {
    const file = path.join(folder, 'calls.json');
    const args = ['bench', '--op', 'call', '--quick', '--time', '0.2'];
    const { end, stdout, stderr } = await cli([...args, '--json', file]);
    expect([end, stderr]).toEqual([0, 'call 1x64 cpu\n']);
    expect(stdout).toContain(
      'call 1x64, cpu: time of each form of a call, and its ratio to the first',
    );
    expect(stdout).toMatch(/^rmsNorm, out +[\d.]+ +[\d.]+–[\d.]+ +1\.00x$/m);
    expect(stdout).toMatch(/^plan\.backward +[\d.]+ +[\d.]+–[\d.]+ +[\d.]+x$/m);
    expect(stdout).not.toContain('rivals');
    const { cases, calls } = JSON.parse(readFileSync(file, 'utf8')) as Report;
    expect([cases.length, calls.length]).toEqual([0, 1]);
    expect(calls[0]).toMatchObject({ rows: 1, hiddenSize: 64, device: 'cpu' });
    const roles = calls[0]?.subjects.map(({ role }) => role) ?? [];
    expect([...new Set(roles)]).toEqual(['ours', 'limit']);
    for (const { time } of calls[0]?.subjects ?? []) expect(time.samples).toBe(5);

    const again = await cli([...args, '--filter', 'call', '--baseline', file]);
    expect(again.end).toBe(0);
    expect(again.stdout).toMatch(/\d+ of 21 times did not change by more than the noise\.\n$/);
  });

  test('stops when it is interrupted, and prints nothing to stdout', async () => {
    const args = ['bench', '--shapes', '512x4096', '--time', '60'];
    const { end, stdout, stderr } = await cli([...args, '--rivals', 'none'], { signal: 'SIGINT' });
    expect([end, stdout]).toEqual([130, '']);
    expect(stderr).toBe('forward 512x4096 float32 cpu\n');
  });

  const onSimulator = hasSimulator ? test : test.skip;
  onSimulator('prints traffic but no times on a simulated GPU', async () => {
    const args = ['bench', '--device', 'cuda', '--op', 'forward,backward,residual', '--json', json];
    const env = { RMSNORM_LIBCUDA: simulator };
    const shapesToRun = ['--shapes', '3x256,512x4096', '--dtype', 'float32,float64'];
    const { end, stdout } = await cli([...args, ...shapesToRun], { env });
    expect(end).toBe(0);
    expect(stdout).toContain('Simulated GPU: the same bits as the CPU.');
    expect(stdout).not.toContain('µs');
    const { cases, traffic, leftOut } = JSON.parse(readFileSync(json, 'utf8')) as Report;
    expect(cases).toEqual([]);
    expect(leftOut.length).toBe(9);
    // Forward moves x, y and weight; residual moves x, residual, the sum, y and weight.
    const [forward, backward, residual] = traffic.map(({ launches }) => launches);
    expect(forward?.map(({ movedBytes }) => movedBytes)).toEqual([(2 * 3 + 1) * 1024]);
    expect(residual?.map(({ movedBytes }) => movedBytes)).toEqual([(4 * 3 + 1) * 1024]);
    expect(backward?.length).toBe(2);
  });
});

describe('installed without the optional packages', () => {
  const installed = path.join(folder, 'node_modules/fused-rmsnorm');
  const settings = { program: path.join(installed, 'dist/bench/cli.js') };

  beforeAll(() => {
    mkdirSync(installed, { recursive: true });
    for (const name of ['dist', 'package.json', 'bench/subjects/rivals/pytorch.py']) {
      cpSync(path.join(root, name), path.join(installed, name), { recursive: true });
    }
    symlinkSync(path.join(root, 'build'), path.join(installed, 'build'));
    const { dependencies } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
      dependencies: object;
    };
    for (const name of Object.keys(dependencies)) {
      symlinkSync(path.join(root, 'node_modules', name), path.join(folder, 'node_modules', name));
    }
  });

  test('--plot says what to install, before anything is measured', async () => {
    const args = ['bench', '--quick', '--plot', path.join(folder, 'other.svg')];
    const { end, stdout, stderr } = await cli(args, settings);
    expect([end, stdout]).toEqual([1, '']);
    expect(stderr).toBe(
      '--plot needs the packages vega and vega-lite. Install them: npm install vega@6 vega-lite@6\n',
    );
  });

  test('a named rival says what to install', async () => {
    const { end, stderr } = await cli(['bench', '--rivals', 'onnxruntime-node'], settings);
    expect(end).toBe(1);
    expect(stderr).toContain('npm install onnxruntime-node@1\n');
    expect(stderr).not.toContain('    at ');
  });

  test('the other rivals take part', async () => {
    const args = ['bench', '--shapes', '1x64', '--op', 'forward', '--time', '0.2'];
    const { end, stdout, stderr } = await cli(args, settings);
    expect([end, stderr]).toEqual([0, 'forward 1x64 float32 cpu\n']);
    expect(stdout).toMatch(/rivals: javascript [^,]+, wasm-simd [^,]+, layer-norm /);
  });

  describe('or with some that are too old', () => {
    const others = path.join(folder, 'node_modules');
    const versions = {
      'onnxruntime-node': '1.19.2',
      'onnxruntime-web': '1.19.2',
      '@tensorflow/tfjs-core': '3.21.0',
      '@tensorflow/tfjs-backend-cpu': '4.22.0',
      vega: '6.2.0',
      'vega-lite': '5.23.0',
    };

    beforeAll(() => {
      for (const [name, version] of Object.entries(versions)) {
        mkdirSync(path.join(others, name), { recursive: true });
        const manifest = { name, version, main: 'index.js' };
        writeFileSync(path.join(others, name, 'package.json'), JSON.stringify(manifest));
        writeFileSync(path.join(others, name, 'index.js'), "throw new Error('loaded');");
      }
    });
    afterAll(() => {
      for (const name of Object.keys(versions))
        rmSync(path.join(others, name), { recursive: true });
    });

    test('--plot says which package is too old, and what to install', async () => {
      const args = ['bench', '--quick', '--plot', path.join(folder, 'other.svg')];
      const { end, stdout, stderr } = await cli(args, settings);
      expect([end, stdout]).toEqual([1, '']);
      expect(stderr).toBe(
        '--plot needs the packages vega and vega-lite: vega-lite has version 5.23.0; 6.0.0 ' +
          'or newer is required. Install them: npm install vega@6 vega-lite@6\n',
      );
    });

    test('a named rival says which package is too old, and what to install', async () => {
      const { end, stderr } = await cli(['bench', '--rivals', 'onnxruntime-node'], settings);
      expect([end, stderr]).toEqual([
        1,
        'onnxruntime-node cannot be measured: onnxruntime-node has version 1.19.2; 1.20.0 or newer ' +
          'is required: npm install onnxruntime-node@1\n',
      ]);
    });

    test('the other rivals take part, after a line for each that does not', async () => {
      const args = ['bench', '--shapes', '1x64', '--op', 'forward', '--time', '0.2'];
      const { end, stdout, stderr } = await cli(args, settings);
      expect(end).toBe(0);
      expect(stderr.trimEnd().split('\n')).toEqual([
        expect.stringMatching(
          /^onnxruntime-node cannot .* version 1\.19\.2; .* onnxruntime-node@1$/,
        ),
        expect.stringMatching(/^onnxruntime-node layer-norm cannot be measured: /),
        expect.stringMatching(/^onnxruntime-web cannot .* version 1\.19\.2; .* onnxruntime-web@1$/),
        expect.stringMatching(/^tfjs-wasm cannot .*tfjs-core has version 3\.21\.0; .*wasm@4$/),
        expect.stringMatching(/^tfjs-cpu cannot .*tfjs-core has version 3\.21\.0; .*cpu@4$/),
        'forward 1x64 float32 cpu',
      ]);
      expect(stdout).toMatch(/rivals: javascript [^,]+, wasm-simd [^,]+, layer-norm /);
    });
  });
});

test('no command and an unknown command are wrong usage', async () => {
  const none = await cli([]);
  expect(none.end).toBe(2);
  expect(none.stderr).toContain('Usage: fused-rmsnorm');
  const unknown = await cli(['bend']);
  expect(unknown.end).toBe(2);
  expect(unknown.stderr).toContain("unknown command 'bend'");
});

test('--version and --help succeed', async () => {
  expect(await cli(['--version'])).toEqual({ end: 0, stdout: `${packageVersion}\n`, stderr: '' });
  const { end, stdout } = await cli(['--help']);
  expect(end).toBe(0);
  expect(stdout).toMatch(/^ {2}bench [^]*^ {2}info [^]*^ {2}build /m);
  expect(stdout).toContain('Exit codes: 0, 1 for a wrong answer or an error, 2 for wrong usage');
});
