// Trains a small Llama of one layer until it knows a line of text by heart: attention and a
// feed-forward part, each behind a norm and beside a residual path. RMSNorm modules do the norms and
// the additions to that path, forward and backward; layers.ts has the rest.

import assert from 'node:assert/strict';

import { RMSNorm } from 'fused-rmsnorm';
import { Attention, crossEntropy, Linear, sum, SwiGLU, type Parameter } from './layers.mts';
import { normals } from './random.mts';

const text = 'each row is divided by its root mean square';
const vocabulary = Array.from(new Set(text));
const tokens = Array.from(text, (letter) => vocabulary.indexOf(letter));
const inputs = tokens.slice(0, -1);
const targets = tokens.slice(1);

const size = 32;
const steps = 100;

const embedding: Parameter = {
  weight: normals(1, vocabulary.length * size),
  weightGrad: new Float32Array(vocabulary.length * size),
};
const attentionNorm = new RMSNorm(size);
const attention = new Attention(size, 10);
const feedForwardNorm = new RMSNorm(size);
const feedForward = new SwiGLU(size, 3 * size, 20);
const outputNorm = new RMSNorm(size);
const output = new Linear(size, vocabulary.length, 30);

/** Logits of the letter that follows each. */
function forward(): Float32Array {
  const x = Float32Array.from(
    inputs.flatMap((token) => [...embedding.weight.subarray(token * size, (token + 1) * size)]),
  );
  const attended = attention.forward(attentionNorm.forward(x));
  const middle = feedForwardNorm.forward(attended, { residual: x });
  const fed = feedForward.forward(middle.y);
  return output.forward(outputNorm.forward(fed, { residual: middle.sum }).y);
}

/** Adds to the gradients of all weights, those of the norms included. */
function backward(dlogits: Float32Array): void {
  const dfed = outputNorm.backward(output.backward(dlogits));
  const dattended = feedForwardNorm.backward(feedForward.backward(dfed), { dsum: dfed });
  const dx = attentionNorm.backward(attention.backward(dattended), { dsum: dattended });
  inputs.forEach((token, row) => {
    const gradient = embedding.weightGrad.subarray(token * size, (token + 1) * size);
    gradient.set(sum(gradient, dx.subarray(row * size, (row + 1) * size)));
  });
}

/** Adam: steps along the mean gradient, over the root of the mean square one. */
class Adam {
  readonly #parameters: readonly (Parameter | RMSNorm)[];
  readonly #means: Float32Array[];
  readonly #squares: Float32Array[];
  #step = 0;

  constructor(parameters: readonly (Parameter | RMSNorm)[]) {
    const zeros = () => parameters.map(({ weight }) => new Float32Array(weight?.length ?? 0));
    this.#parameters = parameters;
    this.#means = zeros();
    this.#squares = zeros();
  }

  step(rate: number): void {
    ++this.#step;
    this.#parameters.forEach(({ weight, weightGrad }, i) => {
      const [means, squares] = [this.#means[i] as Float32Array, this.#squares[i] as Float32Array];
      weightGrad?.forEach((gradient, j) => {
        const mean = 0.9 * (means[j] as number) + 0.1 * gradient;
        const square = 0.99 * (squares[j] as number) + 0.01 * gradient * gradient;
        [means[j], squares[j]] = [mean, square];
        const root = Math.sqrt(square / (1 - 0.99 ** this.#step));
        const change = (rate * mean) / (1 - 0.9 ** this.#step) / (root + 1e-8);
        (weight as Float32Array)[j] = ((weight as Float32Array)[j] as number) - change;
      });
      weightGrad?.fill(0);
    });
  }
}

const optimizer = new Adam([
  ...[embedding, ...attention.parameters, ...feedForward.parameters, output],
  ...[attentionNorm, feedForwardNorm, outputNorm],
]);

const losses: number[] = [];
for (let step = 0; step <= steps; ++step) {
  const { loss, dlogits } = crossEntropy(forward(), targets);
  losses.push(loss);
  if (step % 25 === 0) console.log(`step ${String(step).padStart(3)}  loss ${loss.toFixed(4)}`);
  backward(dlogits);
  optimizer.step(0.01);
}

const logits = forward();
const learned = targets.map((_, row) => {
  const scores = logits.subarray(row * vocabulary.length, (row + 1) * vocabulary.length);
  return vocabulary[scores.indexOf(Math.max(...scores))];
});
console.log(`it reads: ${[text[0], ...learned].join('')}`);

assert.ok((losses.at(-1) as number) < (losses[0] as number) / 100, 'the loss did not fall');
assert.equal([text[0], ...learned].join(''), text);
for (const norm of [attentionNorm, feedForwardNorm, outputNorm]) {
  assert.ok(
    norm.weight?.every((weight) => weight !== 1),
    'a norm did not learn',
  );
}
