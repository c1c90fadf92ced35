// The addon of test/support/addon: functions that tests need and JavaScript cannot provide.

import path from 'node:path';

/** The addon's file. Tests load it, and preload it with `LD_PRELOAD` to make allocations fail. */
export const testAddon = path.join(__dirname, '../../build/Release/rmsnorm_test.node');

/** How the processor rounds floats on a thread. On arm64 one bit holds both booleans. */
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

/** The floating-point mode of this thread. */
export function getFloatingPointMode(): FloatingPointMode {
  return load().floatingPointMode();
}

/**
 * Sets the floating-point mode of this thread. Fields that `mode` leaves out get their values of a
 * new process.
 */
export function setFloatingPointMode(mode: Partial<FloatingPointMode>): void {
  const { flushToZero = false, denormalsAreZero = false, rounding = 'nearest' } = mode;
  load().setFloatingPointMode(+flushToZero, +denormalsAreZero, roundings.indexOf(rounding));
}

/**
 * Starts counting the native addon's allocations, on all threads. Those from number `first` on
 * fail, `failures` of them. The process must have preloaded {@link testAddon} and loaded the native
 * addon.
 */
export function failAllocations(first: number, failures = 1): void {
  load().failAllocations(first, failures);
}

/** Stops failing allocations. Returns the number of allocations counted. */
export function stopFailingAllocations(): number {
  return load().stopFailingAllocations();
}
