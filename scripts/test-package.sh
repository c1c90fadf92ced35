#!/usr/bin/env bash
# Packs the package and uses it as a user would: installed from the tarball into an empty folder, with
# nothing but Node.js and npm at hand. Needs `npm run prebuild` and `npm run build:ts` before.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tarball=$folder/$(npm pack --silent --pack-destination "$folder")
mkdir "$folder/tools" "$folder/app"
for tool in node npm sh; do ln -s "$(command -v $tool)" "$folder/tools/$tool"; done
cd "$folder/app"
echo '{ "private": true }' >package.json
PATH=$folder/tools npm install --ignore-scripts --silent "$tarball"

cat >check.cjs <<'JS'
const { rmsNorm, RMSNorm } = require('fused-rmsnorm');
const x = Float32Array.of(3, 4);
const { y, rstd } = rmsNorm.forward(x, Float32Array.of(1, 2), { eps: 0 });
const { dx } = rmsNorm.backward(Float32Array.of(1, 0), x, Float32Array.of(1, 2), rstd);
const expected = [3 / Math.sqrt(12.5), 8 / Math.sqrt(12.5), 16 / 12.5 ** 1.5 / 2];
const actual = [...y, dx[0]];
if (!actual.every((value, i) => Math.abs(value - expected[i]) < 1e-6)) {
  throw new Error(`expected ${expected}, got ${actual}`);
}
new RMSNorm(2).forward(x);
JS
cat >check.mjs <<'JS'
import { createRequire } from 'node:module';
import { RMSNorm } from 'fused-rmsnorm';
if (createRequire(import.meta.url)('fused-rmsnorm').RMSNorm !== RMSNorm) {
  throw new Error('import and require give two copies');
}
JS
cat >check-tfjs.mjs <<'JS'
import { env, ones } from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { rmsNorm } from 'fused-rmsnorm/tfjs';
env().set('IS_TEST', true); // no advertisement
const y = rmsNorm(ones([2, 4]), ones([4]), { eps: 3 }).dataSync();
if (y.length !== 8 || y.some((value) => value !== 0.5)) throw new Error(`expected 0.5, got ${y}`);
JS
PATH=$folder/tools node check.cjs
PATH=$folder/tools node check.mjs
if PATH=$folder/tools node -e "require('fused-rmsnorm/tfjs')" 2>missing.log ||
  ! grep -q "Cannot find module '@tensorflow/tfjs-core'" missing.log; then
  echo 'fused-rmsnorm/tfjs does not say that it needs @tensorflow/tfjs-core'
  exit 1
fi
ln -s "$root/node_modules/@tensorflow" node_modules/@tensorflow
PATH=$folder/tools node check-tfjs.mjs
echo "$(basename "$tarball"), $(du -k "$tarball" | cut -f1) KiB: installed, required and imported"
