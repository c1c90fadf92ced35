// rmsNorm of plain float32 arrays has a short way of its own: to what the general one gives.

import fc from 'fast-check';

import { rmsNorm } from '../lib';
import { plainForward } from '../lib/plain-forward';
import { expectSameBits, normals } from './support';

const floats = (length: number, seed = 0) => Float32Array.from(normals(seed, length));

const general = { castOrder: 'llama' } as const; // the default, which only the general path reads

const call = fc.record({
  rows: fc.integer({ min: 1, max: 5 }),
  hiddenSize: fc.integer({ min: 1, max: 300 }),
  eps: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
  isOutGiven: fc.boolean(),
});

test('the same bits, with every option that it reads', () => {
  fc.assert(
    fc.property(call, ({ rows, hiddenSize, eps, isOutGiven }) => {
      const x = floats(rows * hiddenSize, 1);
      const weight = floats(hiddenSize, 2);
      const options = {
        dtype: 'float32' as const,
        ...(eps === undefined ? {} : { eps }),
        ...(isOutGiven ? { out: new Float32Array(x.length).fill(NaN) } : {}),
      };
      const y = plainForward(x, weight, options);
      if (isOutGiven) expect(y).toBe(options.out);
      expectSameBits(y, rmsNorm(x, weight, { ...general, eps: eps ?? 1e-6 }));
      expectSameBits(rmsNorm(x, weight, options), y);
    }),
  );
});

test.each([
  ['an option that it does not read', [floats(8), floats(4), general]],
  ['options that are none', [floats(8), floats(4), null]],
  ['an eps that is none', [floats(8), floats(4), { eps: 1e39 }]],
  ['no rows', [floats(0), floats(4), {}]],
  ['broken rows', [floats(7), floats(4), {}]],
  ['an empty weight', [floats(8), floats(0), {}]],
  ['no weight', [floats(8), null, {}]],
  ['another kind of array', [new Float64Array(8), new Float64Array(4), {}]],
  ['another dtype', [floats(8), floats(4), { dtype: 'float16' }]],
  ['a tensor', [{ data: floats(8), dims: [2, 4] }, floats(4), {}]],
  ['an out of another length', [floats(8), floats(4), { out: floats(4) }]],
])('leaves to the general way: %s', (_, args) => {
  expect(plainForward(...(args as Parameters<typeof plainForward>))).toBeNull();
});
