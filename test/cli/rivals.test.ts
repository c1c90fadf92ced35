/* @jest-environment ./test/support/shared-realm.ts */
// Tests the results of the benchmark's rivals against the oracle.

import { dtypes } from '../../bench/cases/cases';
import { rivals } from '../../bench/subjects/rivals';
import type { LoadedRival } from '../../bench/subjects/rivals/rival';
import { expectRight, ragged } from '../support/rivals';

const ops = ['forward', 'backward', 'residual'] as const;

// PyTorch and the unfused rival have their own files: rivals-pytorch.test.ts and
// rivals-unfused.test.ts.
const here = rivals.filter(({ name }) => name !== 'pytorch' && name !== 'unfused');

describe.each(here)('$name', (rival) => {
  let loaded: LoadedRival;
  beforeAll(async () => {
    loaded = await rival.load();
  });
  afterAll(() => loaded.close?.());

  test('has a version, a description and an output mode', () => {
    expect(loaded.version).toMatch(/^v?\d+\.\d+/);
    expect(rival.description).not.toBe('');
    expect(rival.outputs.length).toBeGreaterThan(0);
  });

  const supported = ops
    .flatMap((op) => dtypes.map((dtype) => ({ op, dtype, castOrder: 'llama' as const })))
    .filter((kind) => rival.supports({ ...kind, rows: 2, hiddenSize: 8 }));

  describe.each(rival.outputs)('with %s outputs', (outputs) => {
    describe.each(supported)('$op $dtype', (kind) => {
      test.each(ragged)('is right for %d x %d', (rows, hiddenSize) =>
        expectRight(rival, loaded, { ...kind, rows, hiddenSize }, outputs),
      );
    });
  });
});
