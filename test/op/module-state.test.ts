// Which forward a backward of the module belongs to, and where there is none.

import { rmsNorm, RMSNorm } from '../../lib';
import { errorOf, expectSameBits, normals } from '../support/support';

const floats = (seed: number, length: number) => Float32Array.from(normals(seed, length));

// A module keeps one forward. Whatever else would give gradients of another one, or twice the same.
describe('the forward that a backward belongs to', () => {
  const first = floats(1, 24);
  const second = floats(2, 24);
  const dy = floats(3, 24);
  const { dx, dweight } = rmsNorm.backward(dy, first, new Float32Array(8).fill(1));

  const expectRefused = (norm: RMSNorm, text: string) => {
    const grad = norm.weightGrad?.slice() ?? null;
    const error = errorOf(() => norm.backward(dy));
    expect(error).toBeInstanceOf(Error);
    expect(error.code).toBe('ERR_INVALID_STATE');
    expect(error.message).toMatch(/^RMSNorm.backward must follow one forward, but /);
    expect(error.message).toContain(text);
    expectSameBits(norm.weightGrad, grad);
  };
  const expectGradients = (norm: RMSNorm) => {
    expectSameBits(norm.backward(dy), dx);
    expectSameBits(norm.weightGrad, dweight);
  };

  test('must be there', () => {
    expectRefused(new RMSNorm(8), 'call forward first');
    const norm = new RMSNorm(8);
    norm.zeroGrad();
    expectRefused(norm, 'call forward first');
  });

  test('must not be one of several', () => {
    const norm = new RMSNorm(8);
    norm.forward(second);
    norm.forward(first);
    expectRefused(norm, 'call zeroGrad before the one to differentiate');
    expectRefused(norm, 'rmsNorm.forward and rmsNorm.backward');
    norm.forward(first);
    expectRefused(norm, 'several');
    expect(norm.weightGrad).toBeNull();
  });

  test('may become one that counts while its arguments are read', () => {
    const norm = new RMSNorm(8);
    norm.forward(second);
    norm.forward(second);
    const dims = [3, 8];
    const out = {
      dims,
      get data() {
        norm.zeroGrad();
        return new Float32Array(24);
      },
    };
    norm.forward({ data: first, dims }, { out });
    expectGradients(norm);
  });

  test('must not have had its backward', () => {
    const norm = new RMSNorm(8);
    norm.forward(first);
    expectGradients(norm);
    expectRefused(norm, 'would add the same to weightGrad again');
    norm.zeroGrad();
    expectRefused(norm, 'would add the same to weightGrad again');
    norm.forward(first);
    expectGradients(norm);
  });

  test.each([1, 2, 3])('may follow %i for inference, behind a zeroGrad', (count) => {
    const norm = new RMSNorm(8);
    for (let i = 0; i < count; ++i) norm.forward(second);
    norm.zeroGrad();
    norm.forward(first);
    expectGradients(norm);
    for (let i = 0; i < count; ++i) norm.forward(second);
    norm.zeroGrad();
    norm.forward(first);
    expectGradients(norm);
  });

  test('is not one of several because of a zeroGrad behind them', () => {
    const norm = new RMSNorm(8);
    norm.forward(second);
    norm.forward(first);
    norm.zeroGrad();
    expectRefused(norm, 'several');
  });

  test('may come before zeroGrad, as in PyTorch', () => {
    const norm = new RMSNorm(8);
    norm.forward(first);
    norm.zeroGrad();
    expectGradients(norm);
  });

  test('may follow others in place, which have no backward', () => {
    const norm = new RMSNorm(8);
    for (let i = 0; i < 2; ++i) {
      const own = second.slice();
      norm.forward(own, { out: own });
      expectRefused(norm, 'give it another out');
    }
    norm.forward(first);
    expectGradients(norm);
  });

  test('must not be followed by one in place', () => {
    const norm = new RMSNorm(8);
    const own = second.slice();
    norm.forward(first);
    norm.forward(own, { out: own });
    expectRefused(norm, 'several');
    norm.forward(first);
    expectRefused(norm, 'several');
  });

  test('is kept with a residual whatever out is', () => {
    const norm = new RMSNorm(8);
    const residual = first.slice().fill(0);
    const own = first.slice();
    const { y } = norm.forward(own, { residual, out: own });
    expect(y).toBe(own);
    expectGradients(norm);
  });

  test('stays through refused calls of forward and backward', () => {
    const norm = new RMSNorm(8);
    norm.forward(first);
    errorOf(() => norm.forward(floats(1, 9)));
    errorOf(() => norm.forward(second, { out: new Float32Array(8) }));
    errorOf(() => norm.backward(floats(1, 8)));
    errorOf(() => norm.backward(dy, { out: new Float64Array(24) }));
    expectGradients(norm);
  });

  test('cannot be taken twice by what an argument does when it is read', () => {
    const norm = new RMSNorm(8);
    norm.forward(first);
    const inner: string[] = [];
    const nosy = {
      data: dy,
      get dims() {
        inner.push(errorOf(() => norm.backward(dy)).code);
        return [3, 8];
      },
    };
    expectSameBits(norm.backward(nosy).data, dx);
    expect(inner).toEqual(['ERR_INVALID_STATE']);
    expectSameBits(norm.weightGrad, dweight);
  });
});

test('what forward has read of a tensor is what backward takes', () => {
  const norm = new RMSNorm(4);
  const [data, other, dy] = [floats(1, 8), floats(2, 8), floats(3, 8)];
  const reads: string[] = [];
  const dims = [2, 4];
  const x = {
    get data() {
      reads.push('data');
      return reads.length === 1 ? data : other;
    },
    dims,
  };
  norm.forward(x);
  dims[0] = 7;
  expect(reads).toEqual(['data']);
  expectSameBits(norm.backward(dy), rmsNorm.backward(dy, data, norm.weight).dx);
});
