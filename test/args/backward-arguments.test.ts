// Arguments that backward refuses, except those that it shares with forward.

import { rmsNorm } from '../../lib';
import {
  anArray,
  bits,
  describeRefusals,
  detached,
  floats,
  floatsToo,
  range,
  type,
  value,
} from '../support/refusals';

const dy = floats(12);
const x = floats(12);
const weight = floats(4);
const rstd = floats(3);
const both = [rmsNorm.backward, rmsNorm.backwardAsync];

describeRefusals('rmsNorm.backward refuses', both, [
  ['no arguments', [], type, 'x', anArray, 'undefined'],
  ['an undefined dy', [undefined, x, weight], type, 'dy', floatsToo, 'undefined'],
  ['a missing weight', [dy, x], type, 'weight', 'or null for no weight', 'undefined'],
  ['a dy of another dtype', [bits(12), x, weight], type, 'dy', 'x is float32', 'Uint16Array(12)'],
  ['a dy of another length', [floats(8), x, weight], range, 'dy', 'have 12 el', 'Float32Array(8)'],
]);

const orNull = 'a Float32Array, or null to recompute it; options are the next argument';
const tensor = { data: floats(3), dims: [3] };
const shown = '{ data: [Float32Array], dims: [Array] }';
describeRefusals('as rstd, rmsNorm.backward refuses', both, [
  [
    'an array that is too long',
    [dy, x, weight, floats(12)],
    range,
    'rstd',
    'have 3 el',
    'Float32Array(12)',
  ],
  ['a 16-bit array', [dy, x, weight, bits(3)], type, 'rstd', 'a Float32Array', 'Uint16Array(3)'],
  ['a tensor', [dy, x, weight, tensor], type, 'rstd', 'a Float32Array', shown],
  ['a number', [dy, x, weight, 1], type, 'rstd', orNull, '1'],
  ['options', [dy, x, weight, { eps: 1 }], type, 'rstd', orNull, '{ eps: 1 }'],
  [
    'a detached array',
    [dy, x, weight, detached(floats(3))],
    value,
    'rstd',
    'neither',
    'Float32Array(0)',
  ],
]);

const at = (options: object) => [dy, x, weight, rstd, options];
const weightless = (options: object) => [dy, x, null, rstd, { normalizedShape: 4, ...options }];
const noDx = { needsDx: false, dxOut: floats(12) };
const noDweight = { needsDweight: false, dweightOut: floats(4) };
const wantsDweight = { needsDweight: true };
describeRefusals('rmsNorm.backward refuses options with', both, [
  ['a number as needsDx', at({ needsDx: 1 }), type, 'needsDx', 'a boolean', '1'],
  [
    'a string as needsDweight',
    at({ needsDweight: 'no' }),
    type,
    'needsDweight',
    'a boolean',
    "'no'",
  ],
  ['null as accumulate', at({ accumulate: null }), type, 'accumulate', 'a boolean', 'null'],
  [
    'accumulate but no dweightOut',
    at({ accumulate: true }),
    value,
    'accumulate',
    "false unless 'dweightOut' is given",
    'true',
  ],
  ['a dxOut although needsDx is false', at(noDx), value, 'dxOut', 'omitted if', 'Float32Array(12)'],
  [
    'a dweightOut although needsDweight is false',
    at(noDweight),
    value,
    'dweightOut',
    'omitted if',
    'Float32Array(4)',
  ],
  [
    'needsDweight but no weight',
    weightless(wantsDweight),
    value,
    'needsDweight',
    'weight is null',
    'true',
  ],
  [
    'an output of forward',
    at({ out: floats(12) }),
    value,
    'options',
    "did you mean 'dxOut'?",
    "'out'",
  ],
]);

const out = 'dweightOut';
describeRefusals('as an output, rmsNorm.backward refuses', both, [
  [
    'a dxOut that is too long',
    at({ dxOut: floats(13) }),
    range,
    'dxOut',
    'have 12',
    'Float32Array(13)',
  ],
  ['a 16-bit dxOut', at({ dxOut: bits(12) }), type, 'dxOut', 'x is float32', 'Uint16Array(12)'],
  [
    'a dweightOut that is too long',
    at({ [out]: floats(5) }),
    range,
    out,
    'have 4',
    'Float32Array(5)',
  ],
  ['a 16-bit dweightOut', at({ [out]: bits(4) }), type, out, 'x is float32', 'Uint16Array(4)'],
  [
    'a dweightOut without a weight',
    weightless({ [out]: floats(4) }),
    value,
    out,
    'omitted if',
    'Float32Array(4)',
  ],
]);
