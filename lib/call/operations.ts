// The operands of forward and backward and their rules, in the order of the addon's arguments.
// csrc/napi/args/operation.h has the same tables, and a test compares the two.

/** The shape of an operand: (rows, hiddenSize), (hiddenSize) or (rows). */
export type Extent = 'matrix' | 'vector' | 'perRow';

/**
 * The dtype of an operand. The dtype of a call is the dtype of its x.
 * - `tensor`: the dtype of the call.
 * - `tensorOrFloat32`: the dtype of the call; also float32 if that is a 16-bit dtype.
 * - `rstd`: float64 in a call of float64, else float32.
 * - `tensorOrCodes`: the dtype of the codes if the call quantises, else the dtype of the call.
 * - `float32`: float32.
 */
export type Element = 'tensor' | 'tensorOrFloat32' | 'rstd' | 'tensorOrCodes' | 'float32';

/** The arguments and options that are operands. */
export type OperandName =
  | ('x' | 'weight' | 'out' | 'rstdOut' | 'residual' | 'sumOut' | 'scaleOut' | 'gate')
  | ('dy' | 'rstd' | 'dxOut' | 'dweightOut' | 'dsum' | 'dgateOut');

/** The rule of an operand: its properties that are the same in every call. */
export interface OperandRule {
  readonly name: OperandName;
  readonly extent: Extent;
  readonly element: Element;
  readonly use: 'input' | 'output';
  readonly isRequired: boolean;
  /** The inputs whose memory this output may overwrite exactly, unless it holds codes. */
  readonly mayEqual: readonly OperandName[];
  /** The operands that must be present if this one is. */
  readonly needs: readonly OperandName[];
  /** `1 << i` for the i-th operand of the native call. */
  readonly bit: number;
}

type Kind = Pick<OperandRule, 'extent' | 'element'>;

function rule(
  index: number,
  name: OperandName,
  kind: Kind,
  rest: Partial<OperandRule> = {},
): OperandRule {
  const { use = 'input', isRequired = false, mayEqual = [], needs = [] } = rest;
  return { name, ...kind, use, isRequired, mayEqual, needs, bit: 1 << index };
}

const matrix: Kind = { extent: 'matrix', element: 'tensor' };
const matrixOrCodes: Kind = { extent: 'matrix', element: 'tensorOrCodes' };
const perRow: Kind = { extent: 'perRow', element: 'rstd' };
const vector: Kind = { extent: 'vector', element: 'tensorOrFloat32' };
const required = { isRequired: true };
const output = { use: 'output' } as const;

export const forwardRules = {
  x: rule(0, 'x', matrix, required),
  weight: rule(1, 'weight', vector),
  out: rule(2, 'out', matrixOrCodes, { ...output, ...required, mayEqual: ['x', 'residual'] }),
  rstdOut: rule(3, 'rstdOut', perRow, output),
  residual: rule(4, 'residual', matrix, { needs: ['sumOut'] }),
  sumOut: rule(5, 'sumOut', matrix, {
    ...output,
    mayEqual: ['x', 'residual'],
    needs: ['residual'],
  }),
  scaleOut: rule(6, 'scaleOut', { extent: 'perRow', element: 'float32' }, output),
  gate: rule(7, 'gate', matrix),
} as const;

export const backwardRules = {
  dy: rule(0, 'dy', matrix, required),
  x: rule(1, 'x', matrix, required),
  weight: rule(2, 'weight', vector),
  rstd: rule(3, 'rstd', perRow),
  dxOut: rule(4, 'dxOut', matrix, { ...output, mayEqual: ['dy', 'x', 'dsum'] }),
  dweightOut: rule(5, 'dweightOut', vector, output),
  dsum: rule(6, 'dsum', matrix, { needs: ['dxOut'] }),
  gate: rule(7, 'gate', matrix),
  dgateOut: rule(8, 'dgateOut', matrix, {
    ...output,
    mayEqual: ['gate'],
    needs: ['gate', 'dxOut'],
  }),
} as const;

/** Forward or backward: its operands in the order of the addon's arguments. */
export interface Operation {
  readonly rules: readonly OperandRule[];
  readonly x: OperandRule;
  readonly weight: OperandRule;
  /** Bits of the last operands, which few calls have. A call with none of them does not pass them. */
  readonly rareBits: number;
}

function bitsOf(rules: readonly OperandRule[]): number {
  return rules.reduce((bits, { bit }) => bits | bit, 0);
}

export const forwardOperation: Operation = {
  rules: Object.values(forwardRules),
  x: forwardRules.x,
  weight: forwardRules.weight,
  rareBits: bitsOf([
    ...[forwardRules.residual, forwardRules.sumOut, forwardRules.scaleOut, forwardRules.gate],
  ]),
};
export const backwardOperation: Operation = {
  rules: Object.values(backwardRules),
  x: backwardRules.x,
  weight: backwardRules.weight,
  rareBits: bitsOf([backwardRules.dsum, backwardRules.gate, backwardRules.dgateOut]),
};
