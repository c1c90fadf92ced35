// Tests the native LayerNorm with every instruction set of this processor, with cached and
// streaming stores.

import {
  cpuVariants,
  getCpuVariant,
  getNumThreads,
  setCpuVariant,
  setNumThreads,
} from 'fused-rmsnorm';

import { layerNorm } from '../../bench/subjects/rivals/layer-norm';
import { expectRight, ragged } from '../support/rivals';

const variant = getCpuVariant();
const threads = getNumThreads();

afterEach(() => {
  setCpuVariant(variant);
  setNumThreads(threads);
});

/** Large enough for streaming stores. */
const large: readonly [rows: number, hiddenSize: number] = [3333, 1003];

describe.each(cpuVariants())('%s', (name) => {
  const check = async (count: number, rows: number, hiddenSize: number) => {
    setCpuVariant(name);
    setNumThreads(count);
    const one = { op: 'forward', dtype: 'float32', castOrder: 'llama', rows, hiddenSize } as const;
    await expectRight(layerNorm, await layerNorm.load(), one, 'given');
  };
  test.each([...ragged, large])('is right for %d x %d', (...shape) => check(3, ...shape));
  test('is right on one thread', () => check(1, 40, 257));
});
