import { type DType } from '../lib';
import { shipped } from './shipped';

const { createPlan, rmsNorm, toBFloat16 } = shipped;

/** An operation on a shape: what is timed, and the bytes it must move at least. */
export interface Case {
  /** `'plan'`: forward through a plan. */
  readonly op: 'forward' | 'backward' | 'plan';
  readonly rows: number;
  readonly hiddenSize: number;
  readonly dtype: Extract<DType, 'float32' | 'bfloat16'>;
}

/** The buffers of a case. `dy` is null for forward; the limit is measured on the same ones. */
export interface Arrays {
  readonly x: Float32Array | Uint16Array;
  readonly dy: Float32Array | Uint16Array | null;
  readonly weight: Float32Array | Uint16Array;
  readonly rstd: Float32Array;
  readonly out: Float32Array | Uint16Array;
  readonly dweight: Float32Array | Uint16Array;
}

const shapes = [
  [1, 64],
  [1, 4096],
  [8, 4096],
  [32, 4096],
  [20, 512],
  [4096, 128],
  [512, 4096],
  [128, 16384],
  [2048, 4096],
  [8192, 4096],
] as const;

/** Those at which the cost of a call shows. */
const planShapes = shapes.slice(0, 2);

export function allCases(): Case[] {
  const cases: Case[] = [];
  for (const op of ['forward', 'backward', 'plan'] as const) {
    for (const dtype of ['float32', 'bfloat16'] as const) {
      for (const [rows, hiddenSize] of op === 'plan' ? planShapes : shapes) {
        cases.push({ op, rows, hiddenSize, dtype });
      }
    }
  }
  return cases;
}

export function caseName({ op, rows, hiddenSize, dtype }: Case): string {
  return `${op} ${rows}x${hiddenSize} ${dtype}`;
}

/** Each element of x (and dy) read once, each of y (or dx) written once. */
export function minimumBytes({ op, rows, hiddenSize, dtype }: Case): number {
  const matrices = op === 'backward' ? 3 : 2;
  return matrices * rows * hiddenSize * (dtype === 'float32' ? 4 : 2);
}

export function makeArrays({ op, rows, hiddenSize, dtype }: Case): Arrays {
  const values = (length: number, seed: number) => {
    const array = new Float32Array(length);
    let state = seed;
    for (let i = 0; i < length; ++i) {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      array[i] = state / 2 ** 30;
    }
    return dtype === 'float32' ? array : toBFloat16(array);
  };
  const zeros = (length: number) =>
    dtype === 'float32' ? new Float32Array(length) : new Uint16Array(length);
  return {
    x: values(rows * hiddenSize, 1),
    dy: op === 'backward' ? values(rows * hiddenSize, 2) : null,
    weight: values(hiddenSize, 3),
    rstd: new Float32Array(rows),
    out: zeros(rows * hiddenSize),
    dweight: zeros(hiddenSize),
  };
}

/** The call that is timed: through the public API, into arrays that are there already. */
export function makeCall({ op, rows, dtype }: Case, arrays: Arrays): () => void {
  const { x, dy, weight, rstd, out, dweight } = arrays;
  if (op === 'plan') {
    const plan = createPlan({ rows, weight, dtype });
    return () => {
      plan.forward(x, out);
    };
  }
  if (dy === null) {
    const options = { dtype, out };
    return () => {
      rmsNorm(x, weight, options);
    };
  }
  rmsNorm.forward(x, weight, { dtype, rstdOut: rstd });
  const options = { dtype, dxOut: out, dweightOut: dweight };
  return () => {
    rmsNorm.backward(dy, x, weight, rstd, options);
  };
}
