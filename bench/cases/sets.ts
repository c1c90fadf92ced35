import type { CastOrder, DType } from 'fused-rmsnorm';

import { castOrdersOf, type Case, type Op } from './cases';

/** (rows, hiddenSize) */
export type Shape = readonly [number, number];

/** The shape with a name such as '1x64'; undefined if the name is not a shape. */
export function readShape(name: string): Shape | undefined {
  const [, rows, hiddenSize] = /^([1-9]\d*)x([1-9]\d*)$/.exec(name) ?? [];
  return rows === undefined ? undefined : [Number(rows), Number(hiddenSize)];
}

function shapesOf(names: string): Shape[] {
  return names.split(' ').map((name) => readShape(name) as Shape);
}

/** The sets of shapes that `--shapes` accepts, by name. */
export const shapeSets = {
  llama: {
    description: 'from one short row to 8192 tokens of Llama (the default)',
    shapes: shapesOf(
      '1x64 1x4096 8x4096 32x4096 20x512 4096x128 512x4096 128x16384 2048x4096 8192x4096',
    ),
  },
  decode: {
    description: 'one token of each of 1 to 64 sequences',
    shapes: shapesOf('1x2048 1x4096 1x8192 8x4096 16x8192 64x4096'),
  },
  'qk-norm': {
    description: 'query and key heads of attention, many short rows',
    shapes: shapesOf('32x128 1280x128 16384x64 16384x128 65536x128 16384x256'),
  },
  large: {
    description: 'training batches, and long rows',
    shapes: shapesOf('8192x8192 32768x4096 16384x8192 2048x16384 512x65536 64x1048576'),
  },
  seed: {
    description: '(64, 512, 4096), to compare RMSNorm with LayerNorm',
    shapes: shapesOf('32768x4096'),
  },
};

/** The shapes of `--quick` if `--shapes` names none. */
export const quickShapes = shapesOf('1x64 1x4096 32x4096 512x4096');

/** Cases in the order of a report: by operation, dtype and cast order, then by shape. */
export function makeCases(
  ops: readonly Op[],
  dtypes: readonly DType[],
  shapes: readonly Shape[],
  castOrders: readonly CastOrder[],
): Case[] {
  const kinds = dtypes.flatMap((dtype) =>
    castOrdersOf(dtype, castOrders).map((castOrder) => ({ dtype, castOrder })),
  );
  return ops.flatMap((op) =>
    kinds.flatMap((kind) =>
      shapes.map(([rows, hiddenSize]) => ({ op, rows, hiddenSize, ...kind })),
    ),
  );
}
