// Tests what the benchmark prints: its width, with the figures of any machine, and its warning
// about unreliable times.

import type { CudaDevice } from 'fused-rmsnorm';

import { minimumBytes, type Case } from '../../bench/cases/cases';
import { makeCases, shapeSets } from '../../bench/cases/sets';
import type { CaseResult, Report } from '../../bench/report/result';
import { textOf } from '../../bench/report/text';
import { callSubjects } from '../../bench/subjects/calls';
import { rivals } from '../../bench/subjects/rivals';
import type { SubjectResult } from '../../bench/subjects/subject';
import { widthOf } from './program';

type Spread = readonly [lower: number, upper: number];
const narrow: Spread = [0.96, 1.04];
const wide: Spread = [0.9, 1.11];

function subject(
  description: Partial<SubjectResult> & Pick<SubjectResult, 'name' | 'role'>,
  median: number,
  [lower, upper]: Spread = narrow,
): SubjectResult {
  const [lowerQuartile, upperQuartile] = [median * lower, median * upper];
  const [min, max] = [lowerQuartile * 0.99, upperQuartile * 1.01];
  return {
    ...{ computes: 'rms-norm', outputs: 'given', ...description },
    time: { median, lowerQuartile, upperQuartile, min, max, samples: 9 },
  };
}

/** Every rival in each of its output modes, whatever is installed here. */
const rivalSubjects = rivals.flatMap(({ name, computes, outputs }) =>
  outputs.map((output) => {
    const isFresh = output === 'fresh' && outputs.length > 1;
    return { name: isFresh ? `${name} fresh` : name, role: 'rival' as const, computes };
  }),
);

const devices = {
  cpu: { limit: 'copy streaming 128T', ours: ['ours', 'ours fresh', 'ours plan'] },
  'cuda:0': {
    limit: 'device copy graph',
    ours: ['ours', 'ours fresh', 'ours plan', 'ours graph'],
  },
};

/** A case with all subjects, at `rate` bytes per nanosecond. */
function resultOf(one: Case, device: keyof typeof devices, rate: number): CaseResult {
  const bytes = minimumBytes(one);
  const { limit, ours } = devices[device];
  const others = device === 'cpu' ? rivalSubjects : [];
  return {
    ...{ ...one, device, sets: 1, minimumBytes: bytes },
    subjects: [
      ...ours.map((name) => subject({ name, role: 'ours' }, bytes / rate)),
      subject({ name: limit, role: 'limit', computes: 'movement' }, bytes / rate / 1.5),
      ...others.map((each, i) => subject(each, (bytes / rate) * 3 ** (i - 3))),
    ],
  };
}

const gpu: CudaDevice = {
  device: 'cuda:0',
  ...{ name: 'NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition' },
  ...{ computeCapability: '12.0', totalMemory: 2 ** 37, multiprocessors: 188 },
  driverVersion: '13.0',
};

const empty: Report = {
  ...{ schemaVersion: 2, units: { time: 'ns', totalMemory: 'bytes' }, date: '2026-11-29T00:00Z' },
  machine: {
    ...{ cpu: 'Intel(R) Xeon(R) Platinum 8480C with a name as long as they are', processors: 224 },
    ...{ lastCacheBytes: 2 ** 27, memoryBytes: 2 ** 40, platform: 'linux-x64', node: '26.10.10' },
    ...{ version: '0.10.10', commit: '0123456+', variant: 'avx512', threads: 224 },
    ...{ variants: ['avx512', 'avx2', 'scalar'] },
  },
  gpus: [gpu],
  rivals: Object.fromEntries(rivals.map(({ name }) => [name, '10.20.30'])),
  ...{ cases: [], calls: [], traffic: [], leftOut: [] },
};

type Stream = Parameters<typeof textOf>[2];
const noTerminal = {} as Stream;
const terminal: Stream = { isTTY: true, hasColors: () => true };

const ops = ['forward', 'backward', 'residual', 'quantize', 'gated'] as const;
const shapes = Object.values(shapeSets).flatMap((set) => set.shapes);
const allCases = makeCases(ops, ['float32', 'bfloat16', 'float64'], shapes, ['llama', 'float']);
const rates = { 'a slow machine': 0.05, 'a fast machine': 9000 };

describe.each(Object.entries(rates))('the text on %s fits 80 columns', (_, rate) => {
  test.each(['cpu', 'cuda:0'] as const)('with all cases and rivals on %s', (device) => {
    const report = { ...empty, cases: allCases.map((one) => resultOf(one, device, rate)) };
    for (const stream of [noTerminal, terminal]) {
      const text = textOf(report, null, stream);
      expect(widthOf(text)).toBeLessThanOrEqual(80);
      expect(text).toContain('32768x4096');
      if (device === 'cpu') expect(text.match(/tfjs/g)?.length).toBeGreaterThan(2 * 9);
    }
  });

  test('with the forms of a call', () => {
    const subjects = callSubjects().map(({ name }) => subject({ name, role: 'ours' }, 5e4 / rate));
    const copy = subject({ name: 'copy', role: 'limit', computes: 'movement' }, 5);
    const calls = [
      { rows: 1, hiddenSize: 64, device: 'cpu', subjects: [...subjects, copy] } as const,
    ];
    const text = textOf({ ...empty, calls }, null, noTerminal);
    expect(widthOf(text)).toBeLessThanOrEqual(80);
    expect(text).toMatch(/^RMSNorm zeroGrad, vjp, backward +[\d.]+ /m);
  });

  test('with a baseline, and with cases that are left out', () => {
    const cases = allCases.map((one) => resultOf(one, 'cpu', rate));
    const slower = ({ subjects, ...one }: CaseResult): CaseResult => ({
      ...one,
      subjects: subjects.map((each) =>
        each.role === 'limit' ? each : subject(each, each.time.median * 2),
      ),
    });
    const leftOut = allCases.map((one) => ({
      ...{ ...one, device: 'cuda:0', reason: 'the GPU has too little memory' },
    }));
    const machine = { ...empty.machine, cpu: 'x'.repeat(30) };
    const now = { ...empty, cases: cases.map(slower), leftOut };
    const text = textOf(now, { ...empty, machine, cases }, noTerminal);
    expect(widthOf(text)).toBeLessThanOrEqual(80);
    expect(text).toContain(
      'backward 32768x4096 bfloat16 cpu, onnxruntime-node layer-norm fresh\n' +
        '  slower: 2.00x vs the limit, 2.00x in time (',
    );
    expect(text).toContain(`\nThe baseline is from another machine: ${'x'.repeat(30)}.\n`);
  });
});

test('the traffic of a simulated GPU fits 80 columns', () => {
  const traffic = allCases.map((one) => {
    const launch = { kernel: 'kernel', movedBytes: 2 * minimumBytes(one) };
    return {
      ...one,
      device: 'cuda:0',
      minimumBytes: minimumBytes(one),
      launches: [launch, launch],
    };
  });
  const text = textOf({ ...empty, traffic }, null, noTerminal);
  expect(widthOf(text)).toBeLessThanOrEqual(80);
  expect(text).toMatch(/^backward 32768x4096 bfloat16 +2 +\d+ +\d+ +4\.00x$/m);
});

test('columns that do not fit follow in a table below, which repeats the shapes', () => {
  const [one] = allCases as [Case];
  const names = ['alpha', 'beta', 'gamma', 'delta', 'epsilon'].map((name) => name.repeat(4));
  const subjects = [
    subject({ name: 'ours', role: 'ours' }, 100),
    subject({ name: 'copy', role: 'limit', computes: 'movement' }, 50),
    ...names.map((name) => subject({ name, role: 'rival' }, 200)),
  ];
  const cases = [{ ...one, device: 'cpu', sets: 1, minimumBytes: 1, subjects }];
  const text = textOf({ ...empty, cases }, null, noTerminal);
  const [, table] = text.split("rivals' time / our time\n");
  const rows = table?.trimEnd().split('\n') ?? [];
  expect(rows.map((row) => row.split(/ +/).filter(Boolean))).toEqual([
    ['shape', ...names.slice(0, 3)],
    [expect.stringMatching(/^─+$/)],
    ['1x64', '2.00x', '2.00x', '2.00x'],
    [],
    ['shape', ...names.slice(3)],
    [expect.stringMatching(/^─+$/)],
    ['1x64', '2.00x', '2.00x'],
  ]);
});

describe('the warning about a busy machine', () => {
  const [one] = allCases as [Case];
  const caseOf = (ours: Spread, limit: Spread, rival: Spread): CaseResult => ({
    ...{ ...one, device: 'cpu', sets: 1, minimumBytes: 512 },
    subjects: [
      subject({ name: 'ours', role: 'ours' }, 100, ours),
      subject({ name: 'copy', role: 'limit', computes: 'movement' }, 50, limit),
      subject({ name: 'other', role: 'rival' }, 200, rival),
    ],
  });
  const lineOf = (report: Report) =>
    textOf(report, null, noTerminal)
      .split('\n')
      .filter((line) => line.includes('Busy'));
  const steady = caseOf(narrow, narrow, wide);

  test('appears if quartiles of ours or of the limit are wider than 20% of their median', () => {
    const cases = [steady, caseOf(wide, narrow, narrow), caseOf(narrow, wide, narrow), steady];
    expect(lineOf({ ...empty, cases })).toEqual([
      'Busy machine: quartiles of 2 of 4 cases are wider than 20%. Repeat the run.',
    ]);
  });

  test('does not appear if they are narrower', () => {
    expect(lineOf({ ...empty, cases: [steady, caseOf([0.91, 1.1], narrow, narrow)] })).toEqual([]);
  });

  test('counts the forms of a call, too', () => {
    const subjects = [narrow, wide, narrow].map((spread, i) =>
      subject({ name: `form ${i}`, role: 'ours' }, 100, spread),
    );
    const calls = [{ rows: 1, hiddenSize: 64, device: 'cpu', subjects } as const];
    expect(lineOf({ ...empty, calls, cases: [steady] })).toEqual([
      'Busy machine: quartiles of 1 of 4 cases are wider than 20%. Repeat the run.',
    ]);
  });
});
