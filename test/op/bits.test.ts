// The package must give the same bits on every platform. These tests check every backend of this
// machine; test/package compares the installed package with the same file.

import { readFileSync } from 'node:fs';
import path from 'node:path';

import * as lib from '../../lib';
import { bitsOf } from '../package/bits.cjs';

const { cpuVariants, devices, getCpuVariant, setCpuVariant } = lib;
const file = path.join(__dirname, '../package/expected-bits.json');
const expected = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
const chosen = getCpuVariant();

afterAll(() => {
  setCpuVariant(chosen);
});

test.each(cpuVariants())('%s gives the expected bits', (variant) => {
  setCpuVariant(variant);
  expect(bitsOf(lib)).toEqual(expected);
});

const gpus = devices().map(({ device }) => device);

(gpus.length > 0 ? test.each(gpus) : test.skip.each(['cuda:0'] as const))(
  '%s gives the expected bits',
  (device) => {
    const bits = bitsOf(lib, device);
    expect(Object.keys(bits).length).toBeGreaterThan(5);
    expect(expected).toMatchObject(bits);
  },
);
