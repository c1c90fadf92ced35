// The names of compiled kernels (cmake/kernel_names.cmake): they change with the code, but not with
// comments and layout.

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const names = path.join(__dirname, '../../cmake/kernel_names.cmake');

const source = `// A kernel.
#include <cstdint>

#include "parts/inner.h"
#define NAME(a) name_of(#a)
#define TWO(a, b) \\
  a + b

/* It says where
   to look. */
const char* const kUrl = "http://x//y  /* no comment */ \\" // none either";
constexpr int kMany = 1'000'000;  // it's a lot
constexpr char kQuote = '"', kBackslash = '\\\\';
__global__ void forward(int* x) { x[0] = kMany - +kQuote; }
`;
const inner = `#pragma once
#include "../outer.h"  // for the rest
inline int inner() { return 1; }
`;
const outer = 'inline int outer() { return 2; }\n';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'rmsnorm-names-'));
  mkdirSync(path.join(folder, 'parts'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** The name for a source, its headers and nvcc's options. */
function nameOf(
  files: { source?: string; inner?: string; outer?: string },
  options = '-O3',
): string {
  writeFileSync(path.join(folder, 'forward.cu'), files.source ?? source);
  writeFileSync(path.join(folder, 'parts/inner.h'), files.inner ?? inner);
  writeFileSync(path.join(folder, 'outer.h'), files.outer ?? outer);
  const script = `
    cmake_minimum_required(VERSION 3.22)
    include(${names})
    included_files(${folder}/forward.cu files)
    fatbin_name("${options}" "\${files}" name)
    message("\${name}")`;
  writeFileSync(path.join(folder, 'script.cmake'), script);
  const args = ['-P', path.join(folder, 'script.cmake')];
  // message() of a script prints on stderr.
  return execFileSync('sh', ['-c', 'exec cmake "$@" 2>&1', 'sh', ...args], {
    encoding: 'utf8',
  }).trim();
}

/** The source with one replacement; `from` must occur in it once. */
function edited(from: string, to: string): string {
  expect(source.split(from).length).toBe(2);
  return source.replace(from, () => to);
}

test('a name consists of the name of the source and 16 digits of a hash', () => {
  expect(nameOf({})).toMatch(/^forward\.[0-9a-f]{16}\.fatbin$/);
});

test.each([
  ['a line comment', 'A kernel.', 'The kernel; "it\'s" [all] there is.'],
  ['a block comment', 'where\n', "where (don't) /*\n\n"],
  ['a comment after code', "it's a lot", 'no quote'],
  ['a removed comment', "  // it's a lot", ''],
  ['an added comment', 'kMany - ', 'kMany /* less */ - '],
  ['the comment of a directive', '#include <cstdint>', '#include <cstdint>  // of integers'],
  ['an include in a comment', '// A kernel.', '/* Such as\n#include "none.h"\n*/'],
  ['empty lines', '\n\n/* It', '\n\n\n\n/* It'],
  ['indentation', '__global__', '   __global__'],
  ['a broken line', 'forward(int* x) { ', 'forward(int* x) {\n  '],
  ['a macro joined into one line', 'TWO(a, b) \\\n  a', 'TWO(a, b) a'],
])('a name does not change with comments and layout: %s', (_, from, to) => {
  expect(nameOf({ source: edited(from, to) })).toBe(nameOf({}));
});

test('a name does not change with the line ends of Windows or with comments in headers', () => {
  const name = nameOf({});
  expect(nameOf({ source: source.replaceAll('\n', '\r\n') })).toBe(name);
  expect(nameOf({ inner: inner.replace('for the rest', 'for all') })).toBe(name);
  expect(nameOf({ outer: `// Outer.\n${outer}` })).toBe(name);
});

test.each([
  ['a token', 'kMany - +kQuote', 'kMany + +kQuote'],
  ['tokens without space between them', '- +kQuote', '-+kQuote'],
  ['two words that become one', 'constexpr int kMany', 'constexprint kMany'],
  ['text after // in a string', '//y', '//z'],
  ['white space in a string', '  /* no comment */', ' /* no comment */'],
  ['a comment in a string', '/* no comment */', '/* comment */'],
  ['the end of a string with a quote in it', 'none either', 'or none'],
  ['digits between quotes', "1'000'000", "1'000'001"],
  ['a character', `'"'`, `'#'`],
  ['a macro that takes no arguments', 'NAME(a)', 'NAME (a)'],
  ['a directive that swallows the next line', '(#a)\n', '(#a) '],
  ['code that becomes a comment', 'constexpr char kQuote', '// constexpr char kQuote'],
])('a name changes with the code: %s', (_, from, to) => {
  expect(nameOf({ source: edited(from, to) })).not.toBe(nameOf({}));
});

test('a name changes with the code of headers and with options', () => {
  const name = nameOf({});
  expect(nameOf({ inner: inner.replace('return 1', 'return 3') })).not.toBe(name);
  expect(nameOf({ outer: outer.replace('return 2', 'return 3') })).not.toBe(name);
  expect(nameOf({}, '-O2')).not.toBe(name);
});

test.each([
  ['a raw string', 'R"(" // no comment)"', 'R"(" // a string)"'],
  ['a line number', '__LINE__; // here', '\n\n__LINE__; // here'],
])('a name depends on all text of a source with %s', (_, before, after) => {
  expect(nameOf({ source: before })).not.toBe(nameOf({ source: after }));
});
