// The examples that ship, copied out of the package into an application, as its users run them.

import { cpSync, readdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';

import { hasSimulator, simulator } from '../support/processes';
import {
  checkout,
  developmentTool,
  installedPackage,
  makeApplication,
  outputOf,
  removeFolders,
} from './application';

afterAll(removeFolders);

const examples = path.join(installedPackage, 'examples');

const programs: Readonly<Record<string, string>> = {
  'train.mts': hasSimulator ? 'the same losses and weights, to the bit\n' : 'it reads: each row',
  'worker-pool.mts': 'every result has the bits of a call on the main thread\n',
  'share-device-memory.mts': hasSimulator ? 'of ours, read by their address\n' : 'There is no GPU',
};
const parts = ['layers.mts', 'norm-worker.mjs', 'random.mts'];

test('all of them are run here', () => {
  expect(readdirSync(examples).sort()).toEqual([...Object.keys(programs), ...parts].sort());
});

test.each(Object.entries(programs))('%s', (name, text) => {
  const application = makeApplication({ 'package.json': '{ "type": "commonjs" }' });
  cpSync(examples, path.join(application, 'examples'), { recursive: true });
  symlinkSync(path.join(checkout, 'koffi'), path.join(application, 'node_modules/koffi'));
  const environment = { RMSNORM_LIBCUDA: hasSimulator ? simulator : '/nowhere' };
  const args = [path.join('examples', name)];
  expect(outputOf(application, developmentTool('tsx'), args, environment)).toContain(text);
});
