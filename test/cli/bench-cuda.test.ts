/* @jest-environment ./test/support/shared-realm.ts */
// Tests the benchmark on GPUs: what it enqueues and checks. The times are made up, because a
// simulated GPU has none.

import { makeArrays } from '../../bench/cases/arrays';
import { isBasic, minimumBytes, type Case } from '../../bench/cases/cases';
import { compare, timeOnGpu } from '../../bench/gpu/time-on-gpu';
import { gpuSets } from '../../bench/gpu/sets';

import { limitOf, shareOfLimit, oursOf, type CaseResult } from '../../bench/report/result';
import { answerOfCpu } from '../../bench/subjects/ours';
import { WrongAnswer } from '../../bench/cases/verify';
import { CudaEvent, DeviceBuffer, Graph, Stream, type CudaDevice } from '../../lib';
import { gpus, onGpu } from '../support/gpu';
import { errorOf } from '../support/support';

const ops = ['forward', 'backward', 'residual', 'quantize', 'gated'] as const;
const schedule = { rounds: 3, ms: 1 };

onGpu('timing on a GPU', () => {
  const device = gpus[0] as CudaDevice; // defined whenever these tests run
  afterEach(() => {
    jest.restoreAllMocks();
  });

  describe.each(ops)('%s', (op) => {
    test.each(['float32', 'bfloat16'] as const)('measures all subjects in %s', async (dtype) => {
      jest.spyOn(CudaEvent.prototype, 'elapsed').mockReturnValue(5);
      const one: Case = { op, dtype, castOrder: 'llama', rows: 5, hiddenSize: 100 };
      let rounds = 0;
      const bytes = 3 * minimumBytes(one);
      const result = await timeOnGpu(one, device, schedule, () => ++rounds, bytes);
      expect(rounds).toBe(3);
      expect(result).toMatchObject({ ...one, device: 'cuda:0', sets: 3 });
      const { subjects } = result as CaseResult;
      expect(subjects.map(({ name, role, outputs }) => [name, role, outputs])).toEqual([
        ['ours', 'ours', 'given'],
        ['ours fresh', 'ours', 'fresh'],
        ...(isBasic(one) ? [['ours plan', 'ours', 'given']] : []),
        ['ours graph', 'ours', 'given'],
        ['device copy', 'limit', 'given'],
        ['device copy graph', 'limit', 'given'],
      ]);
      const times = Object.fromEntries(subjects.map(({ name, time }) => [name, time.median]));
      // A graph computes the case once for each set.
      expect(times).toMatchObject({ ours: 5e6, 'ours graph': 5e6 / 3, 'device copy': 5e6 });
      expect(limitOf(result as CaseResult).name).toBe('device copy graph');
      expect(shareOfLimit(result as CaseResult, oursOf(result as CaseResult))).toBeCloseTo(1 / 3);
    });

    test('is left out if the GPU has too little memory', async () => {
      const one: Case = { op, dtype: 'float32', castOrder: 'llama', rows: 2, hiddenSize: 64 };
      const bytes = minimumBytes(one);
      jest.spyOn(Graph, 'capture').mockImplementation(() => {
        throw errorOf(() => new DeviceBuffer(2 ** 45, 'float32'));
      });
      const result = await timeOnGpu(one, device, schedule, () => undefined, bytes);
      expect(result).toBe('the GPU has too little memory');
    });
  });

  test.each(ops)('copies as many bytes as %s moves', (op) => {
    const one: Case = { op, dtype: 'float32', castOrder: 'llama', rows: 3, hiddenSize: 40 };
    const stream = new Stream();
    const sets = gpuSets(one, makeArrays(one), 2, stream);
    // The bytes of codes and scales may not divide into two halves of whole elements.
    expect(minimumBytes(one) - 2 * sets.copiedBytes).toBe(op === 'quantize' ? 4 : 0);
    sets.fill();
    sets.copies[1]?.();
    stream.synchronize();
    sets.dispose();
  });

  test('refuses results that differ by one bit', () => {
    const one: Case = {
      op: 'backward',
      dtype: 'float32',
      castOrder: 'llama',
      rows: 3,
      hiddenSize: 8,
    };
    const expected = answerOfCpu(one, makeArrays(one));
    compare(one, 'ours', expected, expected);
    const dweight = expected.dweight?.slice() as Float32Array;
    dweight[1] = (dweight[1] as number) * (1 + 2 ** -23);
    expect(() => {
      compare(one, 'ours', expected, { ...expected, dweight });
    }).toThrow(
      new WrongAnswer(
        'ours is wrong at backward 3x8 float32: dweight does not have the bits of the CPU',
      ),
    );
    expect(() => {
      compare(one, 'ours', expected, { dx: expected.dx } as typeof expected);
    }).toThrow(WrongAnswer);
  });
});
