import type { Rival } from './rival';

/** All that the benchmark knows. */
export const rivals: readonly Rival[] = [];
