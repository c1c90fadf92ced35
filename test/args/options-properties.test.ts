// Random shapes, strides and options: every backend and CPU variant gives the bits of the scalar
// variant on contiguous rows.

import fc from 'fast-check';

import {
  cpuVariants,
  devices,
  getCpuVariant,
  rmsNorm,
  setCpuVariant,
  type DeviceName,
} from '../../lib';
import { makeCase } from '../support/cases';
import { dtypes, expectSameBits, zeros, type HostArray } from '../support/support';

const variant = getCpuVariant();
afterEach(() => {
  setCpuVariant(variant);
});

const problems = fc.record({
  dtype: fc.constantFrom(...dtypes, 'float64' as const),
  tokens: fc.integer({ min: 0, max: 7 }),
  heads: fc.integer({ min: 1, max: 4 }),
  hiddenSize: fc.integer({ min: 1, max: 300 }),
  weightKind: fc.constantFrom('none' as const, 'same' as const, 'float32' as const),
  castOrder: fc.constantFrom('llama' as const, 'float' as const),
  weightOffset: fc.constantFrom(0, 1, -0.3),
  eps: fc.constantFrom(0, 1e-6, 2),
  gaps: fc.tuple(fc.nat(9), fc.nat(40), fc.nat(9)),
  headsFirst: fc.boolean(),
  backendIndex: fc.nat(),
});

test('every backend gives the bits of the scalar variant on contiguous rows', () => {
  const gpus = devices().map(({ device }) => device);
  fc.assert(
    fc.property(problems, ({ tokens, heads, gaps, headsFirst, backendIndex, ...options }) => {
      const { dtype, hiddenSize } = options;
      const made = makeCase({ ...options, rows: tokens * heads });
      const [gap, tokenGap, offset] = gaps;
      // [heads, tokens] or [tokens, heads] rows, in the order of the contiguous tensor.
      const [outer, inner] = headsFirst ? [heads, tokens] : [tokens, heads];
      const row = hiddenSize + gap;
      const strides = headsFirst
        ? [row, heads * row + tokenGap, 1]
        : [heads * row + tokenGap, row, 1];
      const dims = [outer, inner, hiddenSize];
      const firstOf = (r: number) =>
        offset +
        Math.floor(r / inner) * (strides[0] as number) +
        (r % inner) * (strides[1] as number);
      const spread = (packed: HostArray) => {
        const data = zeros(dtype, offset + (tokens + 1) * (heads * row + tokenGap));
        for (let r = 0; r < tokens * heads; ++r) {
          data.set(packed.subarray(r * hiddenSize, (r + 1) * hiddenSize), firstOf(r));
        }
        return { data, dims, strides, offset };
      };
      setCpuVariant('scalar');
      const sum = rmsNorm.forward(made.x, made.weight, {
        ...made.options,
        residual: made.residual,
      });
      const back = rmsNorm.backward(made.dy, sum.sum, made.weight, sum.rstd, {
        ...made.options,
        dsum: made.dsum,
      });

      const backends = dtype === 'float64' ? cpuVariants() : [...cpuVariants(), ...gpus];
      const name = backends[backendIndex % backends.length] as string;
      const isGpu = name.startsWith('cuda');
      if (!isGpu) setCpuVariant(name);
      const settings = { ...made.options, device: (isGpu ? name : 'cpu') as DeviceName };
      const x = spread(made.x);
      const there = rmsNorm.forward(x, made.weight, {
        ...settings,
        residual: spread(made.residual),
        out: x,
      });
      expectSameBits(x.data, spread(sum.y).data);
      expectSameBits(there.rstd, sum.rstd);
      expectSameBits(there.sum.data, sum.sum);
      const dsum = spread(made.dsum);
      const backThere = rmsNorm.backward(spread(made.dy), spread(sum.sum), made.weight, null, {
        ...settings,
        dsum,
        dxOut: dsum,
      });
      expectSameBits(dsum.data, spread(back.dx).data);
      expectSameBits(backThere.dweight, back.dweight);
    }),
    { seed: 11, numRuns: 400 },
  );
});
