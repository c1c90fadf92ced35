/* @jest-environment ./test/support/shared-realm.ts */
// onnxruntime's operators as an oracle that shares no code with ours. They round once, as castOrder
// 'float' does.

import { InferenceSession, Tensor, type TypedTensor } from 'onnxruntime-node';

import { rmsNorm } from '../../lib';
import { forwardErrors } from '../support/bounds';
import { foreignErrors } from '../support/foreign-bounds';
import { modelOf, type OnnxNode } from '../../bench/subjects/rivals/models/onnx';
import { forward, residualSum, roundTo, type Problem } from '../support/reference';
import { arrayOf, expectWithin, normals, uniform, valuesOf } from '../support/support';

type Type = 'float32' | 'float16' | 'float64';
type FloatTensor = TypedTensor<Type>;

const { fround, floor } = Math;
const sizeOf = (dims: readonly number[]) => dims.reduce((size, dim) => size * dim, 1);

function tensorOf(type: Type, values: Float64Array, dims: readonly number[]): FloatTensor {
  const array = arrayOf(type, values.map(roundTo[type]));
  return new Tensor(type, array as Float32Array, dims);
}

const valuesIn = ({ data, type }: FloatTensor) => valuesOf(data, type);

/** Runs one node. Inputs and results are by name. */
async function run(
  node: OnnxNode,
  inputs: Readonly<Record<string, FloatTensor>>,
): Promise<Record<string, FloatTensor>> {
  const session = await InferenceSession.create(modelOf(node), { intraOpNumThreads: 1 });
  const results = await session.run(inputs);
  await session.release();
  return results as Record<string, FloatTensor>;
}

const operators = [
  { opType: 'RMSNormalization', output: ['y'], opset: 23 },
  { opType: 'SimplifiedLayerNormalization', output: ['y', 'rstd'], opset: 21 },
] as const;

/** Numbers whose sums of squares are exact in float32, in any order and at every step. */
const eighths = (seed: number, length: number) => {
  const random = uniform(seed);
  return new Float64Array(length).map(() => (floor(random() * 65) - 32) / 8);
};

const data = [
  { kind: 'any numbers', isExact: false, make: (seed: number, n: number) => normals(seed, n, 2) },
  { kind: 'numbers whose sums are exact', isExact: true, make: eighths },
];

const shapes: [dims: number[], axis: number][] = [
  ...[1, 2, 7, 8, 9, 31, 33, 64, 100, 111, 256, 257, 500, 769, 1000, 2048, 4096].map(
    (hiddenSize): [number[], number] => [[3, hiddenSize], -1],
  ),
  [[1, 5125], 1],
  [[64, 128], -1],
  [[2, 3, 32], -1],
  [[2, 3, 4, 5], 2],
  [[2, 3, 4, 5], 0],
  [[5, 1, 7, 1], -3],
];

describe.each(['float32', 'float16', 'float64'] as const)('%s', (type) => {
  describe.each(operators)('as $opType', ({ opType, output, opset }) => {
    describe.each(data)('on $kind', ({ make, isExact }) => {
      test.each(shapes)('x %j from axis %d: results are within the bounds', async (dims, axis) => {
        const length = sizeOf(dims);
        const normalizedShape = dims.slice(axis);
        const hiddenSize = sizeOf(normalizedShape);
        for (const epsilon of [1e-6, 1e-5, 0.1]) {
          const x = tensorOf(type, make(length, length), dims);
          const weight = tensorOf(type, normals(hiddenSize, hiddenSize, 0.5, 1), normalizedShape);
          const problem: Problem = {
            x: valuesIn(x),
            weight: valuesIn(weight),
            hiddenSize,
            eps: fround(epsilon), // an attribute is float32
            weightOffset: 0,
            round: null,
            isFloat64: type === 'float64',
          };
          const node: OnnxNode = {
            ...{ opType, output, opset, type, axis, epsilon },
            domain: '',
            input: ['x', 'weight'],
            float32Output: 'rstd',
          };
          const exact = forward(problem);
          const theirs = foreignErrors(problem, null, isExact);
          const ours = forwardErrors(problem);

          const result = await run(node, { x, weight });
          expect(Object.keys(result)).toEqual(output);
          expectWithin(valuesIn(result['y'] as FloatTensor), exact.y, theirs.y, roundTo[type]);
          if (result['rstd']) {
            expectWithin(valuesIn(result['rstd']), exact.rstd, theirs.rstd, fround);
          }

          const options = { eps: fround(epsilon), castOrder: 'float' } as const;
          const { y, rstd } = rmsNorm.forward(x, weight, options);
          expect(y.dims).toEqual(dims);
          expectWithin(valuesOf(y.data, type), exact.y, ours.y, roundTo[type]);
          expectWithin(rstd, exact.rstd, ours.rstd, type === 'float64' ? roundTo.float64 : fround);
        }
      });
    });
  });
});

describe.each(['float32', 'float16'] as const)('%s with a residual', (type) => {
  // Their kernel normalises the sum before it is rounded to float16.
  describe.each(data)('on $kind', ({ make, isExact }) => {
    test.each([1, 7, 8, 33, 64, 111, 256, 769, 1000, 4096])(
      'x [2,3,%d]: results are within the bounds',
      async (hiddenSize) => {
        const dims = [2, 3, hiddenSize];
        const length = sizeOf(dims);
        const x = tensorOf(type, make(length, length), dims);
        const residual = tensorOf(type, make(length + 1, length), dims);
        const weight = tensorOf(type, normals(hiddenSize, hiddenSize, 0.5, 1), [hiddenSize]);
        const unroundedSum = residualSum(valuesIn(x), valuesIn(residual), fround);
        const sum = residualSum(valuesIn(x), valuesIn(residual), roundTo[type]);
        const problem: Problem = {
          ...{ x: sum, weight: valuesIn(weight), hiddenSize },
          ...{ eps: 1e-5, weightOffset: 0, round: null },
        };
        const theirProblem = { ...problem, x: unroundedSum };

        const node: OnnxNode = {
          opType: 'SkipSimplifiedLayerNormalization',
          domain: 'com.microsoft',
          input: ['x', 'residual', 'weight'],
          output: ['y', '', 'rstd', 'sum'],
          ...{ float32Output: 'rstd', type, epsilon: 1e-5 },
        };
        const result = await run(node, { x, residual, weight });
        const their = (name: string) => valuesIn(result[name] as FloatTensor);
        const theirExact = forward(theirProblem);
        const theirErrors = foreignErrors(theirProblem, null, isExact);
        expect(their('sum')).toEqual(sum);
        expectWithin(their('y'), theirExact.y, theirErrors.y, roundTo[type]);
        expectWithin(their('rstd'), theirExact.rstd, theirErrors.rstd, fround);

        const options = { eps: 1e-5, castOrder: 'float', residual } as const;
        const ours = rmsNorm.forward(x, weight, options);
        const exact = forward(problem);
        const errors = forwardErrors(problem);
        expect(ours.sum.dims).toEqual(dims);
        expect(valuesOf(ours.sum.data, type)).toEqual(sum);
        expectWithin(valuesOf(ours.y.data, type), exact.y, errors.y, roundTo[type]);
        expectWithin(ours.rstd, exact.rstd, errors.rstd, fround);
      },
    );
  });
});
