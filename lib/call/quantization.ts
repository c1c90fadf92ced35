// The options that quantise y.

import { dtypes, isCodeArray, quantizedNames, type QuantizedDType } from '../core/dtype';
import { argumentError } from '../core/errors';
import { numberError } from '../core/validate';
import type { Call } from './call';
import { addOperand, lengthOf, readOperand, readOperandOf } from './operands';
import { forwardRules } from './operations';
import type { Argument } from './tensor';

/** Reads the options that quantise y. Without `quantize`, the other three must be undefined. */
export function readQuantization(
  call: Call,
  quantize: unknown,
  scale: unknown,
  scaleMax: unknown,
  scaleOut: unknown,
): void {
  if (quantize === undefined) {
    const others = { scale, scaleMax, scaleOut };
    for (const [name, value] of Object.entries(others)) {
      if (value !== undefined) refuse(name, "omitted unless 'quantize' is given", value);
    }
    return;
  }
  checkQuantize(quantize);
  if (call.dtype === 'float64') {
    refuse('quantize', 'omitted for float64 tensors, which cannot be quantised', quantize);
  }
  if (scale !== undefined) {
    checkScale(scale);
    const withScale = "omitted if 'scale' is given, since all rows share that scale";
    if (scaleMax !== undefined) refuse('scaleMax', withScale, scaleMax);
    if (scaleOut !== undefined) refuse('scaleOut', withScale, scaleOut);
  }
  if (scaleMax !== undefined) checkScaleMax(scaleMax);
  call.quantization = { codes: quantize, scale: scale ?? 0, scaleMax: scaleMax ?? Infinity };
  if (scaleOut !== undefined) {
    call.scaleOut = readOperand(call, forwardRules.scaleOut, scaleOut);
  }
}

/** Reads the option `out`, which receives y, or its codes if the call quantises. */
export function readOut(call: Call, out: unknown): Argument {
  const rule = forwardRules.out;
  if (call.quantization === undefined) return readOperand(call, rule, out);
  const { codes } = call.quantization;
  const kind = call.kind === 'DeviceBuffer' ? 'DeviceBuffer' : dtypes[codes].bits;
  if (isCodeArray(out) && out[Symbol.toStringTag] === kind && out.length > 0) {
    if (out.length === lengthOf(rule, call)) return addOperand(call, rule, out);
  }
  const article = kind.startsWith('I') ? 'an' : 'a';
  const what = `${article} ${kind}, or a tensor { data, dims } whose data is one, since quantize is '${codes}'`;
  return readOperandOf(call, rule, out, what, isCodeArray);
}

function checkQuantize(value: unknown): asserts value is QuantizedDType {
  if ((quantizedNames as readonly unknown[]).includes(value)) return;
  const expected = quantizedNames.map((name) => `'${name}'`).join(', ');
  refuse('quantize', `one of ${expected}`, value);
}

function checkScale(value: unknown): asserts value is number {
  const scale = typeof value === 'number' ? Math.fround(value) : NaN;
  if (scale > 0 && Number.isFinite(scale) && Number.isFinite(Math.fround(1 / scale))) return;
  throw numberError(
    'scale',
    'a number > 0 that is finite in float32 and has a finite inverse',
    value,
  );
}

function checkScaleMax(value: unknown): asserts value is number {
  if (typeof value === 'number' && Math.fround(value) > 0) return;
  throw numberError('scaleMax', 'a number that is > 0 in float32', value);
}

function refuse(name: string, expected: string, actual: unknown): never {
  throw argumentError('ERR_INVALID_ARG_VALUE', name, expected, actual);
}
