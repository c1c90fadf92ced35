// Arguments that forward refuses.

import { rmsNorm } from '../../lib';
import {
  anArray,
  aShape,
  bits,
  describeRefusals,
  detached,
  floats,
  floatsToo,
  nonNegative,
  outOfBounds,
  range,
  someData,
  type,
  value,
} from '../support/refusals';
import { errorOf } from '../support/support';

const x = floats(12);
const weight = floats(4);
const doubles = (length: number) => new Float64Array(length);
const both = [rmsNorm, rmsNorm.async];

describeRefusals('as x, rmsNorm refuses', both, [
  ['nothing', [], type, 'x', anArray, 'undefined'],
  ['null', [null, weight], type, 'x', anArray, 'null'],
  ['a number', [5, weight], type, 'x', anArray, '5'],
  ['a string', ['abcd', weight], type, 'x', anArray, "'abcd'"],
  ['an Array', [[1, 2], weight], type, 'x', anArray, '[ 1, 2 ]'],
  ['an Int32Array', [new Int32Array(4), weight], type, 'x', anArray, 'Int32Array(4)'],
  ['an Int16Array', [new Int16Array(4), weight], type, 'x', anArray, 'Int16Array(4)'],
  ['a DataView', [new DataView(x.buffer), weight], type, 'x', anArray, 'DataView(48)'],
  ['a function', [floats, weight], type, 'x', anArray, 'a function'],
  ['an object', [{}, weight], type, 'x', anArray, '{}'],
  [
    'a detached array',
    [detached(floats(4)), weight],
    value,
    'x',
    'neither detached',
    'Float32Array(0)',
  ],
  ['an incomplete row', [floats(13), weight], range, 'x', 'whole rows of 4', 'Float32Array(13)'],
  [
    'a 16-bit array without a dtype',
    [bits(12), bits(4)],
    value,
    'dtype',
    "'float16' or 'bfloat16'",
    'undefined',
  ],
]);

const tensor = (dims: unknown) => ({ data: x, dims });
const shape22 = { normalizedShape: [2, 2] };
const small = { data: floats(4), dims: [4] };
describeRefusals('as x, rmsNorm refuses a tensor with', both, [
  ['an Array as data', [{ data: [1], dims: [1] }, weight], type, 'x.data', someData, '[ 1 ]'],
  ['no dims', [{ data: x }, weight], type, 'x.dims', 'product is 12', 'undefined'],
  ['a number as dims', [tensor(12), weight], type, 'x.dims', 'an array of integers >= 0', '12'],
  [
    'dims whose product is 8, not 12',
    [tensor([2, 4]), weight],
    range,
    'x.dims',
    'product is 12',
    '[ 2, 4 ]',
  ],
  ['negative dims', [tensor([-3, -4]), weight], range, 'x.dims', 'integers', '[ -3, -4 ]'],
  ['fractional dims', [tensor([1.5, 8]), weight], range, 'x.dims', 'integers', '[ 1.5, 8 ]'],
  ['dims of strings', [tensor(['12']), weight], range, 'x.dims', 'integers', "[ '12' ]"],
  [
    'dims that end in 3, not 4',
    [tensor([4, 3]), weight],
    range,
    'x.dims',
    'end in dims whose product is 4',
    '[ 4, 3 ]',
  ],
  [
    'dims that end in [3, 4], not [2, 2]',
    [tensor([3, 4]), weight, shape22],
    range,
    'x.dims',
    'in [2, 2]',
    '[ 3, 4 ]',
  ],
  [
    'fewer dims than normalizedShape',
    [small, weight, shape22],
    range,
    'x.dims',
    'in [2, 2]',
    '[ 4 ]',
  ],
]);

const broken = { data: weight, dims: [3] };
describeRefusals('as weight, rmsNorm refuses', both, [
  ['nothing', [x], type, 'weight', `${anArray}, or null for no weight`, 'undefined'],
  [
    'null without a normalizedShape',
    [x, null],
    type,
    'normalizedShape',
    'given if weight is null',
    'undefined',
  ],
  ['a number', [x, 4], type, 'weight', anArray, '4'],
  ['a BigInt64Array', [x, new BigInt64Array(4)], type, 'weight', anArray, 'BigInt64Array(4)'],
  ['float64 beside float32', [x, doubles(4)], type, 'weight', 'x is float32', 'Float64Array(4)'],
  ['float32 beside float64', [doubles(4), weight], type, 'weight', 'float64', 'Float32Array(4)'],
  ['16-bit beside float32', [x, bits(4)], type, 'weight', 'x is float32', 'Uint16Array(4)'],
  ['an empty array', [x, floats(0)], range, 'weight', 'have at least 1 element', 'Float32Array(0)'],
  [
    'a detached array',
    [x, detached(floats(4))],
    value,
    'weight',
    'neither detached',
    'Float32Array(0)',
  ],
  [
    'an array of 4 elements, not 6',
    [x, weight, { normalizedShape: 6 }],
    range,
    'weight',
    '6',
    'Float32Array(4)',
  ],
  [
    'a tensor whose dims have another product',
    [x, broken],
    range,
    'weight.dims',
    'product is 4',
    '[ 3 ]',
  ],
]);

const at = (options: object) => [x, weight, { out: floats(12), ...options }];
const shaped = (normalizedShape: unknown) => at({ normalizedShape });
const name = 'normalizedShape';
describeRefusals('as normalizedShape, rmsNorm refuses', both, [
  ['0', shaped(0), range, name, aShape, '0'],
  ['[]', shaped([]), range, name, aShape, '[]'],
  ['[2, 0]', shaped([2, 0]), range, name, aShape, '[ 2, 0 ]'],
  ['-4', shaped(-4), range, name, aShape, '-4'],
  ['1.5', shaped(1.5), range, name, aShape, '1.5'],
  ['NaN', shaped(NaN), range, name, aShape, 'NaN'],
  ['Infinity', shaped(Infinity), range, name, aShape, 'Infinity'],
  ['2^53', shaped(2 ** 53), range, name, aShape, '9007199254740992'],
  ['[2^27, 2^27]', shaped([2 ** 27, 2 ** 27]), range, name, aShape, '[ 134217728, 134217728 ]'],
  ['a string', shaped('4'), type, name, aShape, "'4'"],
  ['an array of strings', shaped(['4']), type, name, aShape, "[ '4' ]"],
  ['null', shaped(null), type, name, aShape, 'null'],
]);

const offset = 'a number that is finite in float32';
const orders = "'llama' or 'float'";
const types = "'float32', 'float16', 'bfloat16' or 'float64'";
const endless = { eps: Infinity, normalizedShape: 4 };
const asFloat32 = { dtype: 'float32' };
const only16 = "'float16' or 'bfloat16', since 'x' is a Uint16Array";
describeRefusals('rmsNorm refuses', both, [
  ['null as options', [x, weight, null], type, 'options', 'an object', 'null'],
  ['a number as options', [x, weight, 0.5], type, 'options', 'an object', '0.5'],
  ['an unknown option', at({ epsilon: 1 }), value, 'options', "; did you mean 'eps'?", "'epsilon'"],
  [
    'an option of rmsNorm.forward',
    at({ rstdOut: floats(3) }),
    value,
    'options',
    '. The options are eps, weightOffset',
    "'rstdOut'",
  ],

  ['a negative eps', at({ eps: -0.5 }), range, 'eps', nonNegative, '-0.5'],
  ['NaN as eps', at({ eps: NaN }), range, 'eps', nonNegative, 'NaN'],
  ['an infinite eps', at({ eps: Infinity }), range, 'eps', nonNegative, 'Infinity'],
  ['an eps beyond float32', at({ eps: 1e39 }), range, 'eps', nonNegative, '1e+39'],
  ['a string as eps', at({ eps: '1e-6' }), type, 'eps', nonNegative, "'1e-6'"],
  ['null as eps', at({ eps: null }), type, 'eps', nonNegative, 'null'],
  ['NaN as weightOffset', at({ weightOffset: NaN }), range, 'weightOffset', offset, 'NaN'],
  ['a weightOffset of -1e39', at({ weightOffset: -1e39 }), range, 'weightOffset', offset, '-1e+39'],
  ['true as weightOffset', at({ weightOffset: true }), type, 'weightOffset', offset, 'true'],
  ['an unknown castOrder', at({ castOrder: 'torch' }), value, 'castOrder', orders, "'torch'"],
  ['a number as castOrder', at({ castOrder: 1 }), value, 'castOrder', orders, '1'],

  ['an unknown dtype', at({ dtype: 'int8' }), value, 'dtype', types, "'int8'"],
  [
    'dtype float64 for float32 arrays',
    at({ dtype: 'float64' }),
    value,
    'dtype',
    "'float32', since",
    "'float64'",
  ],
  [
    'dtype float32 for float64 arrays',
    [doubles(4), null, asFloat32],
    value,
    'dtype',
    "'float64'",
    "'float32'",
  ],
  [
    'an infinite eps for float64 arrays',
    [doubles(4), null, endless],
    range,
    'eps',
    'float64',
    'Infinity',
  ],
  [
    'a name of Object.prototype as dtype',
    at({ dtype: 'toString' }),
    value,
    'dtype',
    types,
    "'toString'",
  ],
  [
    'dtype bfloat16 for float32 arrays',
    at({ dtype: 'bfloat16' }),
    value,
    'dtype',
    "'float32', since",
    "'bfloat16'",
  ],
  [
    'dtype float32 for 16-bit arrays',
    [bits(4), bits(4), asFloat32],
    value,
    'dtype',
    only16,
    "'float32'",
  ],
]);

describeRefusals('as out, rmsNorm refuses', both, [
  ['a 16-bit array', at({ out: bits(12) }), type, 'out', 'x is float32', 'Uint16Array(12)'],
  ['an Array', at({ out: [1] }), type, 'out', floatsToo, '[ 1 ]'],
  ['null', at({ out: null }), type, 'out', floatsToo, 'null'],
  [
    'an array that is too short',
    at({ out: floats(11) }),
    range,
    'out',
    'have 12 elements',
    'Float32Array(11)',
  ],
  [
    'an array that is too long',
    at({ out: floats(13) }),
    range,
    'out',
    'have 12 elements',
    'Float32Array(13)',
  ],
  [
    'a detached array',
    at({ out: detached(floats(12)) }),
    value,
    'out',
    'neither det',
    'Float32Array(0)',
  ],
]);

const rstdTensor = { data: floats(3), dims: [3] };
const shown = '{ data: [Float32Array], dims: [Array] }';
describeRefusals(
  'rmsNorm.forward refuses',
  [rmsNorm.forward, rmsNorm.forwardAsync],
  [
    [
      'an rstdOut that is too short',
      at({ rstdOut: floats(2) }),
      range,
      'rstdOut',
      '3 elements',
      'Float32Array(2)',
    ],
    [
      'a 16-bit rstdOut',
      at({ rstdOut: bits(3) }),
      type,
      'rstdOut',
      'a Float32Array',
      'Uint16Array(3)',
    ],
    ['a number as rstdOut', at({ rstdOut: 3 }), type, 'rstdOut', 'a Float32Array', '3'],
    ['a tensor as rstdOut', at({ rstdOut: rstdTensor }), type, 'rstdOut', 'a Float32Array', shown],
    ['an option of backward', at({ dxOut: x }), value, 'options', 'The options are eps', "'dxOut'"],
  ],
);

// Such an array has length 0, like a detached one, and would pass for an empty array.
test('rmsNorm refuses an x that is out of the bounds of its buffer', () => {
  const error = errorOf(() => rmsNorm(outOfBounds(), weight));
  expect(error.code).toBe(value);
  expect(error.message).toContain("'x'");
});
