// The folders of csrc are layers. A file may include only files of its own layer and of lower ones.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const csrc = path.join(__dirname, '../../csrc');

const cpu = ['os', 'op', 'cpu'];
const launch = ['os', 'op', 'cuda/kernels', 'cuda/driver'];
const backends = [...cpu, ...launch, 'cuda/launch', 'cuda/runtime', 'cuda/host'];

/** The layers, and the other layers whose files each may include. */
const layers: Readonly<Record<string, readonly string[]>> = {
  os: [],
  op: ['os'],
  cpu: ['os', 'op'],
  'cpu/simd': cpu,
  'cpu/kernels': [...cpu, 'cpu/simd'],
  'cpu/isa': [...cpu, 'cpu/simd', 'cpu/kernels'],
  'cuda/kernels': ['os', 'op'],
  'cuda/driver': ['os', 'op', 'cuda/kernels'],
  'cuda/launch': launch,
  'cuda/runtime': [...launch, 'cuda/launch'],
  'cuda/host': [...cpu, ...launch, 'cuda/launch', 'cuda/runtime'],
  napi: backends,
  'napi/gpu': [...backends, 'napi'],
  'napi/args': [...backends, 'napi', 'napi/gpu'],
  'napi/ops': [...backends, 'napi', 'napi/gpu', 'napi/args'],
  'napi/addon.cc': ['napi', 'napi/gpu', 'napi/args', 'napi/ops'],
};

/** Lines that break the rule, each with its reason. */
const exceptions: readonly string[] = [];

/** Included files that a build generates. */
const generated: readonly string[] = ['node_api_functions.h'];

interface Include {
  readonly from: string;
  readonly to: string;
  readonly line: string;
}

/** The path of an included file below csrc. The compiler searches csrc, too. */
function resolve(from: string, name: string): string {
  const near = path.posix.join(path.posix.dirname(from), name);
  return existsSync(path.join(csrc, near)) ? near : path.posix.normalize(name);
}

function includesOf(from: string): Include[] {
  const text = readFileSync(path.join(csrc, from), 'utf8');
  return Array.from(
    text.matchAll(/^\s*(#\s*include\s+"([^"]+)")/gm),
    ([, line = '', name = '']) => {
      return { from, to: resolve(from, name), line: `${from}: ${line}` };
    },
  );
}

const files = readdirSync(csrc, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map(({ parentPath, name }) => path.relative(csrc, path.join(parentPath, name)))
  .map((file) => file.split(path.sep).join('/'));
const includes = files
  .flatMap(includesOf)
  .filter(({ to }) => !generated.includes(path.posix.basename(to)));

/** The innermost layer that a file is in. */
function roomOf(file: string): string | undefined {
  const own = Object.keys(layers).filter((room) => file === room || file.startsWith(`${room}/`));
  return own.sort((a, b) => b.length - a.length)[0];
}

test('every file is in a layer, and no layer is empty', () => {
  expect(files.filter((file) => roomOf(file) === undefined)).toEqual([]);
  expect(new Set(files.map(roomOf))).toEqual(new Set(Object.keys(layers)));
});

test('every included file exists', () => {
  expect(includes.filter(({ to }) => !files.includes(to)).map(({ line }) => line)).toEqual([]);
});

test('no file includes a file of a higher layer', () => {
  const breaks = includes.filter(({ from, to }) => {
    const [own, other] = [roomOf(from), roomOf(to)];
    return own !== other && !layers[own ?? '']?.includes(other ?? '');
  });
  expect(breaks.map(({ line }) => line)).toEqual(exceptions);
});

test('no header includes itself through others', () => {
  const isDone = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, above: readonly string[]) => {
    if (above.includes(file)) circles.push([...above, file].join(' > '));
    if (above.includes(file) || isDone.has(file)) return;
    for (const { from, to } of includes) if (from === file) visit(to, [...above, file]);
    isDone.add(file);
  };
  for (const file of files) visit(file, []);
  expect(circles).toEqual([]);
});
