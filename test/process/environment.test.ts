// The environment variables, the process-wide settings, and the CPU time of idle threads.

import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';

import { cpuVariants, getCpuVariant, getNumThreads, setCpuVariant, setNumThreads } from '../../lib';
import { binding } from '../../lib/binding';
import { expectRefusal, range, type, value, type Refusal } from '../support/refusals';
import { errorOf } from '../support/support';

jest.setTimeout(60_000); // processes take long to start on a busy machine

const root = path.join(__dirname, '../..');
const load = `
  const binding = require(${JSON.stringify(require.resolve('node-gyp-build'))})(${JSON.stringify(root)});
  const { nativeCalls } = require(${JSON.stringify(require.resolve('../support/native-calls.js'))});
  const calls = nativeCalls(binding);
`;

/** The value that a program prints as JSON in a process with these environment variables. */
async function resultOf(program: string, environment: Record<string, string>): Promise<unknown> {
  const env = { ...process.env, ...environment };
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', load + program], { env });
  return JSON.parse(stdout);
}

const print = (expression: string) => `
  const attempt = () => { try { return ${expression}; } catch ({ code, message }) { return { code, message }; } };
  process.stdout.write(JSON.stringify([attempt(), attempt()]));
`;

const small = 'new Float32Array(4)';
const forward = `calls.forward({ x: ${small}, out: ${small} }, { hiddenSize: 4 }) ?? 'done'`;

test.each(['3', '1', '256'])('RMSNORM_NUM_THREADS=%s sets the number of threads', async (count) => {
  const results = await resultOf(print('binding.numThreads()'), { RMSNORM_NUM_THREADS: count });
  expect(results).toEqual([Number(count), Number(count)]);
});

test.each(['abc', '0', '-1', '257', '2.5', '3x', '99999999999999999999'])(
  'RMSNORM_NUM_THREADS=%s is an error of every call that needs it',
  async (text) => {
    for (const expression of ['binding.numThreads()', forward]) {
      const results = await resultOf(print(expression), { RMSNORM_NUM_THREADS: text });
      const error = {
        code: 'ERR_INVALID_ENVIRONMENT',
        message: `The environment variable RMSNORM_NUM_THREADS must be an integer from 1 to 256. Received '${text}'`,
      };
      expect(results).toEqual([error, error]);
    }
  },
);

test('setNumThreads overrides even an invalid RMSNORM_NUM_THREADS', async () => {
  const program = `binding.setNumThreads(5); ${print('binding.numThreads()')}`;
  expect(await resultOf(program, { RMSNORM_NUM_THREADS: 'abc' })).toEqual([5, 5]);
});

test('RMSNORM_CPU_VARIANT=scalar selects the scalar variant', async () => {
  const results = await resultOf(print('binding.cpuVariant()'), { RMSNORM_CPU_VARIANT: 'scalar' });
  expect(results).toEqual(['scalar', 'scalar']);
});

test.each(['nope', 'SCALAR', 'scalar '])(
  'RMSNORM_CPU_VARIANT=%s is an error of every call that needs it',
  async (text) => {
    for (const expression of ['binding.cpuVariant()', forward]) {
      const results = await resultOf(print(expression), { RMSNORM_CPU_VARIANT: text });
      const known = cpuVariants().map((name) => `'${name}'`);
      const error = {
        code: 'ERR_INVALID_ENVIRONMENT',
        message: `The environment variable RMSNORM_CPU_VARIANT must be one of ${known.join(', ')} on this processor. Received '${text}'`,
      };
      expect(results).toEqual([error, error]);
    }
  },
);

test('empty variables count as unset', async () => {
  const program = print('[binding.numThreads() >= 1, binding.cpuVariant()]');
  const results = await resultOf(program, { RMSNORM_NUM_THREADS: '', RMSNORM_CPU_VARIANT: '' });
  expect(results).toEqual([
    [true, cpuVariants()[0]],
    [true, cpuVariants()[0]],
  ]);
});

test('a setting holds until it is set again', () => {
  const [variant, threads] = [getCpuVariant(), getNumThreads()];
  for (const name of cpuVariants()) {
    setCpuVariant(name);
    expect(getCpuVariant()).toBe(name);
  }
  for (const count of [1, 256, 3]) {
    setNumThreads(count);
    expect(getNumThreads()).toBe(count);
  }
  setCpuVariant(variant);
  setNumThreads(threads);
  expect(cpuVariants().at(-1)).toBe('scalar');
});

test('cpuVariants returns a new array at every call', () => {
  cpuVariants().pop();
  expect(cpuVariants()).toEqual(binding.cpuVariants());
});

const aCount = 'an integer from 1 to 256';
test.each<[unknown, ...Refusal]>([
  [undefined, type, 'count', 'a number', 'undefined'],
  ['2', type, 'count', 'a number', "'2'"],
  [0, range, 'count', aCount, '0'],
  [257, range, 'count', aCount, '257'],
  [1.5, range, 'count', aCount, '1.5'],
  [NaN, range, 'count', aCount, 'NaN'],
])('setNumThreads(%p) is refused', (count, ...refusal) => {
  const threads = getNumThreads();
  const call = () => {
    setNumThreads(count as number);
  };
  expectRefusal(errorOf(call), refusal);
  expect(getNumThreads()).toBe(threads);
});

test.each<[unknown, ...Refusal]>([
  [undefined, value, 'name', "'scalar' on this processor", 'undefined'],
  ['mmx', value, 'name', "'scalar' on this processor", "'mmx'"],
])('setCpuVariant(%p) is refused', (name, ...refusal) => {
  const variant = getCpuVariant();
  const call = () => {
    setCpuVariant(name as string);
  };
  expectRefusal(errorOf(call), refusal);
  expect(getCpuVariant()).toBe(variant);
});

// This does not measure speed: one spinning thread would use all of the 300 ms.
test('idle threads use no CPU time', async () => {
  const program = `
    binding.setNumThreads(4);
    const [x, y] = [0, 0].map(() => new Float32Array(1 << 20).fill(1));
    for (let i = 0; i < 4; ++i) calls.forward({ x, out: y }, { hiddenSize: 1024 });
    const before = process.cpuUsage();
    setTimeout(() => {
      const { user, system } = process.cpuUsage(before);
      process.stdout.write(JSON.stringify((user + system) / 1000));
    }, 300);
  `;
  expect(await resultOf(program, {})).toBeLessThan(100);
});
