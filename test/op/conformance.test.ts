// Expected results of other projects, from test/fixtures: ONNX's node tests, and PyTorch on the
// activations of a trained Llama.

import { readFileSync } from 'node:fs';
import path from 'node:path';

import { rmsNorm } from '../../lib';
import { backwardErrors, float32Error, forwardErrors } from '../support/bounds';
import { readSafetensors } from '../support/safetensors';
import { expectWithin } from '../support/support';

const fixture = (name: string) => path.join(__dirname, '../fixtures', name);

interface OnnxCase {
  readonly name: string;
  readonly axis: number;
  readonly epsilon: number;
  readonly rtol: number;
  readonly atol: number;
  readonly x_shape: number[];
  readonly w_shape: number[];
  readonly x: number[];
  readonly w: number[];
  readonly y: number[];
}

const onnxCases = JSON.parse(
  readFileSync(fixture('onnx_rms_normalization.json'), 'utf8'),
) as OnnxCase[];

test('the fixture has all 19 ONNX cases', () => {
  expect(onnxCases.length).toBe(19);
});

test.each(onnxCases)(
  'ONNX $name: y is within the tolerance',
  ({ axis, epsilon, rtol, atol, x_shape, w_shape, x, w, y }) => {
    const result = rmsNorm(
      { data: Float32Array.from(x), dims: x_shape },
      { data: Float32Array.from(w), dims: w_shape },
      { eps: epsilon, normalizedShape: x_shape.slice(axis) },
    );
    expect(result.dims).toEqual(x_shape);
    // The case states its own tolerance.
    const errors = y.map((value) => atol + rtol * Math.abs(value));
    expectWithin(result.data, y, errors, Math.fround);
  },
);

const llama = readSafetensors(fixture('llama_norms.safetensors'));

test.each(['block0.attention_norm', 'block3.ffn_norm', 'block2.query_norm'])(
  'Llama %s: results are within the bounds',
  (norm) => {
    const dataOf = (name: string) => {
      const tensor = llama.get(`${norm}.${name}`);
      if (tensor === undefined) throw new Error(`The fixture has no ${norm}.${name}`);
      return tensor.data;
    };
    const [x, weight, dy] = [dataOf('x'), dataOf('weight'), dataOf('dy')];
    const problem = {
      x,
      weight,
      hiddenSize: weight.length,
      eps: 1e-6,
      weightOffset: 0,
      round: null,
    };
    const { y, rstd } = rmsNorm.forward(x, weight);
    const { dx, dweight } = rmsNorm.backward(dy, x, weight, rstd);

    // The expected values were computed in float64 and rounded to float32.
    const withRounding = (errors: Float64Array, expected: Float32Array) =>
      errors.map((error, i) => error + float32Error(expected[i] as number));
    const backErrors = backwardErrors(problem, dy);
    for (const [actual, name, errors] of [
      [y, 'y', forwardErrors(problem).y],
      [dx, 'dx', backErrors.dx],
      [dweight, 'dweight', backErrors.dweight],
    ] as const) {
      const expected = dataOf(name);
      expectWithin(actual, expected, withRounding(errors, expected), Math.fround);
    }
  },
);
