// Tests the examples that ship: copies them from the package into an application, as users do.

import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { hasSimulator, simulator } from '../support/processes';
import {
  checkout,
  developmentTool,
  installedPackage,
  makeApplication,
  outputOf,
  removeFolders,
  tools,
} from './application';

const examples = path.join(installedPackage, 'examples');

/** A text that each example prints. */
const programs: Readonly<Record<string, string>> = {
  'train.mts': hasSimulator ? 'the same losses and weights, to the bit\n' : 'it reads: each row',
  'training.mts': 'at last\n',
  'onnx.mts': '4x8 hidden states, normalised, 4x8 logits\n',
  'worker-pool.mts': 'every result has the bits of a call on the main thread\n',
  'share-device-memory.mts': hasSimulator ? 'of ours, read by their address\n' : 'There is no GPU',
};
const server = 'server.mts';
const helpers = ['layers.mts', 'matmul.onnx', 'norm-worker.mjs', 'random.mts'];

/** The packages that they import besides this one, and where those are installed. */
const packages = {
  fastify: tools,
  koffi: checkout,
  'onnxruntime-node': checkout,
  'onnxruntime-common': checkout,
  '@types/node': checkout,
};

let application = '';
beforeAll(() => {
  application = makeApplication({ 'package.json': '{ "type": "commonjs" }' });
  cpSync(examples, path.join(application, 'examples'), { recursive: true });
  mkdirSync(path.join(application, 'node_modules/@types'));
  for (const [name, from] of Object.entries(packages)) {
    symlinkSync(path.join(from, name), path.join(application, 'node_modules', name));
  }
});
afterAll(removeFolders);

test('every example is tested', () => {
  const names = [...Object.keys(programs), server, ...helpers];
  expect(readdirSync(examples).sort()).toEqual(names.sort());
});

test.each(Object.entries(programs))('%s succeeds', (name, text) => {
  const environment = { RMSNORM_LIBCUDA: hasSimulator ? simulator : '/nowhere' };
  const args = [path.join('examples', name)];
  expect(outputOf(application, developmentTool('tsx'), args, environment)).toContain(text);
});

test('the examples and the types of the package compile under strict settings', () => {
  const names = readdirSync(examples).filter((name) => name.endsWith('.mts'));
  const config = {
    compilerOptions: {
      ...{ strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true },
      ...{ skipLibCheck: false, noEmit: true, allowImportingTsExtensions: true },
      ...{ target: 'es2022', module: 'nodenext', types: ['node'] },
    },
    files: names.map((name) => path.join('examples', name)),
  };
  writeFileSync(path.join(application, 'tsconfig.json'), JSON.stringify(config));
  expect(outputOf(application, developmentTool('tsc'), ['-p', '.'])).toBe('');
});

describe(server, () => {
  const size = 256;
  const rowsOf = (count: number) =>
    Array.from({ length: count }, (_, row) =>
      Array.from({ length: size }, (_, i) => Math.fround(Math.sin(row + i * i))),
    );
  let running: ChildProcessWithoutNullStreams;
  let url = '';

  const post = (body: unknown) =>
    fetch(`${url}/norm`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });

  beforeAll(async () => {
    const args = [path.join('examples', server)];
    const env = { PATH: process.env['PATH'], RMSNORM_LIBCUDA: '/nowhere' };
    running = spawn(developmentTool('tsx'), args, { cwd: application, env });
    running.stderr.pipe(process.stderr);
    const [line] = (await once(running.stdout, 'data')) as [Buffer];
    url = /^listening at (http:\/\/\S+)\n$/.exec(line.toString())?.[1] ?? '';
  });

  afterAll(() => running.kill());

  test('answers batches of several sizes at once', async () => {
    const batches = [1, 64, 3, 1, 8].map(rowsOf);
    const answers = await Promise.all(
      batches.map(async (rows) => (await (await post(rows)).json()) as number[][]),
    );
    answers.forEach((answer, i) => {
      const rows = batches[i] ?? [];
      expect(answer.length).toBe(rows.length);
      rows.forEach((row, j) => {
        const mean = row.reduce((sum, value) => sum + value * value, 0) / size;
        row.forEach((value, k) => {
          expect(answer[j]?.[k]).toBeCloseTo(value / Math.sqrt(mean + 1e-6), 5);
        });
      });
    });
  });

  test.each([
    ['a row that is too short', [[1, 2]]],
    ['no rows', []],
    ['too many rows', rowsOf(65)],
    ['a row of text', [['x']]],
  ])('refuses %s', async (_, body) => {
    expect((await post(body)).status).toBe(400);
  });

  test('ends with exit code 0 on SIGTERM', async () => {
    running.kill('SIGTERM');
    expect(await once(running, 'exit')).toEqual([0, null]);
  });
});
