import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const file = createRequire(__filename).resolve('fused-rmsnorm/package.json');

/** The folder of this package. */
export const packageRoot = path.dirname(file);

interface Manifest {
  readonly version: string;
  readonly devDependencies: Readonly<Record<'node-addon-api' | 'node-api-headers', string>>;
}

export const packageManifest = JSON.parse(readFileSync(file, 'utf8')) as Manifest;

export const packageVersion = packageManifest.version;
