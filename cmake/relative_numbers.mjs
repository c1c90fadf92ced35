// node relative_numbers.mjs OUT PTX...: writes the PTX files to OUT, one after the other, with relative
// numbers of registers and labels. nvcc numbers registers in sequence, so no two lines are equal. With
// relative numbers unrolled code repeats itself, which halves its compressed size.
// csrc/cuda/driver/ptx_numbers.cc restores the numbers.
//
// Each kind of register, and labels, has an origin, from which its numbers count. It is 0 at the start of a
// file. A line whose first number is of a kind makes that number the origin of the kind for the next lines:
// the first number is the register that an instruction writes, or the label that a line defines.

import { readFileSync, writeFileSync } from 'node:fs';

const numbered = /(%[a-z]+|\$L_)(\d+)/g;

function withRelativeNumbers(text) {
  const origins = new Map();
  const lines = text.split('\n').map((line) => {
    let first;
    const relative = line.replace(numbered, (name, kind, digits) => {
      const number = Number(digits);
      if (String(number) !== digits)
        throw new RangeError(`The PTX has a number with leading zeros: ${name}`);
      first ??= [kind, number];
      return `${kind}${number - (origins.get(kind) ?? 0)}`;
    });
    if (first !== undefined) origins.set(...first);
    return relative;
  });
  return lines.join('\n');
}

const [out, ...texts] = process.argv.slice(2);
writeFileSync(
  out,
  texts.map((file) => withRelativeNumbers(readFileSync(file, 'latin1'))).join(''),
  'latin1',
);
