// Checks of docs/migration.md for libraries that quantise or gate.

import {
  rmsNorm,
  type CastOrder,
  type ForwardOptions,
  type GateOrder,
  type QuantizedDType,
} from '../../lib';
import { foreignNorm, scalings, type Scaling } from './foreign-norms';
import { gatedErrors, gatedForward } from './gated';
import { hiddenSize, length, rows, type Check, type Tensors } from './migration';
import { quantize as quantizeRows } from './quantize';
import type { Problem } from './reference';
import { expectWithin, valuesOf } from './support';

const eps = 1e-5;
const { llama, once } = scalings;

/** The oracle's problem for a 16-bit x and its weight. */
export const problemOf = (
  { weightValues, round }: Tensors,
  x: Float64Array,
  isLlama: boolean,
): Problem => ({
  ...{ x, weight: weightValues, hiddenSize, eps, weightOffset: 0, round: isLlama ? round : null },
});

/** A check of a gated y, within the bounds of its roundings. */
export const gatedBy =
  (castOrder: CastOrder, gateOrder: GateOrder): Check =>
  (tensors) => {
    const { dtype, round, x, xValues, weight, dy: gate, dyValues } = tensors;
    const y = rmsNorm(x, weight, { dtype, eps, castOrder, gate, gateOrder });
    const norm = problemOf(tensors, xValues, castOrder === 'llama');
    const problem = { ...norm, gate: dyValues, gateOrder };
    const errors = gatedErrors(problem, dyValues).y;
    expectWithin(valuesOf(y, dtype), gatedForward(problem).y, errors, round);
  };

type Settings = Pick<ForwardOptions, 'scale' | 'scaleMax' | 'out'>;

/** A check of codes: they must equal the other library's y, quantised afterwards. */
const quantised =
  (quantize: QuantizedDType, scaling: Scaling, settings: Settings = {}): Check =>
  (tensors) => {
    const { dtype, x, xValues, weight, weightValues, round } = tensors;
    const castOrder = scaling === llama ? 'llama' : 'float';
    // In 'float' order the only rounding is to the code.
    const steps = { x: xValues, weight: weightValues, eps, scaling };
    const theirs = foreignNorm({ ...steps, round: castOrder === 'llama' ? round : Math.fround });
    const result = rmsNorm.forward(x, weight, { dtype, eps, castOrder, quantize, ...settings });
    const { scale, scaleMax } = settings;
    const { codes, scales } = quantizeRows(quantize, theirs, rows, {
      ...(scale !== undefined && { scale }),
      ...(scaleMax !== undefined && { scaleMax }),
    });
    expect(Array.from(result.y as ArrayLike<number>)).toEqual(codes);
    if (scale === undefined) expect(Array.from(result.scale as Float32Array)).toEqual(scales);
  };

const out = new Uint8Array(length);
export const inference: Readonly<Record<string, Check>> = {
  "vLLM's rms_norm_dynamic_per_token_quant(x, weight, eps, torch.int8)": quantised('int8', llama),
  '… torch.float8_e4m3fn, its scale_ub': quantised('float8_e4m3', llama, { scaleMax: 1.5 / 448 }),
  '… its residual': (tensors) => {
    const { dtype, x, weight, residual } = tensors;
    const options = { dtype, eps, quantize: 'int8' } as const;
    const fused = rmsNorm.forward(x, weight, { ...options, residual });
    const apart = rmsNorm.forward(fused.sum, weight, options);
    expect(fused.y).toEqual(apart.y);
  },
  "vLLM's rms_norm_static_fp8_quant(out, x, weight, scale, eps)": quantised('float8_e4m3', llama, {
    ...{ scale: 0.01, out },
  }),
  "flashinfer's rmsnorm_quant(out, x, weight, scale, eps)": quantised('float8_e4m3', once, {
    ...{ scale: 0.01, out },
  }),
  "TensorRT-LLM's fp8_rowwise_rms_norm(x, shape, weight, …)": quantised('float8_e4m3', once),
  "TensorRT-LLM's smooth_quant_rms_norm(…, dynamic_act_scaling=True)": quantised('int8', once),
  'their scales': ({ dtype, x, weight }) => {
    const { scale } = rmsNorm.forward(x, weight, { dtype, quantize: 'float8_e4m3' });
    expect(scale).toBeInstanceOf(Float32Array);
    expect(scale).toHaveLength(rows);
  },
};

export const mamba: Readonly<Record<string, Check>> = {
  'rmsnorm_fn(x, weight, None, z=z, eps=eps, norm_before_gate=False)': gatedBy(
    ...(['float', 'before-norm'] as const),
  ),
  'rmsnorm_fn(x, weight, None, z=z, eps=eps)': gatedBy('float', 'after-norm'),
  "fla's FusedRMSNormGated(hidden_size, eps=eps): norm(x, g)": gatedBy('float', 'after-norm'),
};
