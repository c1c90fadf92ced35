import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const file = createRequire(__filename).resolve('fused-rmsnorm/package.json');

/** The folder of this package. */
export const packageRoot = path.dirname(file);

export const packageVersion = (JSON.parse(readFileSync(file, 'utf8')) as { version: string })
  .version;
