// The addon of test/support/addon: what tests do to a process that JavaScript cannot.

import path from 'node:path';

/** The file: to be required, and, for allocations that fail, preloaded by `LD_PRELOAD`. */
export const testAddon = path.join(__dirname, '../../build/Release/rmsnorm_test.node');

/** How the processor rounds floats for a thread. On arm64 both booleans are one bit. */
export interface FloatingPointMode {
  readonly flushToZero: boolean;
  readonly denormalsAreZero: boolean;
  readonly rounding: Rounding;
}

const roundings = ['nearest', 'down', 'up', 'zero'] as const;

export type Rounding = (typeof roundings)[number];

interface TestAddon {
  failAllocations(first: number, failures: number): void;
  stopFailingAllocations(): number;
  floatingPointMode(): FloatingPointMode;
  setFloatingPointMode(flushToZero: number, denormalsAreZero: number, rounding: number): void;
}

let loaded: TestAddon | undefined;

function load(): TestAddon {
  if (loaded === undefined) {
    const module = { exports: {} };
    process.dlopen(module, testAddon);
    loaded = module.exports as TestAddon;
  }
  return loaded;
}

/** Of this thread. */
export function getFloatingPointMode(): FloatingPointMode {
  return load().floatingPointMode();
}

/** Sets it for this thread; what `mode` leaves out is as in a new process. */
export function setFloatingPointMode(mode: Partial<FloatingPointMode>): void {
  const { flushToZero = false, denormalsAreZero = false, rounding = 'nearest' } = mode;
  load().setFloatingPointMode(+flushToZero, +denormalsAreZero, roundings.indexOf(rounding));
}

/**
 * Counts the allocations of the native addon from now on, on all threads, and fails `failures` of
 * them from the first-th on: by default one. The process must have preloaded {@link testAddon} and
 * loaded the addon.
 */
export function failAllocations(first: number, failures = 1): void {
  load().failAllocations(first, failures);
}

/** Fails no more. Returns how many allocations there were. */
export function stopFailingAllocations(): number {
  return load().stopFailingAllocations();
}
