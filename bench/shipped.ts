import { createRequire } from 'node:module';

/** The package as it ships, which is what is timed: compiled, not transformed on the fly. */
export const shipped = createRequire(__filename)('../dist/index.js') as typeof import('../lib');
