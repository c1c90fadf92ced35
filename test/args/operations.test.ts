// C++ and TypeScript each state the operand tables and the call record. Both must agree.

import { binding } from '../../lib/binding';
import { backwardRules, forwardRules, type OperandRule } from '../../lib/call/operations';
import { integerFields, numberFields } from '../../lib/call/record';

const extents = ['matrix', 'vector', 'perRow'];
const elements = ['tensor', 'tensorOrFloat32', 'rstd', 'tensorOrCodes', 'float32'];
const uses = ['input', 'requiredInput', 'output', 'requiredOutput'];

test.each([
  ['forward', Object.values<OperandRule>(forwardRules), binding.operations.forward],
  ['backward', Object.values<OperandRule>(backwardRules), binding.operations.backward],
])('the operands of %s are the same in C++ and TypeScript', (_, rules, native) => {
  const bitsOf = (names: readonly string[]) =>
    rules.reduce((bits, { name, bit }) => (names.includes(name) ? bits | bit : bits), 0);
  const expected = rules.map(({ name, extent, element, use, isRequired, mayEqual, needs }) => ({
    name,
    extent: extents.indexOf(extent),
    element: elements.indexOf(element),
    use: uses.indexOf(isRequired ? `required${use === 'input' ? 'Input' : 'Output'}` : use),
    mayEqual: bitsOf(mayEqual),
    needs: bitsOf(needs),
  }));
  expect(native).toEqual(expected);
  expect(rules.map(({ bit }) => bit)).toEqual(rules.map((_, index) => 1 << index));
});

test('the fields of the call record are the same in C++ and TypeScript', () => {
  expect(binding.recordIntegers).toEqual(integerFields);
  expect(binding.recordNumbers).toEqual(numberFields);
});
