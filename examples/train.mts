// Trains a small Llama of one layer until it knows a line of text by heart. The layer has attention and
// a feed-forward network, each after a norm and beside a residual path. RMSNorm modules compute the
// norms and the additions to that path, forward and backward; layers.mts has the rest. If there is a
// GPU, the training is repeated with the norms and the residual path on it, to the same bits.

import assert from 'node:assert/strict';

import { DeviceBuffer, devices, RMSNorm, type DeviceName } from 'fused-rmsnorm';
import { Attention, crossEntropy, Linear, sum, SwiGLU } from './layers.mts';
import { normals } from './random.mts';

const text = 'each row is divided by its root mean square';
const vocabulary = Array.from(new Set(text));
const tokens = Array.from(text, (letter) => vocabulary.indexOf(letter));
const inputs = tokens.slice(0, -1);
const targets = tokens.slice(1);

const size = 32;
const steps = 100;

/** Values in memory of the CPU or of a GPU. */
type Values = Float32Array | DeviceBuffer<'float32'>;

/** A weight to train and its gradient, which accumulates until the optimizer has used it. */
interface Parameter {
  readonly weight: Values;
  readonly weightGrad: Values | null;
}

const toHost = (values: Values) => (values instanceof DeviceBuffer ? values.toHost() : values);

/** The network. Its norms and its residual path are on `device`, the other layers on the CPU. */
class Network {
  readonly parameters: readonly Parameter[];
  readonly norms: readonly RMSNorm<'float32', Values>[];
  readonly #device: DeviceName;
  readonly #embedding = {
    weight: normals(1, vocabulary.length * size),
    weightGrad: new Float32Array(vocabulary.length * size),
  };
  readonly #attention = new Attention(size, 10);
  readonly #feedForward = new SwiGLU(size, 3 * size, 20);
  readonly #output = new Linear(size, vocabulary.length, 30);

  constructor(device: DeviceName) {
    this.#device = device;
    const ones = new Float32Array(size).fill(1);
    this.norms = [0, 1, 2].map(() => new RMSNorm(size, { weight: this.#put(ones.slice()) }));
    this.parameters = [
      ...[this.#embedding, ...this.#attention.parameters, ...this.#feedForward.parameters],
      ...[this.#output, ...this.norms],
    ];
  }

  /** Logits of the letter that follows each one, and a function that adds to all gradients. */
  forward(): { logits: Float32Array; backward: (dlogits: Float32Array) => void } {
    const [attentionNorm, feedForwardNorm, outputNorm] = this.norms as [
      ...[RMSNorm<'float32', Values>, RMSNorm<'float32', Values>, RMSNorm<'float32', Values>],
    ];
    const { weight, weightGrad } = this.#embedding;
    const rows = inputs.map((token) => weight.subarray(token * size, (token + 1) * size));
    const x = this.#put(Float32Array.from(rows.flatMap((row) => [...row])));
    const first = attentionNorm.vjp(x);
    const attended = this.#put(this.#attention.forward(toHost(first.y)));
    const middle = feedForwardNorm.vjp(attended, { residual: x });
    const fed = this.#put(this.#feedForward.forward(toHost(middle.y)));
    const last = outputNorm.vjp(fed, { residual: middle.sum });
    const logits = this.#output.forward(toHost(last.y));

    const backward = (dlogits: Float32Array) => {
      const dfed = last.backward(this.#put(this.#output.backward(dlogits)));
      const dmiddle = this.#put(this.#feedForward.backward(toHost(dfed)));
      const dattended = middle.backward(dmiddle, { dsum: dfed });
      const dfirst = this.#put(this.#attention.backward(toHost(dattended)));
      const dx = toHost(first.backward(dfirst, { dsum: dattended }));
      inputs.forEach((token, row) => {
        const gradient = weightGrad.subarray(token * size, (token + 1) * size);
        gradient.set(sum(gradient, dx.subarray(row * size, (row + 1) * size)));
      });
    };
    return { logits, backward };
  }

  #put(values: Float32Array): Values {
    const device = this.#device;
    return device === 'cpu' ? values : DeviceBuffer.from(values, { device });
  }
}

/** Adam: steps along the mean gradient, divided by the root of the mean squared gradient. */
class Adam {
  readonly #parameters: readonly Parameter[];
  readonly #means: Float32Array[];
  readonly #squares: Float32Array[];
  #step = 0;

  constructor(parameters: readonly Parameter[]) {
    const zeros = () => parameters.map(({ weight }) => new Float32Array(weight.length));
    this.#parameters = parameters;
    this.#means = zeros();
    this.#squares = zeros();
  }

  step(rate: number): void {
    ++this.#step;
    this.#parameters.forEach(({ weight, weightGrad }, i) => {
      if (weightGrad === null) return;
      const [means, squares] = [this.#means[i] as Float32Array, this.#squares[i] as Float32Array];
      const values = toHost(weight);
      toHost(weightGrad).forEach((gradient, j) => {
        const mean = 0.9 * (means[j] as number) + 0.1 * gradient;
        const square = 0.99 * (squares[j] as number) + 0.01 * gradient * gradient;
        [means[j], squares[j]] = [mean, square];
        const root = Math.sqrt(square / (1 - 0.99 ** this.#step));
        const change = (rate * mean) / (1 - 0.9 ** this.#step) / (root + 1e-8);
        values[j] = (values[j] as number) - change;
      });
      if (weight instanceof DeviceBuffer) weight.copyFrom(values);
      weightGrad.fill(0);
    });
  }
}

/** Trains a network, and returns it and the loss before each step. */
function train(device: DeviceName): { network: Network; losses: number[] } {
  const network = new Network(device);
  const optimizer = new Adam(network.parameters);
  const losses: number[] = [];
  for (let step = 0; step <= steps; ++step) {
    const { logits, backward } = network.forward();
    const { loss, dlogits } = crossEntropy(logits, targets);
    losses.push(loss);
    backward(dlogits);
    optimizer.step(0.01);
  }
  return { network, losses };
}

const { network, losses } = train('cpu');
losses.forEach((loss, step) => {
  if (step % 25 === 0) console.log(`step ${String(step).padStart(3)}  loss ${loss.toFixed(4)}`);
});

const { logits } = network.forward();
const learned = targets.map((_, row) => {
  const scores = logits.subarray(row * vocabulary.length, (row + 1) * vocabulary.length);
  return vocabulary[scores.indexOf(Math.max(...scores))];
});
console.log(`it reads: ${[text[0], ...learned].join('')}`);

assert.ok((losses.at(-1) as number) < (losses[0] as number) / 100, 'the loss did not fall');
assert.equal([text[0], ...learned].join(''), text);
for (const { weight } of network.norms) {
  assert.ok(
    toHost(weight).every((value) => value !== 1),
    'a norm did not learn',
  );
}

for (const { name } of devices().slice(0, 1)) {
  const onGPU = train('cuda:0');
  assert.deepEqual(onGPU.losses, losses);
  const weights = ({ norms }: Network) => norms.map(({ weight }) => toHost(weight));
  assert.deepEqual(weights(onGPU.network), weights(network));
  console.log(`${name}: the same losses and weights, to the bit`);
}
