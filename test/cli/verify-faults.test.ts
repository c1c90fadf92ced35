/* @jest-environment ./test/support/shared-realm.ts */
// Tests what `fused-rmsnorm verify` reports: each test introduces a fault.

import { Verifier, WrongAnswer } from '../../bench/cases/verify';
import type { Addon } from '../../bench/environment/addon';
import { isPossible, nameOf, usualCall, type CheckedCall } from '../../bench/verify/cases';
import { findDifference } from '../../bench/verify/compare';
import { extents, makeGroups } from '../../bench/verify/groups';
import { argumentOf, makeOperands, type Layout } from '../../bench/verify/operands';
import { failureOf, verify, type GroupResult } from '../../bench/verify/verify';
import { onCpu } from '../../bench/verify/ways';
import { DeviceBuffer, rmsNorm, type BufferDType, type CudaDevice } from '../../lib';
import { binding } from '../../lib/binding';
import { gpus, onGpu } from '../support/gpu';

afterEach(() => {
  jest.restoreAllMocks();
});

const one: CheckedCall = {
  ...usualCall,
  ...{ op: 'forward', dtype: 'bfloat16', rows: 2, hiddenSize: 5 },
};

describe('findDifference', () => {
  const layout: Layout = { offset: 1, dims: [2, 2], strides: [4, 1] };
  const memory = Uint16Array.of(9, 0x3f80, 0x4000, 9, 9, 0x7fc0, 0x3f80, 9);
  const differenceOf = (index: number, bits: number) => {
    const actual = memory.slice();
    actual[index] = bits;
    return findDifference('y', { dtype: 'bfloat16', layout, memory }, actual, memory);
  };

  test('reports the position, the bits and the values of both elements', () => {
    expect(differenceOf(6, 0x3f81)).toEqual({
      ...{ result: 'y', place: 'row 1, column 1', elements: 1 },
      ...{ actual: '0x3f81 (1.0078125)', expected: '0x3f80 (1)' },
    });
  });

  test('finds an element beside the result, and the sign of a zero', () => {
    expect(differenceOf(4, 8)?.place).toBe('element 4 of the memory, beside the result,');
    const zero = { dtype: 'float32', layout: { offset: 0, dims: [1], strides: [1] } } as const;
    const [plus, minus] = [Float32Array.of(0), Float32Array.of(-0)];
    expect(findDifference('rstd', { ...zero, memory: plus }, minus, plus)).toMatchObject({
      ...{ place: 'element 0', actual: '0x80000000 (0)', expected: '0x00000000 (0)' },
    });
  });

  test.each([
    ['int8', [0x7f, 0x80, 0xff, 0], [], '0x7f (127)'],
    ['float8_e4m3', [0x7e, 0xfe, 0x78], [0x7f, 0xff], '0x7f (NaN)'],
    ['float8_e5m2', [0x7c, 0xfc, 0x7b], [0x7d, 0x7f, 0xfe], '0x7f (NaN)'],
  ] as const)('treats as NaNs only the NaNs among codes of %s', (dtype, numbers, nans, shown) => {
    const differs = (bits: number) => {
      const of = (code: number) => (dtype === 'int8' ? Int8Array.of(code) : Uint8Array.of(code));
      const expected = of(0x7f);
      const result = { dtype, layout: { offset: 0, dims: [1], strides: [1] }, memory: expected };
      return findDifference('y', result, of(bits), expected);
    };
    for (const bits of numbers.filter((each) => each !== 0x7f)) {
      expect(differs(bits)).toMatchObject({ expected: shown, elements: 1 });
    }
    for (const bits of nans) expect(differs(bits)).toBeNull();
  });

  test('finds none between NaNs, but one between a NaN and infinity', () => {
    expect(differenceOf(5, 0xffff)).toBeNull();
    expect(differenceOf(5, 0x7f80)).toMatchObject({ expected: '0x7fc0 (NaN)' });
    expect(differenceOf(1, 0x7fc0)).toMatchObject({ place: 'row 0, column 0' });
  });
});

describe('the checked calls', () => {
  const calls = makeGroups(extents.usual).flatMap((group) => group.calls());

  test('include every choice of every option, forward and backward', () => {
    const all = (['forward', 'backward'] as const).map((op) => {
      const choices = (name: keyof CheckedCall) =>
        [...new Set(calls.filter((call) => call.op === op).map((call) => call[name]))].sort();
      return [
        choices('dtype').length,
        choices('weight').length,
        choices('weightOffset').length,
        choices('castOrder').length,
        choices('alignment').length,
        choices('layout').length,
        choices('values').length,
        ...[choices('isAdded').length, choices('isInPlace').length],
        ...[choices('gate').length, choices('quantize').length, choices('scale').length],
        ...[choices('rstd').length, choices('gradients').length, choices('accumulates').length],
      ];
    });
    expect(all).toEqual([
      [3, 3, 3, 2, 4, 3, 3, 2, 2, 3, 4, 3, 1, 1, 1],
      [3, 3, 3, 2, 4, 3, 3, 2, 2, 3, 1, 1, 2, 3, 2],
    ]);
    expect(calls.filter((call) => !isPossible(call))).toEqual([]);
  });

  test('have names that mention every unusual option', () => {
    expect(nameOf(one)).toBe('forward 2x5 bfloat16');
    const other = {
      ...one,
      op: 'backward',
      weight: 'none',
      alignment: 2,
      rstd: 'recomputed',
    } as const;
    expect(nameOf({ ...other, layout: 'batched', isAdded: true, values: 'special' })).toBe(
      'backward 2x5 bfloat16, weight none, aligned to 2 bytes, batched, special values, dsum, rstd recomputed',
    );
  });

  test('quantise from every dtype in every cast order, with every kind of scale', () => {
    const quantized = calls.filter(({ quantize }) => quantize !== 'none');
    const distinct = (...names: (keyof CheckedCall)[]) =>
      new Set(quantized.map((call) => names.map((name) => call[name]).join())).size;
    expect(distinct('dtype', 'castOrder', 'quantize')).toBe(3 * 2 * 3);
    expect(distinct('quantize', 'scale')).toBe(3 * 3);
    expect(distinct('quantize', 'gate')).toBe(3 * 3);
    expect(quantized.filter((call) => call.op === 'backward' || call.isInPlace)).toEqual([]);
  });

  test('have the outputs of fused operations', () => {
    const resultsOf = (call: CheckedCall) =>
      Object.fromEntries(makeOperands(call).results) as Readonly<Record<string, string>>;
    const gated = { ...one, op: 'backward', gate: 'before-norm' } as const;
    expect(resultsOf(gated)).toEqual({ dx: 'dx', dweight: 'dweight', dgate: 'dgate' });
    expect(resultsOf({ ...gated, isInPlace: true })).toMatchObject({ dx: 'dy', dgate: 'gate' });
    expect(resultsOf({ ...gated, gradients: 'dweight' })).toEqual({ dweight: 'dweight' });
    const own = { ...one, quantize: 'float8_e4m3' } as const;
    expect(resultsOf(own)).toEqual({ y: 'y', rstd: 'rstd', scale: 'scale' });
    expect(resultsOf({ ...own, scale: 'static' })).toEqual({ y: 'y', rstd: 'rstd' });
    expect(nameOf({ ...own, scale: 'static', gate: 'after-norm' })).toBe(
      'forward 2x5 bfloat16, gate after-norm, codes of float8_e4m3, scale static',
    );
  });

  test.each(['int8', 'float8_e4m3', 'float8_e5m2'] as const)(
    'have some of the largest codes of %s, and other codes, with every kind of scale',
    (quantize) => {
      const call = { ...one, dtype: 'float32', rows: 40, hiddenSize: 100, quantize } as const;
      for (const scale of ['own', 'bounded', 'static'] as const) {
        const results = onCpu({ ...call, scale }, makeOperands({ ...call, scale }));
        const y = (results.get('y') as Uint8Array).subarray(0, 4000);
        const largest = { int8: 127, float8_e4m3: 0x7e, float8_e5m2: 0x7b }[quantize];
        const count = y.filter((code) => (code & 0x7f) === largest).length;
        const rowsOrMore = scale === 'own' ? 20 : 40;
        expect(count).toBeGreaterThan(rowsOrMore);
        expect(count).toBeLessThan(1000);
      }
    },
  );

  test('have the layout, the alignment and the special values that they name', () => {
    const { byName } = makeOperands({
      ...{ ...one, layout: 'batched', alignment: 4, rows: 4, values: 'special', hiddenSize: 4 },
    });
    const { layout, memory } = byName.get('x') ?? { layout: null, memory: null };
    expect(layout).toEqual({ offset: 2, dims: [2, 2, 4], strides: [18, 6, 1] });
    const row = (r: number) => [...(memory ?? []).slice(r, r + 4)];
    expect([row(8)[3], row(20)[2], row(26)]).toEqual([0x7fc0, 0x7f80, [0, 0, 0, 0]]);
    expect(memory?.[1]).toBe(0x5a5a);
    const packed = makeOperands(one).byName.get('x');
    expect(argumentOf((packed as { layout: Layout }).layout, new Uint16Array(30))).toHaveLength(10);
  });

  test('have squares that overflow and squares that underflow if they are rescaled', () => {
    const call = { ...one, dtype: 'float32', rows: 3, values: 'rescaled' } as const;
    const x = makeOperands(call).byName.get('x')?.memory as Float32Array;
    const squares = [0, 1, 2].map((r) => Math.fround((x[5 * r] as number) ** 2));
    expect(squares.filter((square) => square === Infinity)).toHaveLength(1);
    expect(squares.filter((square) => square === 0)).toHaveLength(1);
  });

  test('give the results of rmsNorm', () => {
    const operands = makeOperands({ ...one, dtype: 'float32' });
    const [x, weight] = (['x', 'weight'] as const).map((name) =>
      operands.byName.get(name)?.memory.subarray(0, name === 'x' ? 10 : 5),
    ) as [Float32Array, Float32Array];
    const y = onCpu({ ...one, dtype: 'float32' }, operands).get('y');
    expect(y?.subarray(0, 10)).toEqual(rmsNorm(x, weight));
  });
});

type NumberArray = Float32Array | Uint16Array | Int8Array | Uint8Array;

/** Changes the n-th array that is read from the GPU, counted from 1. */
function changeRead(n: number, change: (array: NumberArray) => void): void {
  const toHost = Reflect.get(DeviceBuffer.prototype, 'toHost');
  let left = n;
  jest.spyOn(DeviceBuffer.prototype, 'toHost').mockImplementation(function (
    this: DeviceBuffer,
    ...args
  ) {
    const array = toHost.apply(this, args);
    if (--left === 0) change(array);
    return array;
  });
}

onGpu('verify', () => {
  const device = gpus[0] as CudaDevice; // defined whenever these tests run
  const run = (filter: RegExp, addon: Addon = binding) =>
    verify({ device, isThorough: false, filter }, addon, () => undefined);
  const runOnly = async (filter: RegExp, addon?: Addon) => {
    const { groups } = await run(filter, addon);
    expect(groups).toHaveLength(1);
    return groups[0] as GroupResult;
  };

  test('counts the launches of the kernels that a call needs, and no others', () => {
    const launched = () =>
      new Map(binding.cuda.launchCounts(0).map(({ kernel, launches }) => [kernel, launches]));
    const before = launched();
    for (const length of [64, 64]) {
      rmsNorm(new Float32Array(length), new Float32Array(length), { device: 'cuda' });
    }
    const after = launched();
    const differences = [...after].map(([name, count]) => [name, count - (before.get(name) ?? 0)]);
    const counted = differences.filter(([, count]) => count !== 0);
    expect(counted).toEqual([[expect.stringMatching(/^forward_.*f32/), 2]]);
  });

  test('reads the available memory of the device', () => {
    const before = binding.cuda.availableMemory(0);
    expect(before).toBeLessThanOrEqual(device.totalMemory);
    const buffer = new DeviceBuffer(2 ** 24, 'float32');
    expect(before - binding.cuda.availableMemory(0)).toBeGreaterThanOrEqual(2 ** 26);
    buffer.dispose();
  });

  test.each(['graphs, captured and replayed', 'two streams, with events'])(
    'compares the second run of a call, too: %s',
    async (name) => {
      const group = makeGroups(extents.usual).find((each) => each.name === name);
      const [first] = group?.calls() as [CheckedCall];
      // The first result of the second run of the first call.
      const results = new Set(makeOperands(first).results.values()).size;
      changeRead(results + 1, (array) => array.fill(0, -1));
      const { findings, errors, kernels } = await runOnly(new RegExp(`^${name}$`));
      expect(errors).toEqual([]);
      expect(findings.map(({ call }) => call)).toEqual([nameOf(first)]);
      expect(findings[0]?.difference.place).toMatch(/beside the result/);
      expect(kernels).toEqual(expect.arrayContaining([...(findings[0]?.kernels ?? ['none'])]));
    },
  );

  test.each(['copyTo', 'copyToAsync'] as const)(
    'finds a %s that does nothing, with page-locked memory',
    async (name) => {
      jest.spyOn(DeviceBuffer.prototype, name).mockResolvedValueOnce();
      const { findings, errors } = await runOnly(/^promises/);
      expect([findings.length, errors]).toEqual([1, []]);
    },
  );

  test('fails if a kernel is not reached although all groups ran', async () => {
    const complete = {
      ...{ groups: [], images: [], isComplete: true },
      kernels: [{ kernel: 'a', isReached: true }],
    };
    expect(failureOf(complete)).toBeNull();
    const kernels = [...complete.kernels, { kernel: 'b', isReached: false }];
    expect(failureOf({ ...complete, kernels })).toBe('1 of 2 kernels were not reached: see above.');
    expect(failureOf({ ...complete, kernels, isComplete: false })).toBeNull();
    const report = await run(/^forward, very long/);
    expect(report.isComplete).toBe(false);
    const reached = report.kernels.filter(({ isReached }) => isReached);
    expect(reached.map(({ kernel }) => kernel).sort()).toEqual(
      report.groups[0]?.kernels.toSorted(),
    );
  });

  test('reports memory that is lost in every round, but not memory that is lost in some', async () => {
    const soakOf = (available: number[]) =>
      runOnly(/^allocations/, {
        cuda: { ...binding.cuda, availableMemory: () => available.shift() as number },
      });
    expect((await soakOf([900, 800, 700, 600])).errors).toEqual([
      '100 bytes of the GPU are not available any more after each round of calls',
    ]);
    expect(await soakOf([900, 800, 900, 600])).toMatchObject({ errors: [], findings: [] });
  });

  test('finds a wrong result among allocations in random order', async () => {
    changeRead(9, (array) => (array[0] = 12345));
    const { findings } = await runOnly(/^allocations/);
    expect(findings.map(({ difference: { elements } }) => elements)).toEqual([1]);
  });

  test('finds a code that is off by one', async () => {
    const toHost = Reflect.get(DeviceBuffer.prototype, 'toHost');
    let left = 1;
    jest.spyOn(DeviceBuffer.prototype, 'toHost').mockImplementation(function (
      this: DeviceBuffer<BufferDType>,
      ...args
    ) {
      const array = toHost.apply(this as DeviceBuffer, args);
      if (this.dtype === 'int8' && left-- > 0) array[0] = (array[0] as number) ^ 1;
      return array;
    });
    const { findings, errors } = await runOnly(/^forward, very long/);
    expect(errors).toEqual([]);
    expect(findings.map(({ difference: { result, elements } }) => [result, elements])).toEqual([
      ['y', 1],
    ]);
    expect(findings[0]?.call).toContain('codes of int8');
  });

  test('finds a wrong CPU by the formula', async () => {
    jest.spyOn(Verifier.prototype, 'check').mockImplementationOnce(() => {
      throw new WrongAnswer('the CPU is wrong at forward 5x100 float32');
    });
    const { errors, calls } = await runOnly(/^the CPU/);
    expect(calls).toBe(30);
    expect(errors).toEqual(['the CPU is wrong at forward 5x100 float32']);
  });

  test('ends a group at an error of the GPU, and names the call', async () => {
    changeRead(5, () => {
      throw new Error('no more');
    });
    const { groups } = await run(/^(graphs|two streams)/);
    expect(groups.map(({ errors }) => errors.length)).toEqual([1, 0]);
    expect(groups[0]?.errors[0]).toMatch(/^(forward|backward) \d+x\d+ .*: no more$/);
    expect(groups[0]?.calls).toBeLessThan(groups[1]?.calls ?? 0);
  });
});
