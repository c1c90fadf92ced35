// Runs every operation with the n-th allocation of the addon failing, for every n. The operation must
// succeed or fail with a coded error. The process must survive, promises must settle, and the operation
// must work the next time. Then the same with all allocations failing from the n-th on.

import { existsSync } from 'node:fs';

import { operations } from '../support/allocating-operations';
import { testAddon } from '../support/native-support';
import { hasSimulator, runProgram, simulator } from '../support/processes';

jest.setTimeout(240_000); // processes take long to start on a busy machine

const isHere = process.platform === 'linux' && existsSync(testAddon);
const onTestAddon = isHere ? describe : describe.skip;
const onSimulator = isHere && hasSimulator ? describe : describe.skip;

/** The codes of the errors of an operation. */
interface Outcome {
  readonly codes: string[];
}

/** Runs an operation of `operations` in its own process, which prints each n before it tries it. */
async function outcomeOf(
  kind: 'onCpu' | 'onGpu',
  name: string,
  failures: number,
): Promise<Outcome> {
  const program = `
    const { writeSync } = require('node:fs');
    const { isDeepStrictEqual } = require('node:util');
    const { operations } = require(${JSON.stringify(require.resolve('../support/allocating-operations'))});
    const { failAllocations, stopFailingAllocations } =
      require(${JSON.stringify(require.resolve('../support/native-support'))});
    const operation = operations.${kind}[${JSON.stringify(name)}];
    const attempt = async () => {
      const owned = [];
      const own = (object) => {
        owned.push(object);
        return object;
      };
      try {
        return (await operation(own)).map((each) => (typeof each === 'string' ? each : [...each]));
      } finally {
        for (const object of owned.reverse()) object.dispose();
      }
    };
    setTimeout(() => {
      writeSync(1, '"a promise never settled"');
      process.exit(9);
    }, 60_000).unref();
    (async () => {
      const expected = await attempt();
      const check = (results, when) => {
        if (!isDeepStrictEqual(results, expected)) throw new Error('other results ' + when);
      };
      const codes = new Set();
      let allocations;
      for (let n = 1; ; ++n) {
        writeSync(1, n + ',');
        failAllocations(n, ${failures});
        let results;
        try {
          results = await attempt();
        } catch (error) {
          if (typeof error.code !== 'string') throw error;
          codes.add(error.code);
        } finally {
          allocations = stopFailingAllocations();
        }
        if (results !== undefined) check(results, 'while allocation ' + n + ' failed');
        check(await attempt(), 'after allocation ' + n + ' failed');
        if (allocations < n) break;
      }
      writeSync(1, JSON.stringify({ codes: [...codes].sort() }));
    })();
  `;
  const { end, stdout, stderr } = await runProgram(program, {
    LD_PRELOAD: testAddon,
    RMSNORM_LIBCUDA: simulator,
    RMSNORM_NUM_THREADS: '1',
  });
  expect({ end, stderr, tried: stdout.replace(/\{.*/, '') }).toEqual({
    end: 0,
    stderr: '',
    tried: expect.any(String) as unknown,
  });
  return JSON.parse(stdout.replace(/.*,(?=\{)/, '')) as Outcome;
}

const memoryError = 'ERR_MEMORY_ALLOCATION_FAILED';

describe.each([
  ['if one allocation fails', 1],
  ['if all allocations fail from one on', 1e9],
])('%s', (_, failures) => {
  onTestAddon('on the CPU', () => {
    test.each(Object.keys(operations.onCpu))(
      '%s succeeds or throws a coded error',
      async (name) => {
        const { codes } = await outcomeOf('onCpu', name, failures);
        expect([memoryError]).toEqual(expect.arrayContaining(codes));
      },
    );
  });

  onSimulator('on a simulated GPU', () => {
    test.each(Object.keys(operations.onGpu))(
      '%s succeeds or throws a coded error',
      async (name) => {
        const { codes } = await outcomeOf('onGpu', name, failures);
        expect([memoryError]).toEqual(expect.arrayContaining(codes));
      },
    );
  });
});
