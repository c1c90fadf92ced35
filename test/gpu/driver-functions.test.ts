// csrc/cuda/driver/driver_api.h lists the driver functions that the addon calls. A driver without
// one of them is refused, so the list must have no unused function.

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const folders = ['cuda', 'napi'].map((name) => path.join(__dirname, '../../csrc', name));

test('every driver function of the list is called', () => {
  const list = 'driver/driver_api.h';
  const texts = folders.flatMap((folder) =>
    readdirSync(folder, { encoding: 'utf8', recursive: true })
      .filter((name) => /\.(h|cc)$/.test(name))
      .map((name) => ({ name, text: readFileSync(path.join(folder, name), 'utf8') })),
  );
  const declared = texts.find(({ name }) => name === list)?.text ?? '';
  const functions = [...declared.matchAll(/\bF\((cu\w+),/g)].map(([, name]) => name as string);
  expect(functions.length).toBeGreaterThan(40);
  const calls = texts.filter(({ name }) => name !== list).map(({ text }) => text);
  const words = new Set(
    calls
      .join('\n')
      .replaceAll(/\/\/.*/g, '')
      .match(/\bcu\w+/g),
  );
  expect(functions.filter((name) => !words.has(name))).toEqual([]);
});
