// What the benchmark's rivals compute, against the oracle.

import { rivals } from '../bench/rivals';
import type { LoadedRival } from '../bench/rivals/rival';
import { expectRight, ragged } from './rivals';

const ops = ['forward', 'backward', 'residual'] as const;

describe.each(rivals)('$name', (rival) => {
  let loaded: LoadedRival;
  beforeAll(async () => {
    loaded = await rival.load();
  });
  afterAll(() => loaded.close());

  test('says what it is', () => {
    expect(loaded.version).toMatch(/^v?\d+\.\d+/);
    expect(rival.description).not.toBe('');
    expect(rival.outputs.length).toBeGreaterThan(0);
  });

  describe.each(rival.outputs)('output %s', (outputs) => {
    const supported = ops.filter((op) =>
      rival.supports({ op, dtype: 'float32', rows: 2, hiddenSize: 8 }),
    );
    describe.each(supported)('%s', (op) => {
      test.each(ragged)('%d x %d', (rows, hiddenSize) =>
        expectRight(rival, loaded, { op, dtype: 'float32', rows, hiddenSize }, outputs),
      );
    });
  });
});
