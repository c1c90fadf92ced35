// The messages of all refused calls, in one file for people to read: __snapshots__. The last test
// fails if no call here reaches a line of lib/ that makes such an error.

import '@tensorflow/tfjs-backend-cpu';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { compileFunction } from 'node:vm';

import * as tf from '@tensorflow/tfjs-core';

import * as lib from '../../lib';
import { rmsNorm as tfRmsNorm } from '../../lib/tfjs';
import { gpus, onGpu, onGpus } from '../support/gpu';
import { refusedCalls, refusedOnGpu, refusedOnGpus } from '../support/refused-calls';
import { bits, detached, floats } from '../support/refusals';
import { detach, type CodedError } from '../support/support';

tf.env().set('IS_TEST', true); // suppresses TensorFlow.js's advertisement

const root = path.join(__dirname, '../..');

/** Lines of lib/ that have made an error, such as `lib/file.ts:12`. */
const mockReached = new Set<string>();

jest.mock('../../lib/core/errors', () => {
  const errors =
    jest.requireActual<Record<string, (...args: unknown[]) => unknown>>('../../lib/core/errors');
  const noting =
    (name: string) =>
    (...args: unknown[]) => {
      for (const [line] of (new Error().stack ?? '').matchAll(/lib\/[\w/-]+\.ts:\d+/g)) {
        mockReached.add(line);
      }
      return errors[name]?.(...args);
    };
  return {
    ...errors,
    argumentError: noting('argumentError'),
    requirementError: noting('requirementError'),
    lengthError: noting('lengthError'),
    codedError: noting('codedError'),
  };
});

const memory = new Float32Array(40);
const scope: Readonly<Record<string, unknown>> = {
  ...lib,
  ...{ tf, tfRmsNorm, floats, bits, detached, detach },
  x: floats(12),
  dy: floats(12),
  w: floats(4),
  doubles: (length: number) => new Float64Array(length),
  shared: (begin: number, end: number) => memory.subarray(begin, end),
  repeated: { data: floats(4), dims: [3, 4], strides: [0, 1] },
  on: (length: number, dtype: lib.BufferDType = 'float32') => new lib.DeviceBuffer(length, dtype),
  there: (length: number) => new lib.DeviceBuffer(length, 'float32', { device: 'cuda:1' }),
};

/** Name, code and message of the error that a call throws or rejects with. */
async function messageOf(call: string): Promise<string> {
  const run = compileFunction(`return (async () => { ${call} })();`, Object.keys(scope)) as (
    ...values: unknown[]
  ) => Promise<unknown>;
  try {
    await run(...Object.values(scope));
  } catch (error) {
    const { name, code, message } = error as CodedError;
    expect(message).not.toContain('\n');
    return `${name} ${code}: ${withoutMachine(message)}`;
  }
  throw new Error(`Nothing is wrong with ${call}`);
}

/** A message without the words that depend on the machine. */
function withoutMachine(message: string): string {
  const variants = lib.cpuVariants().map((variant) => `'${variant}'`);
  const names = gpus.map(({ device }) => `'${device}'`).join(', ');
  return message
    .replace(variants.join(', '), "'scalar', …")
    .replace(names, names && "'cuda:0', …")
    .replace(/at most \d{4,}/, 'at most …');
}

/** Each call with its message below it. */
async function messagesOf(calls: string): Promise<string> {
  const lines = calls.trim().split(/\s*\n\s*/);
  const entries: string[] = [];
  for (const line of lines) entries.push(`${line}\n    ${await messageOf(line)}`);
  return `\n${entries.join('\n')}\n`;
}

/** Lines of lib/ that make an error that a caller can cause. */
function linesOfErrors(): string[] {
  const files = readdirSync(path.join(root, 'lib'), { recursive: true }) as string[];
  return files
    .filter((file) => file.endsWith('.ts') && file !== path.join('core', 'errors.ts'))
    .flatMap((file) => {
      const lines = readFileSync(path.join(root, 'lib', file), 'utf8').split('\n');
      return lines.flatMap((line, i) => {
        const makesOne = /\b(argument|requirement|length|number|coded)Error\(/.test(line);
        const isOther = /\bfunction |ERR_ADDON_NOT_LOADED|ERR_MEMORY_ALLOCATION_FAILED/.test(line);
        return makesOne && !isOther ? [`lib/${file}:${i + 1}`] : [];
      });
    });
}

test.each(Object.entries(refusedCalls))('%s: messages match the snapshot', async (_, calls) => {
  expect(await messagesOf(calls)).toMatchSnapshot();
});

onGpu('on a GPU', () => {
  test.each(Object.entries(refusedOnGpu))('%s: messages match the snapshot', async (_, calls) => {
    expect(await messagesOf(calls)).toMatchSnapshot();
  });
});

onGpus('on two GPUs', () => {
  test('another device: messages match the snapshot', async () => {
    expect(await messagesOf(refusedOnGpus)).toMatchSnapshot();
  });

  test('every line of lib/ that makes an error for a caller is reached', () => {
    expect(linesOfErrors().filter((line) => !mockReached.has(line))).toEqual([]);
  });
});
