// Calls in flight may take 128 MiB for copies (maxBytesInFlight). Beyond that, calls wait before they
// copy anything. Each test has its own process, since the limit belongs to a thread of JavaScript.

import { maxBytesInFlight } from '../../lib/call/memory-limit';
import { printedBy } from '../support/processes';

jest.setTimeout(60_000); // processes take long to start on a busy machine

/** `first` has an x and an out of 64 MiB each: it reaches the limit alone. */
const prelude = `
  const { rmsNorm, allocate } = lib;
  const hiddenSize = 4096;
  const length = ${String(maxBytesInFlight / 8)};
  const weight = allocate(hiddenSize).fill(1);
  const rows = (value) => new Float32Array(length).fill(value);
  const first = () => rmsNorm.async(rows(1), weight, { out: new Float32Array(length), eps: 0 });
  const values = (y) => [...new Set(Array.from({ length: 4096 }, (_, i) => y[i * y.length / 4096]))];
  const outcome = (promise) => promise.then((result) => values(result.dx ?? result), ({ code, message }) => [code, message]);
`;

const printed = (program: string) =>
  printedBy(`${prelude} (async () => { ${program} })();`, { RMSNORM_NUM_THREADS: '2' });

test('a call within the limit copies at once, a call beyond it when it starts', async () => {
  const values = await printed(`
    const small = new Float32Array(hiddenSize).fill(2);
    const fits = new Float32Array(hiddenSize).fill(2);
    const before = rmsNorm.async(fits, weight, { eps: 12 });
    fits.fill(100);
    print(await outcome(before));
    const calls = [first(), rmsNorm.async(small, weight, { eps: 12 })];
    small.fill(6);
    print(await Promise.all(calls.map(outcome)));
  `);
  // 2 / sqrt(4 + 12); for the values that the array has later, 6 / sqrt(36 + 12).
  expect(values).toEqual([[0.5], [[1], [Math.fround(6 / Math.sqrt(48))]]]);
});

test('a call on shared memory does not count towards the limit', async () => {
  const values = await printed(`
    const order = [];
    const x = allocate(hiddenSize).fill(1);
    const out = allocate(hiddenSize);
    const calls = [
      first().then(() => order.push('first')),
      rmsNorm.async(new Float32Array(hiddenSize), weight).then(() => order.push('waits')),
      rmsNorm.async(x, weight, { out }).then(() => order.push('in place')),
    ];
    await Promise.all(calls);
    print(order.indexOf('in place') < order.indexOf('waits'));
  `);
  expect(values).toEqual([true]);
});

test('a waiting call whose arrays are detached rejects, and the calls behind it run', async () => {
  const values = await printed(`
    const gone = new Float32Array(hiddenSize).fill(1);
    const calls = [
      first(),
      rmsNorm.async(gone, weight),
      rmsNorm.backwardAsync(gone, gone, weight, null, { needsDweight: false }),
      rmsNorm.async(new Float32Array(hiddenSize).fill(3), weight, { eps: 0 }),
    ];
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    print(await Promise.all(calls.map(outcome)));
    print(await outcome(first()));
  `);
  const detached = (name: string) => [
    'ERR_INVALID_ARG_VALUE',
    expect.stringContaining(
      `'${name}' must be an array whose buffer is neither detached`,
    ) as unknown,
  ];
  expect(values).toEqual([[[1], detached('x'), detached('dy'), [1]], [1]]);
});

test('calls that reach the limit run one after another, and a single call may exceed it', async () => {
  const values = await printed(`
    print(await Promise.all([first(), first(), first()].map(outcome)));
    const long = new Float32Array(2 * length).fill(5);
    print(values(await rmsNorm.async(long, weight, { eps: 0, out: new Float32Array(2 * length) })));
    print(await outcome(first()));
  `);
  expect(values).toEqual([[[1], [1], [1]], [1], [1]]);
});

test('a hundred calls of 2 MiB stay within the limit', async () => {
  const values = await printed(`
    const x = new Float32Array(128 * hiddenSize).fill(1);
    const out = Array.from({ length: 4 }, () => new Float32Array(x.length));
    let highest = 0;
    const watch = setInterval(() => { highest = Math.max(highest, process.memoryUsage.rss()); }, 1).unref();
    const start = process.memoryUsage.rss();
    const calls = Array.from({ length: 100 }, (_, i) => rmsNorm.async(x, weight, { out: out[i % 4], eps: 0 }));
    highest = process.memoryUsage.rss();
    await Promise.all(calls);
    clearInterval(watch);
    // The copies of all would be 400 MiB.
    print((highest - start) / 2 ** 20 < ${String(maxBytesInFlight / 2 ** 20 + 48)});
    print(out.map(values));
  `);
  expect(values).toEqual([true, [[1], [1], [1], [1]]]);
});

test('a call that would fit waits behind one that does not', async () => {
  const values = await printed(`
    const order = [];
    const call = (name, length) =>
      rmsNorm.async(rows(1).subarray(0, length), weight, { out: new Float32Array(length) })
        .then(() => order.push(name));
    // The calls take three quarters of the limit, all of it, and very little.
    await Promise.all([call('first', 0.75 * length), call('long', length), call('short', hiddenSize)]);
    print(order);
  `);
  expect(values).toEqual([['first', 'long', 'short']]);
});
