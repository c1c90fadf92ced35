#!/usr/bin/env bash
# test-native.sh [KIND [ARGUMENTS OF THE TESTS]...]: builds and runs the native unit tests. KIND is a
# value of -fsanitize, such as address,undefined or thread; or arm64: cross-built and run under QEMU
# (Debian packages g++-aarch64-linux-gnu, qemu-user-static). Without KIND, or if it is empty: a normal
# build.
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
  # Full optimisation of instrumented vector code takes minutes. With calls in place of inline checks it
  # compiles twice as fast.
  options=(-DRMSNORM_SANITIZE="$kind"
    -DCMAKE_CXX_FLAGS_RELEASE="-O1 -g1 --param asan-instrumentation-with-call-threshold=0")
fi
cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DRMSNORM_ADDON=OFF -DRMSNORM_TESTS=ON \
  -DRMSNORM_CUDA=OFF "${options[@]}"
cmake --build "$build" --target native_tests --parallel "${JOBS:-$(nproc)}"
UBSAN_OPTIONS=print_stacktrace=1 scripts/run-doctest.sh "${emulator[*]} $build/native_tests" "$@"
