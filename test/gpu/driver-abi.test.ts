// csrc/cuda/driver/driver_api.h declares the driver's functions and constants from its
// documentation. If NVIDIA's own header is found (it comes with nvcc), a compiler compares every
// declaration.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

const declarations = path.join(__dirname, '../../csrc/cuda/driver/driver_api.h');
const ours = readFileSync(declarations, 'utf8');

function find(pattern: RegExp): string[] {
  return [...ours.matchAll(pattern)].map(([, name]) => name as string);
}
const functions = find(/\bF\((cu\w+),/g);
const constants = find(/\b(CU_?[A-Z_0-9]+) = \d+/g);
const enums = find(/\benum (CU\w+) :/g);
const opaque = find(/\busing CU\w+ = struct (CU\w+)\*;/g);

const floor = Number(
  /kOldestVersion = (\d+);/.exec(
    readFileSync(path.join(path.dirname(declarations), 'driver.h'), 'utf8'),
  )?.[1],
);

const include = [process.env['CUDA_PATH'] ?? '/usr/local/cuda', '/usr']
  .map((folder) => path.join(folder, 'include'))
  .find((folder) => existsSync(path.join(folder, 'cuda.h')));
const whereFound = include === undefined ? describe.skip : describe;

/** True if two types are passed in the same way and mean the same. */
const sameAbi = `
#include <type_traits>
template <class A, class B>
struct Same : std::bool_constant<std::is_same_v<A, B> ||
    (std::is_integral_v<A> && std::is_integral_v<B> && sizeof(A) == sizeof(B) &&
     std::is_signed_v<A> == std::is_signed_v<B>)> {};
template <>
struct Same<void, void> : std::true_type {};
template <class A, class B>
struct Same<A*, B*> : std::bool_constant<std::is_const_v<A> == std::is_const_v<B> &&
    Same<std::remove_const_t<A>, std::remove_const_t<B>>::value> {};
template <class A, class... As, class B, class... Bs>
struct Same<A (*)(As...), B (*)(Bs...)> {
  static constexpr bool all() {
    if constexpr (sizeof...(As) == sizeof...(Bs)) return (Same<As, Bs>::value && ...);
    return false;
  }
  static constexpr bool value = Same<A, B>::value && all();
};
`;

/** A program that compiles only if all declarations equal NVIDIA's. */
function comparison(header: string): string {
  const each = (names: readonly string[], text: (name: string) => string) =>
    names.map(text).join('\n');
  // Some constants are macros in NVIDIA's header, so ours get other names before it is included.
  // With the macro defined below it declares every version of a function, each under its exported
  // name.
  return `
${header.replace('#pragma once', '')}
#define RMSNORM_DECLARE(name, parameters) using Ours_##name = CUresult(*) parameters;
namespace rmsnorm::cuda { RMSNORM_DRIVER_FUNCTIONS(RMSNORM_DECLARE) }
${each(constants, (name) => `constexpr long long ours_${name} = rmsnorm::cuda::${name};`)}
#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>
${sameAbi}
${each([...enums, ...opaque], (name) => `template <> struct Same<rmsnorm::cuda::${name}, ::${name}> : std::true_type {};`)}
${each(enums, (name) => `static_assert(sizeof(rmsnorm::cuda::${name}) == sizeof(::${name}), "${name}");`)}
${each(constants, (name) => `static_assert(ours_${name} == static_cast<long long>(${name}), "${name}");`)}
${each(functions, (name) => `static_assert(Same<rmsnorm::cuda::Ours_${name}, decltype(&::${name})>::value, "${name}");`)}
`;
}

/** The compiler's messages about our declarations, or about changed ones. */
function complaints(header: string): string {
  const compiler = process.env['CXX'] ?? 'g++';
  const args = ['-std=c++20', '-fsyntax-only', '-x', 'c++', `-I${include ?? ''}`, '-'];
  const { stderr, error } = spawnSync(compiler, args, {
    input: comparison(header),
    encoding: 'utf8',
  });
  if (error !== undefined) throw error;
  return stderr;
}

test('all declarations are found', () => {
  expect(functions.length).toBeGreaterThan(45);
  expect(constants.length).toBeGreaterThan(20);
  expect([enums.length, opaque.length]).toEqual([7, 8]);
});

/**
 * The CUDA version that introduced an exported function, such as 11040. cudaTypedefs.h has a type
 * for each version of a function; cuName_v2 is the second.
 */
function versionOf(name: string, typedefs: string): number | undefined {
  const [, base = '', version = '1'] = /^(.*?)(?:_v(\d))?$/.exec(name) ?? [];
  const found = typedefs.matchAll(new RegExp(`\\*PFN_${base}_v(\\d+)\\)`, 'g'));
  const versions = [...new Set(Array.from(found, ([, cuda]) => Number(cuda)))];
  return versions.sort((a, b) => a - b)[Number(version) - 1];
}

whereFound('compared with cuda.h', () => {
  const typedefs = readFileSync(path.join(include ?? '', 'cudaTypedefs.h'), 'utf8');

  test('every function exists in the oldest supported driver', () => {
    const versions = functions.map((name) => [name, versionOf(name, typedefs) ?? NaN] as const);
    expect(versions.filter(([, version]) => !(version <= floor))).toEqual([]);
    expect(Math.max(...versions.map(([, version]) => version))).toBe(floor);
  });

  test.each([
    ['cuInit', 2000],
    ['cuMemAlloc_v2', 3020],
    ['cuStreamBeginCapture_v2', 10010],
    ['cuDevicePrimaryCtxRelease_v2', 11000],
    ['cuGraphInstantiateWithFlags', 11040],
    ['cuEventElapsedTime_v2', 12080],
    ['cuNoSuchFunction', undefined],
  ])('%s exists since CUDA %p', (name, version) => {
    expect(versionOf(name, typedefs)).toBe(version);
  });

  test('every function and every constant is the same', () => {
    expect(complaints(ours)).toBe('');
  });

  test.each([
    [
      'a narrower parameter',
      'cuInit, (unsigned flags)',
      'cuInit, (unsigned short flags)',
      'cuInit',
    ],
    [
      'a signed parameter',
      'std::size_t bytes, unsigned flags',
      'long bytes, unsigned flags',
      'cuMemHostAlloc',
    ],
    [
      'a missing parameter',
      'CUstream stream, CUevent event, unsigned flags',
      'CUstream stream, CUevent event',
      'cuStreamWaitEvent',
    ],
    [
      'a wrong order of parameters',
      'CUevent event, CUstream stream',
      'CUstream stream, CUevent event',
      'cuEventRecord',
    ],
    [
      'a pointer instead of a value',
      'cuGraphDestroy, (CUgraph graph)',
      'cuGraphDestroy, (CUgraph * graph)',
      'cuGraphDestroy',
    ],
    [
      'a pointer without const',
      'cuModuleLoadData, (CUmodule * module, const void* image)',
      'cuModuleLoadData, (CUmodule * module, void* image)',
      'cuModuleLoadData',
    ],
    [
      'a different callback',
      'CUstream stream, CUresult status, void* user_data',
      'CUstream stream, void* user_data',
      'cuStreamAddCallback',
    ],
    [
      'a different value',
      'MULTIPROCESSOR_COUNT = 16',
      'MULTIPROCESSOR_COUNT = 17',
      'CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT',
    ],
    [
      'a different flag',
      'CU_MEMHOSTALLOC_PORTABLE = 1',
      'CU_MEMHOSTALLOC_PORTABLE = 2',
      'CU_MEMHOSTALLOC_PORTABLE',
    ],
    ['a wider enum', 'enum CUresult : int', 'enum CUresult : long', 'CUresult'],
  ])('%s is detected', (_, from, to, name) => {
    const changed = ours.replaceAll(/\\\n/g, '').replaceAll(/ +/g, ' ').replace(from, to);
    expect(changed).toContain(to);
    expect(complaints(changed)).toMatch(new RegExp(`static assertion failed.*: "?${name}\\b`));
  });
});
