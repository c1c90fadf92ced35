// Tests the benchmark's cases, the order in which it measures them, and its checks of answers.

import type { CastOrder } from 'fused-rmsnorm';

import { makeArrays, type Arrays, type Elements } from '../../bench/cases/arrays';
import {
  caseName,
  dtypes,
  eps,
  isBasic,
  minimumBytes,
  reasonImpossible,
  type Case,
} from '../../bench/cases/cases';
import { setCount } from '../../bench/run/time-on-cpu';
import { measure, type Subject } from '../../bench/measure/measure';
import { callSubjects } from '../../bench/subjects/calls';
import { ourSubjects } from '../../bench/subjects/ours';
import { makeCases, shapeSets } from '../../bench/cases/sets';
import { Verifier, WrongAnswer, type Answer } from '../../bench/cases/verify';
import { rmsNorm } from '../../lib';
import { layerNorm } from '../support/reference';

const ops = ['forward', 'backward', 'residual', 'quantize', 'gated'] as const;

describe('the minimum bytes', () => {
  const rest = { rows: 3, hiddenSize: 5, castOrder: 'llama' } as const;
  test.each([
    ['forward', 'float32', 2 * 15 * 4],
    ['backward', 'float32', 3 * 15 * 4],
    ['residual', 'bfloat16', 4 * 15 * 2],
    ['forward', 'float64', 2 * 15 * 8],
    ['quantize', 'float32', 15 * (4 + 1) + 3 * 4],
    ['quantize', 'float16', 15 * (2 + 1) + 3 * 4],
    ['gated', 'bfloat16', 3 * 15 * 2],
  ] as const)('of %s in %s are %d', (op, dtype, bytes) => {
    expect(minimumBytes({ op, dtype, ...rest })).toBe(bytes);
  });
});

describe('cases', () => {
  test('are every operation in every dtype on every shape', () => {
    const cases = makeCases(ops, dtypes, shapeSets.llama.shapes, ['llama']);
    expect(cases.length).toBe(5 * 4 * 10);
    expect(cases[1]).toEqual({
      ...{ op: 'forward', dtype: 'float32', castOrder: 'llama', rows: 1, hiddenSize: 4096 },
    });
  });

  test('have the other cast order only in 16 bits, and name it', () => {
    const namesOf = (orders: readonly CastOrder[]) =>
      makeCases(['forward'], dtypes, [[8, 64]], orders).map(caseName);
    const [single, double] = ['forward 8x64 float32', 'forward 8x64 float64'];
    const half = ['forward 8x64 float16', 'forward 8x64 float16 float'];
    const brain = ['forward 8x64 bfloat16', 'forward 8x64 bfloat16 float'];
    expect(namesOf(['llama', 'float'])).toEqual([single, ...half, ...brain, double]);
    expect(namesOf(['float'])).toEqual([single, half[1], brain[1], double]);
  });

  test.each(ops)('have the bits of the other cast order in every way to call: %s', async (op) => {
    const answers = async (castOrder: CastOrder) => {
      const one: Case = { op, dtype: 'bfloat16', castOrder, rows: 3, hiddenSize: 500 };
      const subjects = ourSubjects(one, [makeArrays(one)]);
      return Promise.all(
        subjects.map(async (subject) => {
          await subject.run(1);
          return structuredClone(await subject.results());
        }),
      );
    };
    const [given, fresh, planned] = await answers('float');
    expect(fresh).toEqual(expect.objectContaining(given));
    expect(planned).toEqual(isBasic({ op }) ? given : undefined);
    expect(given).not.toEqual((await answers('llama'))[0]);
  });
});

test('float64 can be neither quantised nor gated', () => {
  const impossible = makeCases(ops, dtypes, [[1, 64]], ['llama']).filter(
    (one) => reasonImpossible(one) !== null,
  );
  expect(impossible.map(caseName)).toEqual(['quantize 1x64 float64', 'gated 1x64 float64']);
});

describe('the number of sets of buffers', () => {
  const one = { op: 'forward', dtype: 'float32', castOrder: 'llama', hiddenSize: 256 } as const; // 2 KiB a row
  test.each([
    ['is 1 for a case that fits the cache', 512, 1],
    ['is 4 for a case just larger than the cache', 513, 4],
    ['is 2 for a case twice as large', 1024, 2],
    ['is 1 for a case four times as large', 2048, 1],
  ])('%s', (_, rows, count) => {
    expect(setCount({ ...one, rows }, 2 ** 20)).toBe(count);
  });
});

describe('measuring', () => {
  test('visits every subject once a round, in an order that changes', async () => {
    const visits: string[] = [];
    const names = ['a', 'b', 'c', 'd'];
    const subjects = names.map((name): Subject => ({
      name,
      run: (repeats) => {
        visits.push(name);
        return repeats * 1e6;
      },
    }));
    let rounds = 0;
    const summaries = await measure(subjects, { rounds: 20, ms: 4 * 20 * 3 }, () => ++rounds);
    expect(rounds).toBe(20);
    expect(summaries.map(({ median, samples }) => [median, samples])).toEqual(
      names.map(() => [1e6, 20]),
    );
    const measured = visits.slice(-80);
    const orders = Array.from({ length: 20 }, (_, i) => measured.slice(4 * i, 4 * i + 4));
    for (const order of orders) expect([...order].sort()).toEqual(names);
    expect(new Set(orders.map((order) => order.join())).size).toBeGreaterThan(1);
  });

  test('repeats short subjects, awaits asynchronous ones, and divides by the repeats', async () => {
    const repeats: number[] = [];
    const slow: Subject = { name: 'slow', run: (count) => Promise.resolve(count * 50e6) };
    const short: Subject = {
      name: 'short',
      run: (count) => {
        repeats.push(count);
        return count * 1000;
      },
    };
    const [first, second] = await measure([slow, short], { rounds: 3, ms: 6 });
    expect([first?.median, second?.median]).toEqual([50e6, 1000]);
    expect(repeats.slice(-3)).toEqual([1000, 1000, 1000]); // 1 ms of 1 µs each
  });
});

test('the time of a round with several visits is their median', async () => {
  let runs = 0;
  // Every third visit takes a hundred times as long.
  const subject: Subject = { name: 'a', run: (repeats) => repeats * (++runs % 3 ? 1e6 : 1e8) };
  const [summary] = await measure([subject], { rounds: 4, ms: 4 * 3, visits: 3 });
  expect([summary?.samples, summary?.min, summary?.max]).toEqual([4, 1e6, 1e6]);
});

describe('the forms of a call', () => {
  const subjects = callSubjects();

  test('begin with the one that the others are compared with', () => {
    expect(subjects[0]?.name).toBe('rmsNorm, out');
    expect(subjects.length).toBe(21);
  });

  test.each(subjects)('have a checked answer: $name', async (subject) => {
    const check = () => {
      subject.check();
    };
    expect(check).toThrow(WrongAnswer); // nothing has been computed
    subject.clear();
    expect(check).toThrow(`${subject.name} is wrong at `);
    await subject.run(2);
    check();
  });
});

function elementsOf(answer: Answer): [string, Elements | Int8Array][] {
  return Object.entries(answer);
}

/** The right answer, in separate memory. */
async function rightAnswer(one: Case, arrays: Arrays): Promise<Answer> {
  const [subject] = ourSubjects(one, [arrays]);
  await subject?.run(1);
  return Object.fromEntries(
    elementsOf((await subject?.results()) ?? {}).map(([name, values]) => [name, values.slice()]),
  );
}

describe.each(ops)('the check of %s', (op) => {
  const computed = dtypes.filter((dtype) => isBasic({ op }) || dtype !== 'float64');
  describe.each(computed)('in %s', (dtype) => {
    const one: Case = { op, dtype, castOrder: 'llama', rows: 5, hiddenSize: 100 };
    const arrays = makeArrays(one);
    const verifier = new Verifier(one, arrays);

    test('accepts every way to call the package', async () => {
      for (const subject of ourSubjects(one, [arrays, arrays])) {
        await subject.run(2);
        verifier.check(subject.name, await subject.results());
      }
    });

    test('refuses a single element that is off, NaN or 0', async () => {
      const right = await rightAnswer(one, arrays);
      verifier.check('right', right);
      for (const name of Object.keys(right) as (keyof Answer)[]) {
        const values = right[name] as Float32Array;
        for (const index of [0, values.length - 1]) {
          for (const wrong of wrongFor(name, values[index] as number, dtype)) {
            const answer = { ...right, [name]: values.with(index, wrong) };
            const check = () => {
              verifier.check('wrong', answer);
            };
            expect(check).toThrow(WrongAnswer);
            expect(check).toThrow(
              new RegExp(`^wrong is wrong at ${op} 5x100 ${dtype}: ${name} at`),
            );
          }
        }
      }
    });

    test('refuses an rstd that is off, if there is one', async () => {
      const right = await rightAnswer(one, arrays);
      const rstd = rmsNorm.forward(op === 'residual' ? (right.sum as Elements) : arrays.x, null, {
        ...{ dtype, eps, normalizedShape: one.hiddenSize },
      }).rstd;
      verifier.check('right', { ...right, rstd });
      for (const wrong of [rstd.with(4, 0), rstd.with(0, NaN), rstd.subarray(1)]) {
        expect(() => {
          verifier.check('wrong', { ...right, rstd: wrong });
        }).toThrow(`wrong is wrong at ${op} 5x100 ${dtype}: rstd at row`);
      }
    });

    test('refuses results that are missing or too short', async () => {
      const right = await rightAnswer(one, arrays);
      for (const [name, values] of elementsOf(right)) {
        expect(() => {
          verifier.check('none', { ...right, [name]: undefined });
        }).toThrow(`${name}, its elements: none`);
        expect(() => {
          verifier.check('few', { ...right, [name]: values.subarray(1) });
        }).toThrow(`${name}, its elements: ${values.length - 1}`);
      }
    });
  });
});

/** Wrong replacements for a value: for a code, some steps away. */
function wrongFor(name: keyof Answer, value: number, dtype: Case['dtype']): number[] {
  if (name === 'codes') return [value + 3, value - 3];
  return [NaN, 0, name === 'scales' ? 2 * value : twice(value, dtype)];
}

/** The value doubled; for the bits of a 16-bit dtype, the next exponent. */
function twice(value: number, dtype: Case['dtype']): number {
  if (dtype === 'bfloat16') return value + 2 ** 7;
  return dtype === 'float16' ? value + 2 ** 10 : 2 * value;
}

test('an answer of LayerNorm is checked as LayerNorm', () => {
  const one: Case = {
    op: 'forward',
    dtype: 'float32',
    castOrder: 'llama',
    rows: 3,
    hiddenSize: 64,
  };
  const arrays = makeArrays(one);
  const verifier = new Verifier(one, arrays);
  const { x, weight } = arrays;
  const problem = { x, weight, hiddenSize: 64, eps: 1e-6, weightOffset: 0, round: null };
  const y = Float32Array.from(layerNorm(problem));
  verifier.check('layer-norm', { y }, 'layer-norm');
  expect(() => {
    verifier.check('layer-norm', { y });
  }).toThrow(WrongAnswer);
});
