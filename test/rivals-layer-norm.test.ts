// The native LayerNorm with every instruction set of this processor, by cached and streaming stores,
// each in a process of its own.

import { cpuVariants } from '../lib';
import { printedBy } from './processes';
import { ragged } from './rivals';

/** Of [rows, hiddenSize], how many elements of y are out of bounds. */
const program = (shapes: readonly (readonly [number, number])[]) => `
  const { makeArrays } = require('./bench/arrays');
  const { eps } = require('./bench/cases');
  const { layerNorm } = require('./bench/rivals/layer-norm');
  const reference = require('./test/reference');
  const { layerNormErrors } = require('./test/foreign-bounds');
  layerNorm.load().then(async (loaded) => {
    for (const [rows, hiddenSize] of ${JSON.stringify(shapes)}) {
      const one = { op: 'forward', dtype: 'float32', rows, hiddenSize };
      const arrays = makeArrays(one);
      arrays.out.fill(NaN);
      const prepared = await loaded.prepare(one, arrays, 'given');
      await prepared.run(1);
      const { y } = await prepared.results();
      const problem = {
        x: arrays.x, weight: arrays.weight, hiddenSize, eps, weightOffset: 0, round: null,
      };
      const exact = reference.layerNorm(problem);
      const errors = layerNormErrors(problem);
      const isRight = (i) => Math.abs(y[i] - exact[i]) <= errors[i] + 2 ** -23 * Math.abs(exact[i]);
      print({ rows, hiddenSize, wrong: exact.filter((_, i) => !isRight(i)).length });
    }
  });`;

/** More than goes by cached stores, of whole pairs and not. */
const large: readonly [number, number][] = [
  [4096, 1024],
  [4001, 1003],
];

describe.each(cpuVariants())('%s', (variant) => {
  test.each(['1', '3'])('%s threads', async (threads) => {
    const shapes = [...ragged, ...large];
    const results = await printedBy(program(shapes), {
      RMSNORM_CPU_VARIANT: variant,
      RMSNORM_NUM_THREADS: threads,
    });
    expect(results).toEqual(shapes.map(([rows, hiddenSize]) => ({ rows, hiddenSize, wrong: 0 })));
  });
});
