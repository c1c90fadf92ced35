// Measures each form of a call against the simplest one, on a row so short that most of the time is
// the cost of the call itself.

import {
  allocate,
  createPlan,
  fromBFloat16,
  RMSNorm,
  rmsNorm,
  type RmsNormOptions,
} from 'fused-rmsnorm';

import { makeArrays, zeros, type Arrays, type Elements } from '../cases/arrays';
import { callShape, eps, type Case } from '../cases/cases';
import { answerIn, Verifier } from '../cases/verify';
import { timed, timedStarts } from '../measure/measure';
import { byPlan } from './ours';
import { poison, type TimedSubject } from './subject';

/** A form of a call, with its own memory. */
export interface CallSubject extends TimedSubject {
  /** Overwrites the results of the last run. */
  clear(): void;
  /** Throws WrongAnswer unless the last run since `clear` computed what it should. */
  check(): void;
}

interface Form extends Partial<Pick<Case, 'op' | 'dtype'>> {
  /** The factor of the norm for an element of weight, if it is not the element itself. */
  readonly scale?: (weight: number) => number;
  /** Whether the call also computes rstd. */
  readonly hasRstd?: true;
  /** Whether the call returns a new y, or a promise of one. */
  readonly isFresh?: true;
  /** Whether it returns a promise. Then only the time until it returns the promise is measured. */
  readonly isLater?: true;
  /** Makes the call. rstd is an output, except for backward. */
  readonly make: (one: Case, arrays: Arrays) => () => unknown;
}

const { rows, hiddenSize } = callShape;

/** `rmsNorm` with `out` and more. */
function withOptions(more: Omit<RmsNormOptions, 'out'>): Form['make'] {
  return (_, { x, weight, out }) => {
    const options = { out, ...more };
    return () => rmsNorm(x, weight, options);
  };
}

function moduleOf(weight: Elements): RMSNorm {
  const norm = new RMSNorm(hiddenSize);
  norm.weight.set(weight);
  return norm;
}

/** All forms, by name. The others are compared with the first. */
const forms: Readonly<Record<string, Form>> = {
  'rmsNorm, out': { make: withOptions({}) },
  'defaults spelled out': {
    make: withOptions({ eps, weightOffset: 0, castOrder: 'llama', device: 'cpu' }),
  },
  "castOrder 'float'": { make: withOptions({ castOrder: 'float' }) },
  'no weight': {
    scale: () => 1,
    make: (_, { x, out }) => {
      const options = { normalizedShape: hiddenSize, out };
      return () => rmsNorm(x, null, options);
    },
  },
  'bfloat16, float32 weight': {
    dtype: 'bfloat16',
    make: (one, arrays) => {
      const weight = fromBFloat16(arrays.weight as Uint16Array);
      return withOptions({ dtype: 'bfloat16' })(one, { ...arrays, weight });
    },
  },
  bfloat16: { dtype: 'bfloat16', make: withOptions({ dtype: 'bfloat16' }) },
  "Gemma's options": {
    scale: (weight) => 1 + weight,
    make: withOptions({ weightOffset: 1, castOrder: 'float' }),
  },
  'rmsNorm.forward, out, rstdOut': {
    hasRstd: true,
    make: (_, { x, weight, out, rstd }) => {
      const options = { out, rstdOut: rstd };
      return () => rmsNorm.forward(x, weight, options);
    },
  },
  'residual, all outputs': {
    op: 'residual',
    hasRstd: true,
    make: (_, { x, weight, out, rstd, residual, sum }) => {
      const options = { out, rstdOut: rstd, residual, sumOut: sum };
      return () => rmsNorm.forward(x, weight, options);
    },
  },
  gate: {
    op: 'gated',
    make: (_, { x, weight, out, gate }) => {
      const options = { out, gate };
      return () => rmsNorm(x, weight, options);
    },
  },
  "quantize 'int8', all outputs": {
    op: 'quantize',
    make: (_, { x, weight, rstd, codes, scales }) => {
      const options = { quantize: 'int8', out: codes, scaleOut: scales, rstdOut: rstd } as const;
      return () => rmsNorm.forward(x, weight, options);
    },
  },
  'tensors { data, dims }': {
    make: (_, arrays) => {
      const x = { data: arrays.x, dims: [rows, hiddenSize] };
      const weight = { data: arrays.weight, dims: [hiddenSize] };
      const options = { out: { data: arrays.out, dims: [rows, hiddenSize] } };
      return () => rmsNorm(x, weight, options);
    },
  },
  'RMSNorm.forward, out': {
    make: (_, { x, weight, out }) => {
      const norm = moduleOf(weight);
      const options = { out };
      return () => norm.forward(x, options);
    },
  },
  'rmsNorm, no out': {
    isFresh: true,
    make:
      (_, { x, weight }) =>
      () =>
        rmsNorm(x, weight),
  },
  'rmsNorm.async, its start': {
    isFresh: true,
    isLater: true,
    make:
      (_, { x, weight }) =>
      () =>
        rmsNorm.async(x, weight),
  },
  'plan.runAsync, allocate, its start': {
    isFresh: true,
    isLater: true,
    make: (_, arrays) => {
      const [x, weight] = [allocate(hiddenSize), allocate(hiddenSize)];
      x.set(arrays.x);
      weight.set(arrays.weight);
      const plan = createPlan({ rows, weight });
      return () => plan.runAsync(x);
    },
  },
  'rmsNorm.backward, dxOut, dweightOut': {
    op: 'backward',
    make: (_, { dy, x, weight, rstd, out, dweight }) => {
      const options = { dxOut: out, dweightOut: dweight };
      return () => rmsNorm.backward(dy, x, weight, rstd, options);
    },
  },
  'RMSNorm zeroGrad, vjp, backward': {
    op: 'backward',
    make: (_, { dy, x, weight, out, dweight }) => {
      const norm = moduleOf(weight);
      norm.weightGrad = dweight as Float32Array;
      const forOut = { out: zeros('float32', hiddenSize) };
      const forDx = { dxOut: out };
      return () => {
        norm.zeroGrad();
        norm.vjp(x, forOut).backward(dy, forDx);
      };
    },
  },
  'plan.forward': { make: byPlan },
  'plan.run': {
    isFresh: true,
    make: (_, { x, weight }) => {
      const plan = createPlan({ rows, weight });
      return () => plan.run(x);
    },
  },
  'plan.backward': { op: 'backward', make: byPlan },
};

export function callSubjects(): CallSubject[] {
  return Object.entries(forms).map(([name, { op = 'forward', dtype = 'float32', ...form }]) => {
    const one = { ...callShape, op, dtype, castOrder: 'llama' } as const;
    const made = makeArrays(one);
    const arrays = op === 'backward' ? made : { ...made, rstd: new Float32Array(rows) };
    const weight =
      form.scale === undefined ? made.weight : Float32Array.from(made.weight, form.scale);
    const verifier = new Verifier(one, { ...arrays, weight });
    const call = form.make(one, arrays);
    let y: unknown;
    const storingY = () => {
      y = call();
    };
    const storingPromisedY = async () => {
      y = await call();
    };
    const answer = form.isFresh ? () => ({ y: y as Elements }) : () => answerIn(one, arrays);
    return {
      ...{ name, role: 'ours', computes: 'rms-norm', outputs: form.isFresh ? 'fresh' : 'given' },
      run: (repeats) =>
        form.isLater
          ? timedStarts(repeats, storingPromisedY)
          : timed(repeats, form.isFresh ? storingY : call),
      clear: () => {
        poison(arrays);
        if (op !== 'backward') arrays.rstd.fill(NaN);
      },
      check: () => {
        verifier.check(name, { ...answer(), ...(form.hasRstd && { rstd: arrays.rstd }) });
      },
    };
  });
}
