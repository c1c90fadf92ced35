// The layers of a Llama other than its norms, in plain TypeScript. Each layer stores what its backward
// needs. A backward takes the gradient of the output and returns the gradient of the input. Tensors are
// (rows, size), with a row for each position of the text.

import { normals } from './random.mts';

/** `y = x · weightᵀ`. */
export class Linear {
  /** (outSize, inSize) */
  readonly weight: Float32Array;
  /** Accumulates until the optimizer has used it. */
  readonly weightGrad: Float32Array;
  readonly #inSize: number;
  readonly #outSize: number;
  #x: Float32Array = new Float32Array(0);

  constructor(inSize: number, outSize: number, seed: number) {
    this.#inSize = inSize;
    this.#outSize = outSize;
    this.weight = normals(seed, outSize * inSize, 1 / Math.sqrt(inSize));
    this.weightGrad = new Float32Array(outSize * inSize);
  }

  forward(x: Float32Array): Float32Array {
    this.#x = x;
    const [inSize, outSize] = [this.#inSize, this.#outSize];
    return new Float32Array((x.length / inSize) * outSize).map((_, i) => {
      const [row, out] = [Math.floor(i / outSize) * inSize, (i % outSize) * inSize];
      let sum = 0;
      for (let j = 0; j < inSize; ++j) sum += at(x, row + j) * at(this.weight, out + j);
      return sum;
    });
  }

  backward(dy: Float32Array): Float32Array {
    const [inSize, outSize] = [this.#inSize, this.#outSize];
    const dx = new Float32Array(this.#x.length);
    dy.forEach((gradient, i) => {
      const [row, out] = [Math.floor(i / outSize) * inSize, (i % outSize) * inSize];
      for (let j = 0; j < inSize; ++j) {
        accumulate(dx, row + j, gradient * at(this.weight, out + j));
        accumulate(this.weightGrad, out + j, gradient * at(this.#x, row + j));
      }
    });
    return dx;
  }
}

/** Causal attention of one head, with rotary positions. */
export class Attention {
  readonly parameters: readonly Linear[];
  readonly #size: number;
  readonly #query: Linear;
  readonly #key: Linear;
  readonly #value: Linear;
  readonly #output: Linear;
  #q: Float32Array = new Float32Array(0);
  #k: Float32Array = new Float32Array(0);
  #v: Float32Array = new Float32Array(0);
  /** (rows, rows): the weight that each position gives to itself and to each one before it. */
  #shares: Float32Array = new Float32Array(0);

  constructor(size: number, seed: number) {
    this.#size = size;
    this.parameters = [0, 1, 2, 3].map((i) => new Linear(size, size, seed + i));
    [this.#query, this.#key, this.#value, this.#output] = this.parameters as [
      ...[Linear, Linear, Linear, Linear],
    ];
  }

  forward(x: Float32Array): Float32Array {
    const size = this.#size;
    const rows = x.length / size;
    this.#q = rotate(this.#query.forward(x), size, 1);
    this.#k = rotate(this.#key.forward(x), size, 1);
    this.#v = this.#value.forward(x);
    this.#shares = new Float32Array(rows * rows);
    const mixed = new Float32Array(x.length);
    for (let r = 0; r < rows; ++r) {
      const scores = new Float64Array(r + 1).map(
        (_, s) => dot(this.#q, r, this.#k, s, size) / Math.sqrt(size),
      );
      softmax(scores).forEach((share, s) => {
        this.#shares[r * rows + s] = share;
        for (let j = 0; j < size; ++j) {
          accumulate(mixed, r * size + j, share * at(this.#v, s * size + j));
        }
      });
    }
    return this.#output.forward(mixed);
  }

  backward(dy: Float32Array): Float32Array {
    const size = this.#size;
    const rows = dy.length / size;
    const dmixed = this.#output.backward(dy);
    const [dq, dk, dv] = [0, 1, 2].map(() => new Float32Array(dy.length)) as [
      ...[Float32Array, Float32Array, Float32Array],
    ];
    for (let r = 0; r < rows; ++r) {
      const shares = this.#shares.subarray(r * rows, r * rows + r + 1);
      const dshares = new Float64Array(r + 1).map((_, s) => dot(dmixed, r, this.#v, s, size));
      const mean = shares.reduce((sum, share, s) => sum + share * at(dshares, s), 0);
      shares.forEach((share, s) => {
        const dscore = (share * (at(dshares, s) - mean)) / Math.sqrt(size);
        for (let j = 0; j < size; ++j) {
          const [own, other] = [r * size + j, s * size + j];
          accumulate(dq, own, dscore * at(this.#k, other));
          accumulate(dk, other, dscore * at(this.#q, own));
          accumulate(dv, other, share * at(dmixed, own));
        }
      });
    }
    return sum(
      this.#query.backward(rotate(dq, size, -1)),
      this.#key.backward(rotate(dk, size, -1)),
      this.#value.backward(dv),
    );
  }
}

/** Llama's feed-forward layer: `down(silu(gate(x)) * up(x))`. */
export class SwiGLU {
  readonly parameters: readonly Linear[];
  readonly #gate: Linear;
  readonly #up: Linear;
  readonly #down: Linear;
  #g: Float32Array = new Float32Array(0);
  #u: Float32Array = new Float32Array(0);

  constructor(size: number, innerSize: number, seed: number) {
    this.#gate = new Linear(size, innerSize, seed);
    this.#up = new Linear(size, innerSize, seed + 1);
    this.#down = new Linear(innerSize, size, seed + 2);
    this.parameters = [this.#gate, this.#up, this.#down];
  }

  forward(x: Float32Array): Float32Array {
    this.#g = this.#gate.forward(x);
    this.#u = this.#up.forward(x);
    return this.#down.forward(this.#g.map((g, i) => g * sigmoid(g) * at(this.#u, i)));
  }

  backward(dy: Float32Array): Float32Array {
    const dinner = this.#down.backward(dy);
    const dgate = dinner.map((gradient, i) => {
      const [g, s] = [at(this.#g, i), sigmoid(at(this.#g, i))];
      return gradient * at(this.#u, i) * s * (1 + g * (1 - s));
    });
    const dup = dinner.map((gradient, i) => gradient * at(this.#g, i) * sigmoid(at(this.#g, i)));
    return sum(this.#gate.backward(dgate), this.#up.backward(dup));
  }
}

/** The mean cross entropy of (rows, classes) logits, in nats, and its gradient. */
export function crossEntropy(
  logits: Float32Array,
  targets: readonly number[],
): { loss: number; dlogits: Float32Array } {
  const classes = logits.length / targets.length;
  const dlogits = new Float32Array(logits.length);
  let loss = 0;
  targets.forEach((target, r) => {
    const begin = r * classes;
    const shares = softmax(Float64Array.from(logits.subarray(begin, begin + classes)));
    loss -= Math.log(at(shares, target)) / targets.length;
    shares.forEach((share, c) => {
      dlogits[begin + c] = (share - (c === target ? 1 : 0)) / targets.length;
    });
  });
  return { loss, dlogits };
}

/** The sum of tensors of one shape. */
export function sum(first: Float32Array, ...others: Float32Array[]): Float32Array {
  return first.map((value, i) => others.reduce((total, other) => total + at(other, i), value));
}

function accumulate(array: Float32Array, index: number, value: number): void {
  array[index] = at(array, index) + value;
}

/** An element that exists: TypeScript cannot know that the index is in range. */
function at(array: Float32Array | Float64Array, index: number): number {
  return array[index] as number;
}

function sigmoid(value: number): number {
  return 1 / (1 + Math.exp(-value));
}

/** The dot product of row r of a and row s of b. */
function dot(a: Float32Array, r: number, b: Float32Array, s: number, size: number): number {
  let total = 0;
  for (let j = 0; j < size; ++j) total += at(a, r * size + j) * at(b, s * size + j);
  return total;
}

function softmax(scores: Float64Array): Float64Array {
  const largest = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - largest));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / total);
}

/**
 * Rotary positions: rotates the pairs (j, j + size / 2) of each row by angles that grow with its
 * position.
 */
function rotate(x: Float32Array, size: number, direction: 1 | -1): Float32Array {
  const half = size / 2;
  const y = new Float32Array(x.length);
  for (let begin = 0; begin < x.length; begin += size) {
    for (let j = 0; j < half; ++j) {
      const angle = direction * (begin / size) * 10000 ** (-j / half);
      const [a, b] = [at(x, begin + j), at(x, begin + half + j)];
      y[begin + j] = a * Math.cos(angle) - b * Math.sin(angle);
      y[begin + half + j] = a * Math.sin(angle) + b * Math.cos(angle);
    }
  }
  return y;
}
