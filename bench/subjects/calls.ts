// What each form of a call costs beside the plainest one: on a row so short that the call itself is what
// takes the time.

import { createPlan, fromBFloat16, RMSNorm, rmsNorm, type RmsNormOptions } from 'fused-rmsnorm';

import { makeArrays, zeros, type Arrays, type Elements } from '../cases/arrays';
import { callShape, eps, type Case } from '../cases/cases';
import { Verifier, type Answer } from '../cases/verify';
import { timed } from '../measure/measure';
import { poison, type TimedSubject } from './subject';

/** A form of a call on memory of its own. */
export interface CallSubject extends TimedSubject {
  /** Forgets the results of the last run. */
  clear(): void;
  /** Throws WrongAnswer unless the last run since `clear` computed what it should. */
  check(): void;
}

interface Form extends Partial<Pick<Case, 'op' | 'dtype'>> {
  /** What the norm is multiplied by for an element of weight, where that is not the element. */
  readonly scale?: (weight: number) => number;
  /** The call, and what its last one computed. rstd is an output, except of backward. */
  readonly make: (arrays: Arrays) => readonly [call: () => unknown, answer: () => Answer];
}

const { rows, hiddenSize } = callShape;

/** `rmsNorm` with `out` and more. */
function withOptions(more: Omit<RmsNormOptions, 'out'>): Form['make'] {
  return ({ x, weight, out }) => {
    const options = { out, ...more };
    return [() => rmsNorm(x, weight, options), () => ({ y: out })];
  };
}

function moduleOf(weight: Elements): RMSNorm {
  const norm = new RMSNorm(hiddenSize);
  norm.weight?.set(weight);
  return norm;
}

/** The first is what the others are multiples of. */
const forms: Readonly<Record<string, Form>> = {
  'rmsNorm, out': { make: withOptions({}) },
  'defaults spelled out': {
    make: withOptions({ eps, weightOffset: 0, castOrder: 'llama', device: 'cpu' }),
  },
  "castOrder 'float'": { make: withOptions({ castOrder: 'float' }) },
  'no weight': {
    scale: () => 1,
    make: ({ x, out }) => {
      const options = { normalizedShape: hiddenSize, out };
      return [() => rmsNorm(x, null, options), () => ({ y: out })];
    },
  },
  'bfloat16, float32 weight': {
    dtype: 'bfloat16',
    make: ({ weight, ...arrays }) =>
      withOptions({ dtype: 'bfloat16' })({
        ...arrays,
        weight: fromBFloat16(weight as Uint16Array),
      }),
  },
  bfloat16: { dtype: 'bfloat16', make: withOptions({ dtype: 'bfloat16' }) },
  "Gemma's options": {
    scale: (weight) => 1 + weight,
    make: withOptions({ weightOffset: 1, castOrder: 'float' }),
  },
  'rmsNorm.forward, out, rstdOut': {
    make: ({ x, weight, out, rstd }) => {
      const options = { out, rstdOut: rstd };
      return [() => rmsNorm.forward(x, weight, options), () => ({ y: out, rstd })];
    },
  },
  'residual, all outputs': {
    op: 'residual',
    make: ({ x, weight, out, rstd, residual, sum }) => {
      const options = { out, rstdOut: rstd, residual, sumOut: sum };
      return [() => rmsNorm.forward(x, weight, options), () => ({ y: out, rstd, sum })];
    },
  },
  'tensors { data, dims }': {
    make: (arrays) => {
      const x = { data: arrays.x, dims: [rows, hiddenSize] };
      const weight = { data: arrays.weight, dims: [hiddenSize] };
      const options = { out: { data: arrays.out, dims: [rows, hiddenSize] } };
      return [() => rmsNorm(x, weight, options), () => ({ y: arrays.out })];
    },
  },
  'RMSNorm.forward, out': {
    make: ({ x, weight, out }) => {
      const norm = moduleOf(weight);
      const options = { out };
      return [() => norm.forward(x, options), () => ({ y: out })];
    },
  },
  'rmsNorm, no out': {
    make: ({ x, weight }) => {
      let y = zeros('float32', 0);
      const call = () => {
        y = rmsNorm(x, weight);
      };
      return [call, () => ({ y })];
    },
  },
  'rmsNorm.backward, dxOut, dweightOut': {
    op: 'backward',
    make: ({ dy, x, weight, rstd, out, dweight }) => {
      const options = { dxOut: out, dweightOut: dweight };
      return [() => rmsNorm.backward(dy, x, weight, rstd, options), () => ({ dx: out, dweight })];
    },
  },
  'RMSNorm zeroGrad, forward, backward': {
    op: 'backward',
    make: ({ dy, x, weight, out }) => {
      const norm = moduleOf(weight);
      const forward = { out: zeros('float32', hiddenSize) };
      const backward = { out };
      const call = () => {
        norm.zeroGrad();
        norm.forward(x, forward);
        norm.backward(dy, backward);
      };
      return [call, () => ({ dx: out, dweight: norm.weightGrad ?? zeros('float32', 0) })];
    },
  },
  'plan.forward': {
    make: ({ x, weight, out }) => {
      const plan = createPlan({ rows, weight });
      const call = () => {
        plan.forward(x, out);
      };
      return [call, () => ({ y: out })];
    },
  },
  'plan.backward': {
    op: 'backward',
    make: ({ dy, x, weight, rstd, out, dweight }) => {
      const plan = createPlan({ rows, weight });
      const call = () => {
        plan.backward(dy, x, rstd, out, dweight);
      };
      return [call, () => ({ dx: out, dweight })];
    },
  },
};

export function callSubjects(): CallSubject[] {
  return Object.entries(forms).map(([name, { op = 'forward', dtype = 'float32', scale, make }]) => {
    const one = { ...callShape, op, dtype };
    const made = makeArrays(one);
    const arrays = op === 'backward' ? made : { ...made, rstd: new Float32Array(rows) };
    const [call, answer] = make(arrays);
    const weight = scale === undefined ? made.weight : Float32Array.from(made.weight, scale);
    const verifier = new Verifier(one, { ...arrays, weight });
    return {
      ...{ name, role: 'ours', computes: 'rms-norm', outputs: 'given' },
      run: (repeats) => timed(repeats, call),
      clear: () => {
        poison(arrays);
        if (op !== 'backward') arrays.rstd.fill(NaN);
      },
      check: () => {
        verifier.check(name, answer());
      },
    };
  });
}
