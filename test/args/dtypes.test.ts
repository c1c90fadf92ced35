// Compares the table of dtypes with that of the addon.

import { readFileSync } from 'node:fs';
import path from 'node:path';

import { dtypes } from '../../lib/core/dtype';

test('dtype codes are the numbers of DType in csrc/op/rms_norm.h', () => {
  const header = readFileSync(path.join(__dirname, '../../csrc/op/rms_norm.h'), 'utf8');
  const list = /enum class DType[^{]*\{([^}]*)\}/.exec(header)?.[1] ?? '';
  const names = Array.from(list.matchAll(/\bk(\w+)/g), ([, name = '']) => name.toLowerCase());
  expect(Object.keys(dtypes).map((name) => name.replace('_', ''))).toEqual(names);
  expect(Object.values(dtypes).map(({ code }) => code)).toEqual(names.map((_, code) => code));
});

test('element sizes are those of the array types', () => {
  const sizes = Object.values(dtypes).map(({ bits }) => globalThis[bits].BYTES_PER_ELEMENT);
  expect(Object.values(dtypes).map(({ bytes }) => bytes)).toEqual(sizes);
});
