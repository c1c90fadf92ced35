import { readBackward } from './call/backward';
import type { Call, Quantization } from './call/call';
import { allOutputs, onlyY, readForward } from './call/forward';
import { forwardOptions, noOptions, rmsNormOptions } from './call/known-options';
import { runCallAsync, runCall } from './call/run';
import { readX, resultOf } from './call/tensor';
import type { RmsNorm } from './rms-norm-types';

/** The scale that the caller passed for all rows; undefined if each row has its own or y has no codes. */
function staticScale(quantization: Quantization | undefined): number | undefined {
  return quantization === undefined || quantization.scale === 0 ? undefined : quantization.scale;
}

function forwardResult({ out, rstdOut, sumOut, quantization, scaleOut }: Call) {
  return {
    y: resultOf(out),
    rstd: resultOf(rstdOut),
    sum: resultOf(sumOut),
    scale: staticScale(quantization) ?? resultOf(scaleOut),
  };
}

function backwardResult({ dxOut, dweightOut, dgateOut }: Call) {
  return { dx: resultOf(dxOut), dweight: resultOf(dweightOut), dgate: resultOf(dgateOut) };
}

/** The other functions of the operator. Each of them reads a call, runs it, and returns its outputs. */
const forms = {
  forward(x: unknown, weight: unknown, options: object = noOptions) {
    const call = readForward(x, weight, options, forwardOptions, allOutputs);
    runCall(call);
    return forwardResult(call);
  },
  backward(dy: unknown, x: unknown, weight: unknown, rstd: unknown, options: object = noOptions) {
    const call = readBackward(dy, readX(x), weight, rstd, options);
    runCall(call);
    return backwardResult(call);
  },
  async async(x: unknown, weight: unknown, options: object = noOptions) {
    const call = readForward(x, weight, options, rmsNormOptions, onlyY);
    await runCallAsync(call);
    return resultOf(call.out);
  },
  async forwardAsync(x: unknown, weight: unknown, options: object = noOptions) {
    const call = readForward(x, weight, options, forwardOptions, allOutputs);
    await runCallAsync(call);
    return forwardResult(call);
  },
  async backwardAsync(
    dy: unknown,
    x: unknown,
    weight: unknown,
    rstd: unknown,
    options: object = noOptions,
  ) {
    const call = readBackward(dy, readX(x), weight, rstd, options);
    await runCallAsync(call);
    return backwardResult(call);
  },
};

/** The function RMSNorm. Its properties are its asynchronous form, `forward` and `backward`. */
export const rmsNorm = Object.assign(function rmsNorm(
  x: unknown,
  weight: unknown,
  options: object = noOptions,
) {
  const call = readForward(x, weight, options, rmsNormOptions, onlyY);
  runCall(call);
  return resultOf(call.out);
}, forms) as RmsNorm;
