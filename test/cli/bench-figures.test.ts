// Tests what the benchmark computes from times: quantiles, and what has moved since an earlier run.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import type { Case } from '../../bench/cases/cases';
import { Failure } from '../../bench/environment/failure';
import {
  compareReports,
  hasMoved,
  multiplesOf,
  readReport,
  type Spread,
} from '../../bench/report/baseline';
import type { Report } from '../../bench/report/result';
import { cellsOfCalls } from '../../bench/report/table';
import type { SubjectResult } from '../../bench/subjects/subject';
import { quantile, summarize } from '../../bench/measure/statistics';
import { groupTables, originOf, sectionOf, summaryTables } from '../../scripts/bench-docs';

describe('quantiles', () => {
  // The expected values are from numpy.quantile.
  test.each([
    [[5], 0.25, 5],
    [[1, 2], 0.5, 1.5],
    [[1, 2, 4], 0.5, 2],
    [[1, 2, 4, 8], 0.25, 1.75],
    [[1, 2, 4, 8], 0.75, 5],
    [[1, 2, 4, 8], 0, 1],
    [[1, 2, 4, 8], 1, 8],
    [[0, 10, 20, 30, 40, 50, 60, 70, 80], 0.9, 72],
  ])('of %j at %d are %d', (sorted, fraction, expected) => {
    expect(quantile(sorted, fraction)).toBeCloseTo(expected, 12);
  });

  test('of no samples are an error', () => {
    expect(() => quantile([], 0.5)).toThrow('there are no samples');
  });

  test('of a summary sort samples as numbers, and leave them unchanged', () => {
    const samples = [100, 9, 20, 1000];
    expect(summarize(samples)).toEqual({
      median: 60,
      lowerQuartile: 17.25,
      upperQuartile: 325,
      min: 9,
      max: 1000,
      samples: 4,
    });
    expect(samples).toEqual([100, 9, 20, 1000]);
  });
});

/** The spread of samples at these distances from a median. */
function spread(median: number, quartile: number, range: number): Spread {
  return {
    median,
    lowerQuartile: median - quartile,
    upperQuartile: median + quartile,
    min: median - range,
    max: median + range,
  };
}

describe('a change', () => {
  test.each([
    ['is not seen between equal spreads', spread(100, 1, 2), spread(100, 1, 2), false],
    ['is not seen below 5%, however steady', spread(104, 0.1, 0.1), spread(100, 0.1, 0.1), false],
    ['is seen above 5%, if steady', spread(106, 1, 2), spread(100, 1, 2), true],
    ['is seen downwards, too', spread(100, 1, 2), spread(106, 1, 2), true],
    ['is not seen if quartiles overlap', spread(110, 6, 20), spread(100, 6, 20), false],
    [
      'is not seen if quartiles are within the range of the other',
      spread(110, 2, 9),
      spread(100, 2, 9),
      false,
    ],
    [
      'is seen if ranges overlap, but quartiles are beyond them',
      spread(110, 2, 6),
      spread(100, 2, 6),
      true,
    ],
    ['is not seen if one spread covers the other', spread(120, 30, 60), spread(100, 1, 1), false],
  ])('%s', (_, now, before, expected) => {
    expect(hasMoved(now, before)).toBe(expected);
  });

  test('is measured in multiples of the limit, which spread as both times do', () => {
    expect(multiplesOf(spread(100, 10, 20), spread(50, 10, 30))).toEqual({
      median: 2,
      lowerQuartile: 90 / 60,
      upperQuartile: 110 / 40,
      min: 80 / 80,
      max: 120 / 20,
    });
  });
});

function subject(name: string, role: SubjectResult['role'], median: number): SubjectResult {
  const time = { ...spread(median, median / 100, median / 50), samples: 9 };
  return { name, role, computes: 'rms-norm', outputs: 'given', time };
}

function reportOf(rows: number, subjects: readonly SubjectResult[]): Report {
  const one: Case = { op: 'forward', rows, hiddenSize: 64, dtype: 'float32', castOrder: 'llama' };
  const cases = [{ ...one, device: 'cpu', sets: 1, minimumBytes: rows * 512, subjects }];
  return { schemaVersion: 2, cases, calls: [] } as unknown as Report;
}

describe('a comparison of reports', () => {
  const before = reportOf(8, [
    subject('ours', 'ours', 200),
    subject('copy', 'limit', 100),
    subject('javascript', 'rival', 1000),
  ]);

  test('uses multiples of the limit, so a slower machine changes nothing', () => {
    const now = reportOf(8, [
      subject('ours', 'ours', 300),
      subject('copy', 'limit', 150),
      subject('javascript', 'rival', 1500),
    ]);
    const changes = compareReports(now, before);
    expect(changes.map(({ name, hasMoved: moved }) => [name, moved])).toEqual([
      ['forward 8x64 float32 cpu, ours', false],
      ['forward 8x64 float32 cpu, javascript', false],
    ]);
    expect([changes[0]?.now.median, changes[0]?.before.median]).toEqual([300, 200]);
    expect(changes[0]?.ofMultiple).toBe(1);
  });

  test('finds the only subject that got slower', () => {
    const now = reportOf(8, [
      subject('ours', 'ours', 300),
      subject('copy', 'limit', 100),
      subject('javascript', 'rival', 1000),
    ]);
    const [ours, rival] = compareReports(now, before);
    expect([ours?.hasMoved, ours?.ofMultiple]).toEqual([true, 1.5]);
    expect(rival?.hasMoved).toBe(false);
  });

  test('finds a form of a call that got slower', () => {
    const callsOf = (median: number): Report => {
      const subjects = [
        subject('rmsNorm, out', 'ours', 150),
        subject('no weight', 'ours', median),
        subject('copy', 'limit', 10),
      ];
      const calls = [{ rows: 1, hiddenSize: 64, device: 'cpu' as const, subjects }];
      return { ...before, cases: [], calls };
    };
    const changes = compareReports(callsOf(300), callsOf(200));
    expect(
      changes.map(({ name, ofMultiple, hasMoved: moved }) => [name, ofMultiple, moved]),
    ).toEqual([
      ['call 1x64 cpu, rmsNorm, out', 1, false],
      ['call 1x64 cpu, no weight', 1.5, true],
    ]);
  });

  test.each([
    ['{"schemaVersion":1,"cases":[]}', 'has format 1, and this version reads format 2'],
    ['{"schemaVersion":3,"cases":[]}', 'has format 3, and this version reads format 2'],
    ['{"cases":[]}', "is not a report of 'fused-rmsnorm bench --json'"],
    ['{"schemaVersion":2}', "is not a report of 'fused-rmsnorm bench --json'"],
    ['null', "is not a report of 'fused-rmsnorm bench --json'"],
    ['{', 'cannot be read: '],
  ])('refuses %s, and says why', (text, message) => {
    const folder = mkdtempSync(path.join(tmpdir(), 'rmsnorm-baseline-'));
    const file = path.join(folder, 'report.json');
    writeFileSync(file, text);
    const read = () => readReport(file);
    expect(read).toThrow(Failure);
    expect(read).toThrow(`The baseline '${file}' ${message}`);
    rmSync(folder, { recursive: true });
  });

  test('accepts a report without units, which early reports lack', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'rmsnorm-baseline-'));
    const file = path.join(folder, 'report.json');
    writeFileSync(file, JSON.stringify(before));
    expect(compareReports(before, readReport(file)).length).toBe(2);
    rmSync(folder, { recursive: true });
  });

  test('compares a cast order with itself, and takes a missing one for the default', () => {
    const ofOrder = (castOrder: Case['castOrder'] | undefined): Report => ({
      ...before,
      cases: before.cases.map((one) => ({ ...one, castOrder }) as (typeof before.cases)[number]),
    });
    expect(compareReports(ofOrder('llama'), ofOrder(undefined)).length).toBe(2);
    expect(compareReports(ofOrder('float'), ofOrder('float')).length).toBe(2);
    expect(compareReports(ofOrder('float'), before)).toEqual([]);
  });

  test('leaves out everything that only one report has', () => {
    expect(compareReports(reportOf(9, before.cases[0]?.subjects ?? []), before)).toEqual([]);
    const other = reportOf(8, [subject('ours plan', 'ours', 1), subject('copy', 'limit', 1)]);
    expect(compareReports(other, before)).toEqual([]);
  });
});

describe('the tables of documents', () => {
  const report = reportOf(8, [
    subject('ours', 'ours', 2000),
    subject('ours fresh', 'ours', 3000),
    subject('copy library 1T', 'limit', 1500),
    subject('copy vector 2T', 'limit', 1000),
    subject('javascript', 'rival', 9000),
    subject('onnxruntime-node', 'rival', 50_000),
    subject('onnxruntime-node fresh', 'rival', 40_000),
    subject('tfjs-cpu', 'rival', 400_000),
  ]);

  test('include short ones with a column for each rival, sorted by size', () => {
    const [forward] = report.cases as [(typeof report.cases)[number]];
    const larger = { ...forward, rows: 16 };
    const backward = { ...forward, op: 'backward' as const };
    const cases = [larger, forward, backward, { ...forward, dtype: 'float64' as const }];
    const head =
      ', rows x hiddenSize | time (µs) | bandwidth (GB/s) | of the limit (%) ' +
      '| `onnxruntime-node` (× our time) | `@tensorflow/tfjs-backend-cpu` (× our time) ' +
      '| plain JavaScript (× our time) |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n';
    expect(summaryTables({ ...report, cases })).toBe(
      `| forward${head}` +
        '| 8x64 | 2.00 | 2.0 | 50 | 20.0 | 200 | 4.50 |\n' +
        '| 16x64 | 2.00 | 4.1 | 50 | 20.0 | 200 | 4.50 |\n\n' +
        `| backward${head}` +
        '| 8x64 | 2.00 | 3.1 | 50 | 20.0 | 200 | 4.50 |',
    );
  });

  test('show forms of a call in nanoseconds, and as multiples of the first', () => {
    const subjects = [
      subject('a', 'ours', 200),
      subject('b', 'ours', 301),
      subject('c', 'limit', 9),
    ];
    expect(cellsOfCalls({ rows: 1, hiddenSize: 64, device: 'cpu', subjects }).rows).toEqual([
      ['a', '200', '198–202', '1.00x'],
      ['b', '301', '298–304', '1.50x'],
    ]);
  });

  const machine = {
    ...{ cpu: 'a processor', processors: 2, node: '20.0.0', version: '1.0.0', commit: null },
    ...{ variant: 'avx512', variants: ['avx512', 'avx2', 'scalar'], threads: 2 },
  } as unknown as Report['machine'];
  const whole = { ...report, date: '2026-11-29T00:00Z', machine, gpus: [], rivals: {} };

  test('name the variant, and say that it was forced if it is not the best', () => {
    expect(originOf(whole)).toBe(
      'Measured on 2026-11-29 by `npm run bench:docs`: fused-rmsnorm 1.0.0, a processor with ' +
        '2 processors, variant avx512, at most 2 threads, Node.js 20.0.0.',
    );
    const forced = originOf({ ...whole, machine: { ...machine, variant: 'avx2' } });
    expect(forced).toContain('by `npm run bench:docs -- --variant avx2`: ');
    expect(forced).toContain(
      'variant avx2 forced by RMSNORM_CPU_VARIANT (the best of this processor is avx512), at most 2',
    );
  });

  test('compare other dtypes and cast orders with float32 if both were measured', () => {
    const kinds = [
      ['bfloat16', 'llama', 1000],
      ['bfloat16', 'float', 800],
      ['float64', 'llama', 4000],
    ] as const;
    const others = kinds.flatMap(([dtype, castOrder, median]) => {
      const subjects = [subject('ours', 'ours', median), subject('copy', 'limit', 500)];
      return [8, 9].flatMap((rows) =>
        reportOf(rows, subjects).cases.map((one) => ({ ...one, dtype, castOrder })),
      );
    });
    const text = sectionOf({ ...whole, cases: [...report.cases, ...others] });
    expect(text).toContain('### forward, bfloat16 float, cpu\n\n');
    expect(text).toContain(
      '### forward, cpu: elements per microsecond, as a multiple of float32\n\n' +
        '| shape | bfloat16 | bfloat16 float | float64 |\n' +
        '| --- | ---: | ---: | ---: |\n' +
        '| 8x64 | 2.00x | 2.50x | 0.500x |',
    );
    expect(text).not.toContain('| 9x64 | 2.00x');
    expect(sectionOf({ ...whole, cases: others })).not.toContain('as a multiple of float32');
  });

  test('show all figures, with rivals that allocate without need last', () => {
    const text = groupTables(report.cases);
    expect(text).toContain('### forward, float32, cpu');
    expect(text).toContain('| 8x64 | 2.00 | 1.98–2.02 | 2.0 | 4.1 | copy vector 2T | 50% | 3.00 |');
    expect(text).toContain('| 8x64 | 4.50x | 25.0x | 200x | 20.0x |');
  });
});
