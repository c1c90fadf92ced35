// The call record: everything about a native call except its operands. It lies in memory that the addon
// shares with JavaScript. csrc/napi/args/call_record.h has the same fields, and a test compares the
// two.

import { binding } from '../binding';
import { dtypes } from '../core/dtype';
import type { Call } from './call';
import { defaultEps } from './options';

/** The 32-bit integer fields, in order. */
export const integerFields = [
  ...(['dtype', 'castOrder', 'accumulate', 'device', 'onDevice'] as const),
  ...(['given', 'made', 'float32', 'strided', 'codes', 'gateOrder'] as const),
] as const;

/** The float64 fields, which follow. */
export const numberFields = [
  ...(['rows', 'hiddenSize', 'eps', 'weightOffset', 'scale', 'scaleMax'] as const),
] as const;

// Float64 fields begin at a multiple of 8 bytes.
const numbersAt = 8 * Math.ceil(integerFields.length / 2);
const integers = new Int32Array(binding.record, 0, integerFields.length);
const numbers = new Float64Array(binding.record, numbersAt);

/**
 * Writes the record, except the layouts. The native call must follow at once, since there is only one
 * record.
 */
export function writeRecord(call: Call): void {
  const { dtype } = call;
  // Looking up a dtype by its name takes longer than the rest of this function.
  integers[0] = dtype === 'float32' ? dtypes.float32.code : dtypes[dtype].code;
  integers[1] = call.castOrder === 'float' ? 1 : 0;
  integers[2] = call.accumulate ? 1 : 0;
  integers[3] = call.device;
  integers[4] = call.stream === null ? 0 : 1;
  integers[5] = call.given;
  integers[6] = call.made;
  integers[7] = call.float32;
  integers[8] = call.strided;
  const { quantization } = call;
  integers[9] = quantization === undefined ? 0 : dtypes[quantization.codes].code;
  integers[10] = call.gateOrder === 'before-norm' ? 1 : 0;
  numbers[0] = call.rows;
  numbers[1] = call.hiddenSize;
  numbers[2] = call.eps ?? defaultEps;
  numbers[3] = call.weightOffset ?? 0;
  if (quantization === undefined) return;
  numbers[4] = quantization.scale;
  numbers[5] = quantization.scaleMax;
}

/**
 * The first row's offset, the row stride, the rows per batch, and the batch stride. Offset and strides
 * are in elements.
 */
export type LayoutNumbers = readonly [number, number, number, number];

/** Writes the layout of the operand number `place`. */
export function writeLayout(place: number, layout: LayoutNumbers): void {
  numbers.set(layout, numberFields.length + layout.length * place);
}
