// The rows of the tables in docs/migration.md. Each call there must match the other library's steps,
// taken one by one, to the bit; or the oracle within bounds.

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { RMSNorm, rmsNorm, toBFloat16, type RMSNormOptions } from '../../lib';
import { backwardErrors, forwardErrors } from '../support/bounds';
import { foreignNorm, scalings, type Scaling } from '../support/foreign-norms';
import {
  bitsOf,
  expectForeign,
  forBoth,
  hiddenSize,
  length,
  rows,
  tables,
  type Check,
  type Tensors,
} from '../support/migration';
import { gatedBy, inference, mamba, problemOf } from '../support/migration-checks';
import { backward, forward, residualSum } from '../support/reference';
import { readSafetensors } from '../support/safetensors';
import { expectSameBits, expectWithin, normals, valuesOf } from '../support/support';

const eps = 1e-5;
const { llama, once, onePlus, none } = scalings;
const ones = new Float64Array(hiddenSize).fill(1);

type ModuleOptions = RMSNormOptions<Tensors['dtype'], Uint16Array, true>;

/** Checks y of a module whose weight has the dtype of x. */
const moduleOf =
  (options: ModuleOptions, scaling: Scaling): Check =>
  (tensors) => {
    const { dtype, x, weight } = tensors;
    const norm = new RMSNorm(hiddenSize, { dtype, ...options });
    norm.weight.set(weight);
    expectForeign(norm.forward(x, { dtype }), tensors, scaling, { eps: options.eps ?? 1e-6 });
  };

/** Checks y of a module that still has its initial weight. */
const newModuleOf =
  (options: ModuleOptions, value: number): Check =>
  (tensors) => {
    const { dtype, x } = tensors;
    const norm = new RMSNorm(hiddenSize, { dtype, eps, ...options });
    expectSameBits(norm.weight, bitsOf(dtype, new Float64Array(hiddenSize).fill(value)));
    expectForeign(norm.forward(x, { dtype }), tensors, none, { eps, weight: ones });
  };

/** Checks y of a call without a weight. */
const weightless =
  (options: { castOrder?: 'float' | 'llama' } = {}): Check =>
  (tensors) => {
    const { dtype, x } = tensors;
    const y = rmsNorm(x, null, { dtype, eps, normalizedShape: hiddenSize, ...options });
    expectForeign(y, tensors, none, { eps });
  };

/** Checks the sum, its norm, and the gradient of both. */
const residualIn =
  (castOrder: 'llama' | 'float'): Check =>
  (tensors) => {
    const { dtype, round, x, xValues, residual, residualValues, weight, dy, dyValues } = tensors;
    const sums = residualSum(xValues, residualValues, round);
    const unrounded = residualSum(xValues, residualValues, Number);
    if (dtype === 'bfloat16') expect(sums).not.toEqual(unrounded);
    const norm = new RMSNorm(hiddenSize, { eps, castOrder, dtype, weight });
    const { y, sum, backward: back } = norm.vjp(x, { residual });
    expectSameBits(sum, bitsOf(dtype, sums));
    expectForeign(y, tensors, castOrder === 'llama' ? llama : once, { eps, x: sums });
    expectSameBits(norm.forward(x, { residual }).sum, sum);
    const problem = problemOf(tensors, sums, castOrder === 'llama');
    const exact = backward(problem, dyValues, undefined, residualValues);
    const errors = backwardErrors(problem, dyValues, undefined, residualValues);
    const dx = back(dy, { dsum: residual });
    expectWithin(valuesOf(dx, dtype), exact.dx, errors.dx, round);
  };

const pytorch: Readonly<Record<string, Check>> = {
  'F.rms_norm(x, shape, weight, eps)': (tensors) => {
    const { dtype, x, weight } = tensors;
    const shape = [8, 8];
    const y = rmsNorm(
      { data: x, dims: [2, 3, ...shape] },
      { data: weight, dims: shape },
      { dtype, eps, castOrder: 'float', normalizedShape: shape },
    );
    expect(y.dims).toEqual([2, 3, 8, 8]);
    expectForeign(y.data, tensors, once, { eps });
  },
  'weight=None': weightless({ castOrder: 'float' }),
  'nn.RMSNorm(shape, eps, elementwise_affine, device, dtype)': (tensors) => {
    newModuleOf({ castOrder: 'float', device: 'cpu' }, 1)(tensors);
    const { dtype, x } = tensors;
    const unweighted = new RMSNorm([8, 8], { eps, castOrder: 'float', elementwiseAffine: false });
    expect(unweighted.weight).toBeNull();
    expectForeign(unweighted.forward(x, { dtype }), tensors, none, { eps });
  },
  'norm(x), y.backward(dy)': () => {
    const fixture = path.join(__dirname, '../fixtures/llama_norms.safetensors');
    const tensors = readSafetensors(fixture);
    for (const layer of ['block0.attention_norm', 'block3.ffn_norm', 'block2.query_norm']) {
      const [x, weight, dy] = ['x', 'weight', 'dy'].map(
        (name) => tensors.get(`${layer}.${name}`)?.data,
      ) as [Float32Array, Float32Array, Float32Array];
      const norm = new RMSNorm(weight.length, { eps: 1e-6, castOrder: 'float', weight });
      const { y, backward: back } = norm.vjp(x);
      const dx = back(dy);
      const problem = { x, weight, hiddenSize: weight.length, eps: 1e-6, weightOffset: 0 };
      const errors = backwardErrors({ ...problem, round: null }, dy);
      const yErrors = forwardErrors({ ...problem, round: null }).y;
      // The fixture has float64 results, rounded to float32.
      const near = (actual: Float32Array | null, name: string, error: Float64Array) => {
        const expected = tensors.get(`${layer}.${name}`)?.data as Float32Array;
        const wide = error.map((each, i) => each + Math.abs(expected[i] as number) * 2 ** -24);
        expectWithin(actual as Float32Array, expected, wide, Math.fround);
      };
      near(y, 'y', yErrors);
      near(dx, 'dx', errors.dx);
      near(norm.weightGrad, 'dweight', errors.dweight);
    }
  },
  'with torch.no_grad(): norm(x)': (tensors) => {
    const { dtype, x, weight } = tensors;
    const norm = new RMSNorm(hiddenSize, { eps, castOrder: 'float', dtype, weight });
    expectForeign(norm.forward(x), tensors, once, { eps });
    expect(norm.weightGrad).toBeNull();
  },
  "norm.weight.copy_(w), norm.to('cuda')": (tensors) => {
    moduleOf({ eps, castOrder: 'float' }, once)(tensors);
    const { dtype, x, weight } = tensors;
    const norm = new RMSNorm(hiddenSize, { eps, castOrder: 'float', dtype, weight });
    expect(norm.weight).toBe(weight);
    expectForeign(norm.forward(x), tensors, once, { eps });
  },
  'norm.weight.grad': (tensors) => {
    const { dtype, x, xValues, weight, dy, dyValues } = tensors;
    const norm = new RMSNorm(hiddenSize, { eps, castOrder: 'float', dtype, weight });
    const { backward: back } = norm.vjp(x);
    back(dy);
    const grad = Float32Array.from(norm.weightGrad ?? []);
    const problem = problemOf(tensors, xValues, false);
    const { dweight } = backward(problem, dyValues);
    expectWithin(grad, dweight, backwardErrors(problem, dyValues).dweight, Math.fround);
    back(dy);
    expectSameBits(
      norm.weightGrad,
      grad.map((value) => 2 * value),
    );
    const wide = new RMSNorm(hiddenSize, { dtype: 'float64' });
    wide.vjp(Float64Array.from(xValues)).backward(Float64Array.from(dyValues));
    expect(wide.weightGrad).toBeInstanceOf(Float64Array);
  },
  'h = x + residual, then norm(h)': residualIn('float'),
  'optimizer.zero_grad()': ({ dtype, x, weight, dy }) => {
    const norm = new RMSNorm(hiddenSize, { dtype, weight });
    norm.vjp(x).backward(dy);
    const grad = norm.weightGrad;
    expect(grad?.some((value) => value !== 0)).toBe(true);
    norm.zeroGrad();
    expect(norm.weightGrad).toBe(grad);
    expect(grad).toEqual(new Float32Array(hiddenSize));
  },
  'torch.bfloat16 tensors': (tensors) => {
    const { xValues, weightValues, round } = tensors;
    if (tensors.dtype !== 'bfloat16') return;
    const x = toBFloat16(Float32Array.from(xValues));
    const weight = toBFloat16(Float32Array.from(weightValues));
    const y = rmsNorm(x, weight, { dtype: 'bfloat16', eps, castOrder: 'float' });
    expect(y).toBeInstanceOf(Uint16Array);
    expectForeign(y, { ...tensors, round }, once, { eps });
  },
  'torch.float64 tensors': () => {
    const [x, weight] = [normals(6, length), normals(7, hiddenSize)];
    const problem = { x, weight, hiddenSize, eps, weightOffset: 0, round: null, isFloat64: true };
    const y = rmsNorm(x, weight, { eps, castOrder: 'float' });
    expect(y).toBeInstanceOf(Float64Array);
    expectWithin(y, forward(problem).y, forwardErrors(problem).y, Number);
  },
};

/** Checks y of a 16-bit x and a float32 weight, rounded to x's dtype as by the other library. */
const float32WeightOf =
  (castOrder: 'llama' | 'float'): Check =>
  (tensors) => {
    const { dtype, x, float32Weight } = tensors;
    const y = rmsNorm(x, float32Weight, { dtype, eps, castOrder });
    expectForeign(y, tensors, castOrder === 'llama' ? llama : once, { eps, weight: float32Weight });
  };

const transformers: Readonly<Record<string, Check>> = {
  'LlamaRMSNorm(hidden_size, eps)': (tensors) => {
    moduleOf({ eps }, llama)(tensors);
    float32WeightOf('llama')(tensors);
  },
  'variance_epsilon, rms_norm_eps': moduleOf({ eps: 0.25 }, llama),
  'Mistral…, Qwen2…, Qwen3…, DeepseekV3…': moduleOf({}, llama),
  'Llama4TextRMSNorm(hidden_size, eps)': moduleOf({ eps: 1e-5 }, llama),
  'Llama4TextL2Norm(eps)': weightless(),
  'Olmo2RMSNorm(hidden_size, eps)': moduleOf({ castOrder: 'float' }, once),
  'GptOssRMSNorm(hidden_size, eps)': (tensors) => {
    moduleOf({ eps, castOrder: 'float' }, once)(tensors);
    float32WeightOf('float')(tensors);
  },
  'GemmaRMSNorm(dim, eps), Gemma2…, Gemma3…': (tensors) => {
    moduleOf({ weightOffset: 1, castOrder: 'float' }, onePlus)(tensors);
    newModuleOf({ weightOffset: 1, castOrder: 'float' }, 0)(tensors);
  },
  'Gemma3nRMSNorm(dim, eps)': (tensors) => {
    const { dtype, round, x, xValues, weight, weightValues } = tensors;
    const norm = new RMSNorm(hiddenSize, { eps, castOrder: 'float', dtype, weight });
    // Before the last cast: x / root rounds once, x * (1 / root) twice; each product once more.
    const steps = { x: xValues, weight: weightValues, eps, scaling: once, round: Math.fround };
    const theirs = foreignNorm({ ...steps, divides: true });
    const errors = theirs.map((value) => Math.abs(value) * 5 * 2 ** -24 * (1 + 2 ** -20));
    expectWithin(valuesOf(norm.forward(x), dtype), theirs, errors, round);
    newModuleOf({ castOrder: 'float' }, 1)(tensors);
  },
  'Gemma3nRMSNorm(dim, eps, with_scale=False)': weightless(),
  'Qwen3NextRMSNorm(dim, eps)': (tensors) => {
    moduleOf({ weightOffset: 1, castOrder: 'float' }, onePlus)(tensors);
    newModuleOf({ weightOffset: 1, castOrder: 'float' }, 0)(tensors);
  },
  'Qwen3NextRMSNormGated(hidden_size, eps)': gatedBy('llama', 'after-norm'),
  'MambaRMSNormGated(hidden_size, eps)': gatedBy('llama', 'before-norm'),
  'T5LayerNorm(hidden_size, eps), a 16-bit weight': moduleOf({}, llama),
  'T5LayerNorm(hidden_size, eps), a float32 weight': float32WeightOf('float'),
};

const liger: Readonly<Record<string, Check>> = {
  'LigerRMSNorm(hidden_size, eps, offset, …)': moduleOf(
    { eps, weightOffset: 1, castOrder: 'float' },
    onePlus,
  ),
  'LigerFusedAddRMSNorm: norm(x, residual)': residualIn('llama'),
  'offset=1.0, init_fn="zeros"': newModuleOf({ weightOffset: 1 }, 0),
  'casting_mode="llama", the default': moduleOf({ eps }, llama),
  'casting_mode="gemma"': moduleOf({ eps, castOrder: 'float' }, once),
  "in_place=True, the default: dX into dY's memory": ({ dtype, x, weight, dy }) => {
    const own = dy.slice();
    const { dx } = rmsNorm.backward(dy, x, weight, null, { dtype });
    expectSameBits(dy, own);
    expect(rmsNorm.backward(own, x, weight, null, { dtype, dxOut: own }).dx).toBe(own);
    expectSameBits(own, dx);
  },
};

const apex: Readonly<Record<string, Check>> = {
  'FusedRMSNorm(normalized_shape, eps, elementwise_affine)': moduleOf({ eps }, llama),
  'fused_rms_norm_affine(x, weight, shape, eps)': (tensors) => {
    const { dtype, x, weight } = tensors;
    expectForeign(rmsNorm(x, weight, { dtype, eps }), tensors, llama, { eps });
  },
  'fused_rms_norm(x, shape, eps)': weightless(),
  'MixedFusedRMSNorm: weight of another dtype, which y takes': float32WeightOf('llama'),
  'memory_efficient=True: backward from y, without x': ({ dtype, x, weight, dy }) => {
    const { rstd } = rmsNorm.forward(x, weight, { dtype, eps });
    const stored = rmsNorm.backward(dy, x, weight, rstd, { dtype, eps });
    const recomputed = rmsNorm.backward(dy, x, weight, null, { dtype, eps });
    expectSameBits(recomputed.dx, stored.dx);
    expectSameBits(recomputed.dweight, stored.dweight);
  },
};

const onnx: Readonly<Record<string, Check>> = {
  '… its output inv_std_var': ({ dtype, x, weight, xValues }) => {
    const { rstd } = rmsNorm.forward({ data: x, dims: [2, 3, hiddenSize] }, weight, { dtype });
    expect(rstd).toBeInstanceOf(Float32Array);
    expect(rstd.length).toBe(rows);
    const squares = xValues.subarray(0, hiddenSize).reduce((sum, value) => sum + value ** 2, 0);
    expect(rstd[0]).toBeCloseTo(1 / Math.sqrt(squares / hiddenSize + 1e-6), 6);
  },
  '… its output input_skip_bias_sum': residualIn('float'),
  'stash_type = 1': ({ dtype }) => {
    // 1024² is beyond float16's range, and a sum of such squares in bfloat16 would stop growing.
    const values = new Float64Array(512).fill(1024);
    const y = rmsNorm(bitsOf(dtype, values), null, { dtype, normalizedShape: 512 });
    expectSameBits(y, bitsOf(dtype, values.fill(1)));
  },
};

/** Rows that other files test, and words that those files contain. */
const elsewhere: Readonly<Record<string, readonly [file: string, words: string]>> = {
  'RMSNormalization(X, scale), opset 23': ['onnxruntime.test.ts', "opType: 'RMSNormalization'"],
  'SimplifiedLayerNormalization(X, scale)': [
    'onnxruntime.test.ts',
    "opType: 'SimplifiedLayerNormalization'",
  ],
  'SkipSimplifiedLayerNormalization(input, skip, gamma)': [
    'onnxruntime.test.ts',
    "opType: 'SkipSimplifiedLayerNormalization'",
  ],
  'axis, -1 by default': ['conformance.test.ts', 'normalizedShape: x_shape.slice(axis)'],
  '… its group_size': ['gated.test.ts', 'groups of a row are normed on views'],
  'epsilon, 1e-5 by default': ['conformance.test.ts', 'eps: epsilon'],
};

const checks: Readonly<Record<string, Readonly<Record<string, Check>>>> = {
  PyTorch: pytorch,
  'Hugging Face transformers': transformers,
  Liger: liger,
  Apex: apex,
  'vLLM, flashinfer and TensorRT-LLM': inference,
  'Mamba and flash-linear-attention': mamba,
  'ONNX and onnxruntime': onnx,
};

describe.each(Object.entries(checks))('%s', (_, ofLibrary) => {
  test.each(Object.entries(ofLibrary))(
    '%s has the counterpart that docs/migration.md states',
    (_row, check) => {
      forBoth(check)();
    },
  );
});

test('every row that has a counterpart here is tested, and every test has its row', () => {
  const written = [...tables()].flatMap(([library, ofLibrary]) =>
    ofLibrary.filter(({ here }) => !here.startsWith('nothing')).map((row) => [library, row.there]),
  );
  const tested = Object.entries(checks).flatMap(([library, ofLibrary]) =>
    Object.keys(ofLibrary).map((there) => [library, there]),
  );
  const others = Object.entries(elsewhere).map(([there, [file]]) => [
    file === 'gated.test.ts' ? 'Mamba and flash-linear-attention' : 'ONNX and onnxruntime',
    there,
  ]);
  expect([...tested, ...others].sort()).toEqual(written.sort());
});

test.each(Object.entries(elsewhere))('%s is tested elsewhere', (_, [file, words]) => {
  const test = path.join(__dirname, file);
  expect(existsSync(test)).toBe(true);
  expect(readFileSync(test, 'utf8')).toContain(words);
});
