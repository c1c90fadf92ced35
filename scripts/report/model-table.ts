// Tables of the model's times.
// npx tsx scripts/report/model-table.ts prints them without the rest of the report.

import { markdownTable } from '../generated-text';
import type { Run } from '../traced-runs';
import { gpus, type Gpu } from './gpus';
import { timeOf, type ModelTime } from './model';
import { ModelledCalls } from './modelled-calls';

const elementBytes = { float32: 4, bfloat16: 2 } as const;
type ModelDType = keyof typeof elementBytes;

/** Row counts of inference, of a small batch and of training. */
const rowCounts = [64, 512, 4096];
const hiddenSizes = [128, 1024, 2048, 4096, 5120, 8192, 16_384];
const shapes = [
  ...rowCounts.flatMap((rows) => hiddenSizes.map((hiddenSize) => ({ rows, hiddenSize }))),
  { rows: 32_768, hiddenSize: 4096 },
];

/** Seconds that DRAM needs for the bytes that a call must move: each matrix, weight and rstd once. */
export function dramSeconds(gpu: Gpu, { direction, rows, hiddenSize, dtype }: Run): number {
  const [matrices, vectors] = direction === 'forward' ? [2, 1] : [3, 2];
  const bytes = elementBytes[dtype as ModelDType];
  return ((matrices * rows + vectors) * hiddenSize * bytes + 4 * rows) / gpu.dram;
}

function cellOf(gpu: Gpu, run: Run, time: ModelTime | undefined): string {
  if (time === undefined) return '–';
  return `${Math.round((100 * dramSeconds(gpu, run)) / time.seconds)}% ${time.binds}`;
}

/** A table for each direction and dtype, with a row for each shape and a column for each GPU. */
export async function modelTables(): Promise<string> {
  const kinds = (['forward', 'backward'] as const).flatMap((direction) =>
    (['float32', 'bfloat16'] as const).map((dtype) => ({ direction, dtype })),
  );
  const runs = kinds.flatMap((kind) => shapes.map((shape): Run => ({ ...kind, ...shape })));
  const cells = new Map(runs.map((run) => [run, [`${run.rows} x ${run.hiddenSize}`]]));
  for (const gpu of gpus) {
    const calls = await ModelledCalls.on(gpu, runs);
    const modelled = await calls.launches(runs);
    for (const [i, run] of runs.entries()) {
      const call = modelled[i];
      cells.get(run)?.push(cellOf(gpu, run, call && timeOf(gpu, call)));
    }
  }
  const tables = kinds.map(({ direction, dtype }) => {
    const ofKind = runs.filter((run) => run.direction === direction && run.dtype === dtype);
    const head = [`${direction} ${dtype}`, ...gpus.map(({ name }) => name)];
    return markdownTable({ head, rows: ofKind.map((run) => cells.get(run) ?? []) });
  });
  return tables.join('\n\n');
}

if (require.main === module) void modelTables().then(console.log);
