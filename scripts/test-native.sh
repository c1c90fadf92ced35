#!/usr/bin/env bash
# Builds and runs the native unit tests: test-native.sh [KIND [ARGUMENTS OF THE TESTS]...]
# KIND is what -fsanitize takes, such as address,undefined or thread; or arm64: cross-built, under QEMU
# (Debian packages g++-aarch64-linux-gnu, qemu-user-static). Empty or left out, neither.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=${1:-}
shift || true
build=build/native-${kind:-plain}
build=${build//,/-}

options=() emulator=()
if [[ $kind == arm64 ]]; then
  options=(-DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake -DCMAKE_EXE_LINKER_FLAGS=-static)
  emulator=(qemu-aarch64-static)
elif [[ -n $kind ]]; then
  # Instrumented vector code takes minutes to optimise fully; with calls in place of inline checks it
  # compiles twice as fast.
  options=(-DRMSNORM_SANITIZE="$kind"
    -DCMAKE_CXX_FLAGS_RELEASE="-O1 -g1 --param asan-instrumentation-with-call-threshold=0")
fi
cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DRMSNORM_ADDON=OFF -DRMSNORM_TESTS=ON \
  -DRMSNORM_CUDA=OFF "${options[@]}"
cmake --build "$build" --target native_tests --parallel "${JOBS:-$(nproc)}"
UBSAN_OPTIONS=print_stacktrace=1 scripts/run-doctest.sh "${emulator[*]} $build/native_tests" "$@"
