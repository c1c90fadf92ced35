// Rivals whose packages are not installed.

import { rivals } from '../../bench/subjects/rivals';
import { onnxruntimeRivals } from '../../bench/subjects/rivals/onnxruntime';
import { MissingRival } from '../../bench/subjects/rivals/rival';
import { runProgram } from '../support/processes';

// Loads onnxruntime's rivals directly, as their own processes do: a mock does not reach those.
const served = onnxruntimeRivals.map(({ name }) => name);
const needy = [
  ...rivals.filter(({ name, packages }) => packages.length > 0 && !served.includes(name)),
  ...onnxruntimeRivals,
];

const majors: Readonly<Record<string, number>> = {
  '@tensorflow/tfjs-backend-cpu': 4,
  '@tensorflow/tfjs-backend-wasm': 4,
  '@tensorflow/tfjs-core': 4,
  'onnxruntime-node': 1,
  'onnxruntime-web': 1,
};

function mockNotFound(name: string): void {
  jest.doMock(name, () => {
    throw Object.assign(new Error(`Cannot find module '${name}'`), { code: 'MODULE_NOT_FOUND' });
  });
}

describe.each(needy)('$name', (rival) => {
  const { name, packages } = rival;
  afterEach(() => {
    for (const each of packages) jest.dontMock(each);
    jest.resetModules();
  });

  test.each(packages)('says what to install if %s is missing', async (missing) => {
    mockNotFound(missing);
    const error = await rival.load().catch((error: unknown) => error);
    expect(error).toBeInstanceOf(MissingRival);
    const hint = `npm install ${packages.map((each) => `${each}@${majors[each] ?? ''}`).join(' ')}`;
    expect(error).toMatchObject({ hint, message: `${name} is not installed: ${hint}` });
  });
});

test('a package that Node.js does not find makes its rival missing', async () => {
  const { stdout, end } = await runProgram(
    `const { importInstalled } = require('./bench/subjects/rivals/rival');
     importInstalled('it', ['vega', 'onnxruntime-node'], () => import('no-such-package')).catch(
       (error) => console.log(error.name, error.cause.code, error.message),
     );`,
    {},
  );
  expect(end).toBe(0);
  expect(stdout).toBe(
    'MissingRival ERR_MODULE_NOT_FOUND it is not installed: npm install vega@6 onnxruntime-node@1\n',
  );
});

test('an error of an installed package is passed on', async () => {
  jest.doMock('onnxruntime-node', () => {
    throw new Error('libonnxruntime.so.1: cannot open shared object file');
  });
  const onnxruntime = onnxruntimeRivals.find(({ name }) => name === 'onnxruntime-node');
  await expect(onnxruntime?.load()).rejects.toThrow('libonnxruntime.so.1: cannot open');
  jest.dontMock('onnxruntime-node');
});
