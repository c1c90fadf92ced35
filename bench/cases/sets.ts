import type { Case, Op } from './cases';

/** (rows, hiddenSize) */
export type Shape = readonly [number, number];

/** Shapes by the name that `--shapes` takes. */
export const shapeSets = {
  llama: {
    about: 'from the cost of a call to 8192 tokens of Llama, the default',
    shapes: [
      [1, 64],
      [1, 4096],
      [8, 4096],
      [32, 4096],
      [20, 512],
      [4096, 128],
      [512, 4096],
      [128, 16384],
      [2048, 4096],
      [8192, 4096],
    ],
  },
  decode: {
    about: 'one token of each of 1 to 64 sequences',
    shapes: [
      [1, 2048],
      [1, 4096],
      [1, 8192],
      [8, 4096],
      [16, 8192],
      [64, 4096],
    ],
  },
  'qk-norm': {
    about: 'heads of queries and keys: many short rows',
    shapes: [
      [32, 128],
      [1280, 128],
      [16384, 64],
      [16384, 128],
      [65536, 128],
      [16384, 256],
    ],
  },
  large: {
    about: 'batches of training, and long rows',
    shapes: [
      [8192, 8192],
      [32768, 4096],
      [16384, 8192],
      [2048, 16384],
      [512, 65536],
      [64, 1048576],
    ],
  },
  seed: {
    about: '(64, 512, 4096), RMSNorm beside LayerNorm',
    shapes: [[32768, 4096]],
  },
} as const satisfies Record<string, { about: string; shapes: readonly Shape[] }>;

/** What `--quick` measures unless shapes are named. */
export const quickShapes: readonly Shape[] = [
  [1, 64],
  [1, 4096],
  [32, 4096],
  [512, 4096],
];

/** Cases in the order of a report: by operation and dtype, then by shape. */
export function makeCases(
  ops: readonly Op[],
  dtypes: readonly Case['dtype'][],
  shapes: readonly Shape[],
): Case[] {
  return ops.flatMap((op) =>
    dtypes.flatMap((dtype) =>
      shapes.map(([rows, hiddenSize]) => ({ op, rows, hiddenSize, dtype })),
    ),
  );
}
