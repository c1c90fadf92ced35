// Runs a norm between two models of onnxruntime-node: rmsNorm takes the tensor that one session returns,
// and the next session takes its result. The model matmul.onnx multiplies two matrices.

import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';

import { rmsNorm } from 'fused-rmsnorm';
import { InferenceSession, Tensor } from 'onnxruntime-node';

const [tokens, size] = [4, 8];
const values = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(i * i));
const matrix = (rows: number) => new Tensor('float32', values(rows * size), [rows, size]);

const model = new URL('./matmul.onnx', import.meta.url);
const session = await InferenceSession.create(fileURLToPath(model));

async function matmul(a: Tensor, b: Tensor) {
  const { y } = await session.run({ a, b });
  assert.ok(y?.type === 'float32');
  return y;
}

const hidden = await matmul(matrix(tokens), matrix(size));
const normed = rmsNorm(hidden, new Float32Array(size).fill(1)); // { data, dims }, like hidden
const logits = await matmul(new Tensor(normed.data, normed.dims), matrix(size));

for (let row = 0; row < tokens; ++row) {
  let squares = 0;
  for (const value of normed.data.subarray(row * size, (row + 1) * size)) squares += value * value;
  assert.ok(Math.abs(squares / size - 1) < 1e-5, 'the mean square of each row is 1');
}
console.log(`${hidden.dims.join('x')} hidden states, normalised, ${logits.dims.join('x')} logits`);
await session.release();
