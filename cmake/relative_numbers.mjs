// node relative_numbers.mjs OUT PTX...: writes the texts to OUT, one after the other, with relative numbers of
// registers and labels. nvcc counts registers up, so that no two lines are alike; relative numbers make unrolled
// code repeat itself, which halves what xz leaves of it. csrc/cuda/driver/ptx_numbers.cc takes them back.
//
// A number counts from the one that came first in the last line whose first number is of the same kind: that is
// the register that an instruction writes, and the label that a line defines. Each text starts from 0.

import { readFileSync, writeFileSync } from 'node:fs';

const numbered = /(%[a-z]+|\$L_)(\d+)/g;

function withRelativeNumbers(text) {
  const origins = new Map();
  const lines = text.split('\n').map((line) => {
    let first;
    const written = line.replace(numbered, (name, kind, digits) => {
      const number = Number(digits);
      if (String(number) !== digits)
        throw new RangeError(`The PTX has a number with zeros: ${name}`);
      first ??= [kind, number];
      return `${kind}${number - (origins.get(kind) ?? 0)}`;
    });
    if (first !== undefined) origins.set(...first);
    return written;
  });
  return lines.join('\n');
}

const [out, ...texts] = process.argv.slice(2);
writeFileSync(
  out,
  texts.map((file) => withRelativeNumbers(readFileSync(file, 'latin1'))).join(''),
  'latin1',
);
