// Bundles bench/cli.ts and the packages that only the program needs into dist/bench/cli.js, and writes
// their licences beside it. So users get the program without installing these packages.

import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { buildSync } from 'esbuild';

import { optionalPackages } from '../bench/environment/optional-packages';
import { dependencies, name } from '../package.json';
import { licencesOf, packageFolder } from './licences';

const root = path.join(__dirname, '..');
const folder = 'dist/bench';

// A file that an earlier build left there would be packed.
rmSync(path.join(root, folder), { recursive: true, force: true });
const { metafile } = buildSync({
  absWorkingDir: root,
  entryPoints: ['bench/cli.ts'],
  outdir: folder,
  // The paths of tsconfig.json lead to lib/. The program must load the package as users install it.
  tsconfig: 'tsconfig.bench.json',
  bundle: true,
  platform: 'node',
  target: 'node20',
  external: [name, ...Object.keys(dependencies), ...optionalPackages],
  metafile: true,
  logLevel: 'warning',
});

const bundled = Object.values(metafile.outputs)
  .flatMap(({ inputs }) => Object.keys(inputs))
  .map(packageFolder)
  .filter((each) => each !== undefined);
const folders = Array.from(new Set(bundled), (each) => path.join(root, each));
writeFileSync(path.join(root, folder, 'LICENSES.txt'), licencesOf(folders));
