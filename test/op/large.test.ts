// A real call on more than 2^31 elements: their offsets do not fit in 32 bits.

import os from 'node:os';

import { rmsNorm, toBFloat16 } from '../../lib';
import { expectSameBits, normals } from '../support/support';

const hiddenSize = 4096;
const rows = 2 ** 19 + 3;
const bytes = rows * hiddenSize * 2;

// If memory is short, the system ends the process. 2 GiB are for everything else.
const enough = os.freemem() > bytes + 2 ** 31;
if (!enough) {
  console.warn(
    `Skipped: a call on ${bytes} bytes, since this machine has ${os.freemem()} bytes free`,
  );
}

(enough ? test : test.skip)(
  'a call in place on 2^31 + 12288 elements gives the bits of a small call',
  () => {
    const pattern = toBFloat16(Float32Array.from(normals(1, 251 * hiddenSize)));
    const weight = toBFloat16(Float32Array.from(normals(2, hiddenSize, 0.5, 1)));
    const x = new Uint16Array(rows * hiddenSize);
    // Rows repeat with a period that divides no power of two, so a wrapped offset meets another row.
    for (let begin = 0; begin < x.length; begin += pattern.length) {
      x.set(pattern.subarray(0, Math.min(pattern.length, x.length - begin)), begin);
    }
    const options = { dtype: 'bfloat16' } as const;
    const expected = rmsNorm(pattern, weight, options);
    rmsNorm(x, weight, { ...options, out: x });
    const row = (array: Uint16Array, r: number) =>
      array.subarray(r * hiddenSize, (r + 1) * hiddenSize);
    for (const middle of [0, 2 ** 18, 2 ** 19]) {
      for (let r = Math.max(0, middle - 3); r < Math.min(rows, middle + 3); ++r) {
        expectSameBits(row(x, r), row(expected, r % 251));
      }
    }
  },
);
