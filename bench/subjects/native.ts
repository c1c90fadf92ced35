import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

import nodeGypBuild from 'node-gyp-build';

import type { Elements } from '../cases/arrays';
import { Failure } from '../environment/failure';
import { packageRoot } from '../environment/package';

/** How bytes are stored: as `memcpy` chooses, by cached vector stores, or bypassing the caches. */
export const storeKinds = ['library', 'vector', 'streaming'] as const;

/** The benchmark's native module: see native/. */
export interface Native {
  /** Moves elements `repeats` times; returns nanoseconds. See native/bandwidth.cc. */
  move(
    kind: (typeof storeKinds)[number],
    threads: number,
    repeats: number,
    destination: Elements | Int8Array,
    a: Elements,
    b: Elements | null,
    destinationOfB: Elements | null,
  ): number;
  /** LayerNorm of the rows of x, into y: see native/calls.h. */
  layerNorm(
    x: Float32Array,
    weight: Float32Array,
    bias: Float32Array,
    y: Float32Array,
    eps: number,
    threads: number,
    variant: string,
  ): void;
  /** See native/calls.h. */
  timeLaunches(ordinal: number, hiddenSize: number, count: number): number;
}

/** Loads the module that a checkout has built, or else the package's prebuilt one. Throws Failure. */
export function loadNative(): Native {
  const built = path.join(packageRoot, 'build/Release/rmsnorm_bench.node');
  if (existsSync(built)) return createRequire(__filename)(built) as Native;
  try {
    return nodeGypBuild(path.join(packageRoot, 'bench')) as Native;
  } catch (cause) {
    const { platform, arch } = process;
    throw new Failure(
      `The benchmark's native module is missing for ${platform}-${arch}. Build it: ` +
        `npx fused-rmsnorm build. The loader says: ${(cause as Error).message}`,
      { cause },
    );
  }
}
