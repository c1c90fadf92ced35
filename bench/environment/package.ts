import { createRequire } from 'node:module';
import path from 'node:path';

interface Manifest {
  readonly version: string;
  readonly devDependencies: Readonly<Record<'node-addon-api' | 'node-api-headers', string>>;
}

const require_ = createRequire(__filename);
const file = 'fused-rmsnorm/package.json';

/** The folder of this package. */
export const packageRoot = path.dirname(require_.resolve(file));

export const packageManifest = require_(file) as Manifest;
export const packageVersion = packageManifest.version;
