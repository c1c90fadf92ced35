/* @jest-environment ./test/support/shared-realm.ts */
// Tests the benchmark's command with fake rivals: what it refuses, and what it prints.

import { benchCommand } from '../../bench/commands/bench';
import { run } from '../../bench/program';
import type { Answer } from '../../bench/cases/verify';
import {
  MissingRival,
  type LoadedRival,
  type PreparedRival,
  type Rival,
} from '../../bench/subjects/rivals/rival';

interface Ending {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `bench` with these rivals. */
async function bench(args: readonly string[], rivals: readonly Rival[]): Promise<Ending> {
  const written = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    jest.spyOn(process[name], 'write').mockImplementation((text) => {
      written[name] += String(text);
      return true;
    }),
  );
  try {
    const code = await run(['bench', ...args], [benchCommand(rivals)]);
    return { code, ...written };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

const brief = ['--shapes', '2x8', '--op', 'forward', '--time', '0.05'];

/** A fake rival, and the calls that it has received. */
interface Fake {
  readonly rival: Rival;
  readonly calls: string[];
}

/** A rival whose answers `results` makes, from the right y and the number of runs so far. */
function fake(name: string, results: (y: Float32Array, runs: number) => Answer): Fake {
  const calls: string[] = [];
  let runs = 0;
  const prepared = (y: Float32Array): PreparedRival => ({
    run: (repeats) => {
      runs += repeats;
      return Promise.resolve(repeats * 1e6);
    },
    results: () => results(y, runs),
    dispose: () => {
      calls.push('dispose');
    },
  });
  const loaded: LoadedRival = {
    version: '1.2.3',
    prepare: ({ hiddenSize }, { x, weight }) => {
      const y = Float32Array.from(x, (value, i) => {
        const row = x.slice(i - (i % hiddenSize), i - (i % hiddenSize) + hiddenSize);
        const mean = Array.from(row).reduce((sum, v) => sum + v * v, 0) / hiddenSize;
        return (value / Math.sqrt(mean + 1e-6)) * (weight[i % hiddenSize] as number);
      });
      return Promise.resolve(prepared(y));
    },
    close: () => {
      calls.push('close');
      return Promise.resolve();
    },
  };
  const rival: Rival = {
    name,
    computes: 'rms-norm',
    description: 'of a test',
    packages: [],
    outputs: ['given'],
    supports: () => true,
    load: () => Promise.resolve(loaded),
  };
  return { rival, calls };
}

const missing: Rival = {
  ...fake('missing', () => ({})).rival,
  packages: ['vega'],
  load: () => Promise.reject(new MissingRival('missing', 'npm install vega@6')),
};

describe('rivals', () => {
  test('are in the table with their versions, and are closed', async () => {
    const { rival, calls } = fake('honest', (y) => ({ y }));
    const { code, stdout } = await bench(brief, [rival]);
    expect(code).toBe(0);
    expect(stdout).toContain('rivals: honest 1.2.3');
    expect(stdout).toMatch(/forward, float32, cpu: rivals' time \/ our time\n.* honest\n/);
    expect(calls).toEqual(['dispose', 'close']);
  });

  test('are refused before any time is shown if they are wrong, and are closed', async () => {
    const { rival, calls } = fake('liar', (y) => ({ y: y.with(15, 3) }));
    const { code, stdout, stderr } = await bench(brief, [rival]);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/\nliar is wrong at forward 2x8 float32: y at row 1, column 7: 3, exp/);
    expect(stderr).not.toContain('    at ');
    expect(calls).toEqual(['dispose', 'close']);
  });

  test('are refused if they become wrong while they are timed', async () => {
    const { rival } = fake('liar', (y, runs) => ({ y: runs < 3 ? y : y.with(0, NaN) }));
    const { code, stdout, stderr } = await bench(brief, [rival]);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain('liar is wrong at forward 2x8 float32: y at row 0, column 0: NaN');
  });

  test('must compute LayerNorm if they say so', async () => {
    const { rival } = fake('layer-norm', (y) => ({ y }));
    const { code, stderr } = await bench(brief, [{ ...rival, computes: 'layer-norm' }]);
    expect(code).toBe(1);
    expect(stderr).toContain('layer-norm is wrong at forward 2x8 float32');
  });

  test('are left out if they are not installed; named ones say what to install', async () => {
    const { rival, calls } = fake('honest', (y) => ({ y }));
    const leftOut = await bench(brief, [missing, rival]);
    expect(leftOut.code).toBe(0);
    expect(leftOut.stdout).toContain('rivals: honest 1.2.3\n');

    for (const choice of ['missing', 'all', 'honest,missing']) {
      const named = await bench([...brief, '--rivals', choice], [rival, missing]);
      expect([named.code, named.stdout]).toEqual([1, '']);
      expect(named.stderr).toBe('missing is not installed: npm install vega@6\n');
    }
    expect(calls.at(-1)).toBe('close');
  });

  test('are left out with a message if they are too old', async () => {
    const outdated = 'vega has version 5.33.0; 6.0.0 or newer is required';
    const hint = 'npm install vega@6';
    const old = {
      ...missing,
      load: () => Promise.reject(new MissingRival('old', hint, { outdated })),
    };
    const { rival } = fake('honest', (y) => ({ y }));
    const { code, stdout, stderr } = await bench(brief, [old, rival]);
    expect(code).toBe(0);
    expect(stdout).toContain('rivals: honest 1.2.3\n');
    const message = `old cannot be measured: ${outdated}: ${hint}\n`;
    expect(stderr.startsWith(message)).toBe(true);
    const named = await bench([...brief, '--rivals', 'all'], [rival, old]);
    expect(named).toEqual({ code: 1, stdout: '', stderr: message });
  });

  test('are not loaded if they support no case', async () => {
    const unable = { ...missing, supports: () => false };
    const { code, stderr } = await bench([...brief, '--rivals', 'all'], [unable]);
    expect([code, stderr]).toEqual([0, 'forward 2x8 float32 cpu\n']);
  });

  test('are not loaded with --rivals none', async () => {
    const { rival } = fake('honest', (y) => ({ y }));
    const { code, stdout } = await bench([...brief, '--rivals', 'none'], [rival]);
    expect(code).toBe(0);
    expect(stdout).not.toContain('honest');
  });
});

test('--op quantize has no plan, and leaves out float64', async () => {
  const impossible = ['--op', 'quantize,gated', '--dtype', 'float64', '--shapes', '2x8'];
  const none = await bench(impossible, []);
  expect(none.code).toBe(0);
  expect(none.stdout).toContain(
    'Not measured on cpu: float64 is neither quantised nor gated.\nquantize 2x8 float64, gated 2x8 float64\n',
  );
  const possible = ['--op', 'quantize', '--shapes', '2x8', '--time', '0.05'];
  const some = await bench(possible, []);
  expect(some.code).toBe(0);
  expect(some.stdout).toMatch(
    /^quantize, float32, cpu: our time, compared with the limit\n.*fresh\n/m,
  );
  const { rival } = fake('idle', (y) => ({ y }));
  const wrong = await bench(possible, [rival]);
  expect([wrong.code, wrong.stdout]).toEqual([1, '']);
  expect(wrong.stderr).toContain(
    'idle is wrong at quantize 2x8 float32: scales, its elements: none',
  );
});

describe('--cast-order', () => {
  const args = ['--shapes', '2x8', '--op', 'forward', '--time', '0.05', '--dtype'];
  const namesOf = async (...more: string[]) => (await bench([...args, ...more], [])).stderr;

  test.each([
    [[], ['float16', 'float32']],
    [
      ['--cast-order', 'both'],
      ['float16', 'float16 float', 'float32'],
    ],
    [
      ['--cast-order', 'float'],
      ['float16 float', 'float32'],
    ],
  ])('with %j measures %j', async (more, kinds) => {
    const lines = kinds.map((kind) => `forward 2x8 ${kind} cpu\n`);
    expect(await namesOf('float16,float32', ...more)).toBe(lines.join(''));
  });
});

describe('bench', () => {
  test.each([
    [
      ['--op', 'sideways'],
      "'sideways' is not one of forward, backward, residual, quantize, gated, both",
    ],
    [['--shapes', '4096'], "'4096' is neither ROWSxHIDDENSIZE nor one of llama, decode"],
    [['--shapes', '0x64'], "'0x64' is neither ROWSxHIDDENSIZE"],
    [['--shapes', 'toString'], "'toString' is neither ROWSxHIDDENSIZE"],
    [['--dtype', 'int8'], "'int8' is not one of float32"],
    [['--cast-order', 'double'], "'double' is not one of llama, float"],
    [['--device', 'tpu'], "'tpu' is not one of cpu, cuda, cuda:N, all"],
    [['--rivals', 'unknown'], "'unknown' is not one of missing"],
    [['--threads', '1.5'], 'It must be an integer from 1 to 256'],
    [['--time', '0'], 'It must be a number > 0'],
    [['--filter', '('], 'Invalid regular expression'],
    [['--fast'], "unknown option '--fast'"],
    [['fast'], 'too many arguments'],
  ])('refuses %j as wrong usage', async (args, message) => {
    const { code, stdout, stderr } = await bench(args, [missing]);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(message);
  });

  test.each([
    [['--filter', 'nothing'], 'No case matches --filter'],
    [
      ['--op', 'call', '--device', 'cuda'],
      '--op call measures only the CPU. Received --device cuda',
    ],
    [['--op', 'call', '--filter', 'forward'], 'No case matches --filter'],
    [
      ['--json', 'no/such/folder/out.json'],
      "The folder of the file 'no/such/folder/out.json' does not exist",
    ],
    [['--baseline', 'no-such.json'], "The baseline 'no-such.json' cannot be read"],
    [['--baseline', 'package.json'], "The baseline 'package.json' is not a report"],
    [['--device', 'cuda:9'], '--device must be one of|is not available'],
  ])('fails with %j', async (args, message) => {
    const { code, stdout, stderr } = await bench(args, []);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(new RegExp(message));
    expect(stderr).not.toContain('    at ');
  });

  test('lists rivals, shapes and --op call with --help', async () => {
    const { code, stdout } = await bench(['--help'], [missing]);
    expect(code).toBe(0);
    expect(stdout).toContain('Rivals:\n  missing  of a test (needs vega)\n');
    expect(stdout).toContain('seed     (64, 512, 4096)');
    expect(stdout).toContain('--op call:\n  The cost of a call itself');
  });
});
