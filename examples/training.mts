// The smallest training loop: a norm learns the weight of another norm from its outputs.

import assert from 'node:assert/strict';

import { RMSNorm } from 'fused-rmsnorm';

const size = 32;
const rows = 64;
const rate = 0.25;

const x = Float32Array.from({ length: rows * size }, (_, i) => Math.sin(i * i));
const teacher = new RMSNorm(size, { weight: new Float32Array(size).map((_, i) => i / size) });
const target = teacher.forward(x);
const norm = new RMSNorm(size); // a weight of ones
const losses: number[] = [];

for (let step = 0; step < 40; ++step) {
  const { y, backward } = norm.vjp(x);
  const error = y.map((value, i) => value - (target[i] ?? NaN));
  losses.push(error.reduce((sum, value) => sum + value * value, 0) / rows);
  norm.zeroGrad();
  backward(error.map((value) => (2 * value) / rows)); // the gradient of the loss with respect to y
  const { weight, weightGrad } = norm;
  weight.set(weight.map((value, i) => value - rate * (weightGrad?.[i] ?? 0)));
}

console.log(`loss ${losses[0]?.toFixed(3)} at first, ${losses.at(-1)?.toExponential(1)} at last`);
losses.reduce((before, loss) => {
  assert.ok(loss < before, 'the loss did not fall');
  return loss;
});
