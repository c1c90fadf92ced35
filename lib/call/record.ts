// The call record describes a native call, except for the operands themselves, which are arguments. The
// addon and JavaScript share its memory. A store into that memory replaces a Node-API call by which the addon
// would read an argument, and is faster. csrc/napi/args/call_record.h has the same fields, and a test
// compares the two.

import { binding } from '../binding';
import { dtypes } from '../core/dtype';
import type { Call } from './call';
import { defaultEps } from './options';

/**
 * The 32-bit integer fields, in order. `given` and `made` are the addon's names for the operands that are
 * present and for the outputs that it allocates.
 */
export const integerFields = [
  ...(['dtype', 'castOrder', 'accumulate', 'device', 'onDevice'] as const),
  ...(['given', 'made', 'float32', 'strided', 'codes', 'gateOrder'] as const),
] as const;

/** The float64 fields, in order. They follow the integers, and the layouts of operands follow them. */
export const numberFields = [
  ...(['rows', 'hiddenSize', 'eps', 'weightOffset', 'scale', 'scaleMax'] as const),
] as const;

// In bytes. The float64 fields begin at a multiple of 8 bytes, after the integers of 4 bytes each.
const numbersAt = 8 * Math.ceil(integerFields.length / 2);
const integers = new Int32Array(binding.record, 0, integerFields.length);
const numbers = new Float64Array(binding.record, numbersAt);

/**
 * Writes the record, except the layouts: see {@link writeLayout}. The native call must follow at once,
 * since a thread has only one record.
 */
export function writeRecord(call: Call): void {
  const { dtype } = call;
  // Most calls are float32. Looking up a dtype by its name takes longer than the rest of this function.
  integers[0] = dtype === 'float32' ? dtypes.float32.code : dtypes[dtype].code;
  integers[1] = call.castOrder === 'float' ? 1 : 0;
  integers[2] = call.accumulate ? 1 : 0;
  integers[3] = call.device;
  integers[4] = call.stream === null ? 0 : 1;
  integers[5] = call.presentBits;
  integers[6] = call.allocateBits;
  integers[7] = call.float32Bits;
  integers[8] = call.stridedBits;
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
 * The layout of an operand's rows: offset of the first row, row stride, rows per batch, batch stride.
 * Offset and strides are in elements.
 */
export type LayoutNumbers = readonly [number, number, number, number];

/** Writes the layout of an operand. `index`: its position among the operands of the operation. */
export function writeLayout(index: number, layout: LayoutNumbers): void {
  numbers.set(layout, numberFields.length + layout.length * index);
}
