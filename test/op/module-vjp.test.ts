// A module stores nothing of its calls: each backward holds what its own vjp call needs.

import { rmsNorm, RMSNorm } from '../../lib';
import { detach, errorOf, expectSameBits, normals } from '../support/support';

const floats = (seed: number, length: number) => Float32Array.from(normals(seed, length));

const x = floats(1, 24);
const other = floats(2, 24);
const dy = floats(3, 24);
const ofX = rmsNorm.backward(dy, x, new Float32Array(8).fill(1));
const ofOther = rmsNorm.backward(dy, other, new Float32Array(8).fill(1));
const sums = (a: Float32Array, b: Float32Array) => a.map((value, i) => value + (b[i] as number));

describe('backward functions', () => {
  test('of two vjp calls run in either order, and add to weightGrad', () => {
    for (const isReversed of [false, true]) {
      const norm = new RMSNorm(8);
      const made = [norm.vjp(x), norm.vjp(other)];
      const order = isReversed ? [1, 0] : [0, 1];
      for (const i of order) {
        expectSameBits(made[i]?.backward(dy) ?? null, [ofX.dx, ofOther.dx][i] ?? null);
      }
      const [first, second] = isReversed ? [ofOther, ofX] : [ofX, ofOther];
      expectSameBits(norm.weightGrad, sums(first.dweight, second.dweight));
    }
  });

  test('do not depend on later calls of forward and zeroGrad', () => {
    const norm = new RMSNorm(8);
    const { backward } = norm.vjp(x);
    norm.forward(other);
    norm.zeroGrad();
    norm.forward(other.slice(), { out: other.slice() });
    expectSameBits(backward(dy), ofX.dx);
    expectSameBits(norm.weightGrad, ofX.dweight);
  });

  test('add to weightGrad at every run', () => {
    const norm = new RMSNorm(8);
    const { backward } = norm.vjp(x);
    expectSameBits(backward(dy), ofX.dx);
    expectSameBits(backward(dy), ofX.dx);
    expectSameBits(norm.weightGrad, sums(ofX.dweight, ofX.dweight));
  });

  test('can run inside one another', () => {
    const norm = new RMSNorm(8);
    const { backward } = norm.vjp(x);
    const nosy = {
      data: dy,
      get dims() {
        backward(dy);
        return [3, 8];
      },
    };
    expectSameBits(backward(nosy), ofX.dx);
    expectSameBits(norm.weightGrad, sums(ofX.dweight, ofX.dweight));
  });

  test('add dsum, and give no dx if it is not needed', () => {
    const norm = new RMSNorm(8);
    const { backward } = norm.vjp(x);
    const expected = rmsNorm.backward(dy, x, norm.weight, null, { dsum: other });
    expectSameBits(backward(dy, { dsum: other }), expected.dx);
    const none: null = backward(dy, { needsDx: false });
    expect(none).toBeNull();
    expectSameBits(norm.weightGrad, sums(ofX.dweight, ofX.dweight));
  });

  test('write to dxOut, which may be dy', () => {
    const { backward } = new RMSNorm(8).vjp(x);
    const dxOut = new Float32Array(24);
    expect(backward(dy, { dxOut })).toBe(dxOut);
    const own = dy.slice();
    expect(backward(own, { dxOut: own })).toBe(own);
    for (const dx of [dxOut, own]) expectSameBits(dx, ofX.dx);
  });

  test('change nothing when they refuse their arguments', () => {
    const norm = new RMSNorm(8);
    const { backward } = norm.vjp(x);
    expect(errorOf(() => backward(floats(3, 16))).code).toBe('ERR_OUT_OF_RANGE');
    const unknown = errorOf(() => backward(dy, { out: dy } as never));
    expect(unknown.message).toContain(
      "Unknown option 'out'; did you mean 'dxOut'? The options are dsum, dxOut, needsDx",
    );
    expect(norm.weightGrad).toBeNull();
    backward(dy);
    const grad = norm.weightGrad;
    errorOf(() => backward(dy, { dxOut: new Float64Array(24) }));
    expect(norm.weightGrad).toBe(grad);
    expectSameBits(grad, ofX.dweight);
  });

  test('refuse an x that was detached', () => {
    const norm = new RMSNorm(8);
    const own = x.slice();
    const { backward } = norm.vjp(own);
    detach(own);
    expect(errorOf(() => backward(dy)).code).toBe('ERR_INVALID_ARG_VALUE');
    expect(norm.weightGrad).toBeNull();
  });

  test('use the data and dims that vjp has read', () => {
    const norm = new RMSNorm(8);
    const reads: string[] = [];
    const dims = [3, 8];
    const { backward } = norm.vjp({
      get data() {
        reads.push('data');
        return reads.length === 1 ? x : other;
      },
      dims,
    });
    dims[0] = 7;
    expect(reads).toEqual(['data']);
    expectSameBits(backward(dy).data, ofX.dx);
  });
});

describe('outputs', () => {
  test('that are passed to a call are returned', () => {
    const norm = new RMSNorm(8);
    const out = new Float32Array(24);
    expect(norm.forward(x, { out })).toBe(out);
    expectSameBits(out, rmsNorm(x, norm.weight));
    expect(norm.vjp(x, { out }).y).toBe(out);
  });

  const inPlace: [string, (array: Float32Array) => unknown][] = [
    ['the same array', (array) => array],
    ['another array of the same memory', (array) => array.subarray()],
    ['a tensor of the array', (array) => ({ data: array, dims: [3, 8] })],
  ];
  test.each(inPlace)('may be x in forward, but not in vjp: %s', (_, make) => {
    const norm = new RMSNorm(8);
    const own = x.slice();
    const out = make(own) as Float32Array;
    const error = errorOf(() => norm.vjp(own, { out }));
    expect(error.code).toBe('ERR_INVALID_ARG_VALUE');
    expect(error.message).toContain("The argument 'out' must not share memory with x");
    expectSameBits(own, x);
    norm.forward(own, { out });
    expectSameBits(own, rmsNorm(x, norm.weight));
  });

  test('are not written by a forward that refuses its arguments', () => {
    const norm = new RMSNorm(8);
    const out = new Float32Array(9).fill(7);
    expect(errorOf(() => norm.forward(floats(3, 9), { out })).code).toBe('ERR_OUT_OF_RANGE');
    expect(errorOf(() => norm.forward({ data: x, dims: [8, 3] })).code).toBe('ERR_OUT_OF_RANGE');
    expect(out).toEqual(new Float32Array(9).fill(7));
  });
});
