#!/usr/bin/env bash
# Builds and runs the native unit tests: test-native.sh [SANITIZERS [ARGUMENTS OF THE TESTS]...]
# SANITIZERS is what -fsanitize takes, such as address,undefined or thread; empty or left out, none.
set -euo pipefail
cd "$(dirname "$0")/.."

sanitizers=${1:-}
shift || true
build=build/native-${sanitizers:-plain}
build=${build//,/-}

# Instrumented vector code takes minutes to optimise fully; with calls in place of inline checks it
# compiles twice as fast.
sanitized="-O1 -g1 --param asan-instrumentation-with-call-threshold=0"
cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DRMSNORM_ADDON=OFF -DRMSNORM_TESTS=ON \
  -DRMSNORM_CUDA=OFF \
  -DRMSNORM_SANITIZE="$sanitizers" ${sanitizers:+-DCMAKE_CXX_FLAGS_RELEASE="$sanitized"}
cmake --build "$build" --target native_tests --parallel "${JOBS:-$(nproc)}"
UBSAN_OPTIONS=print_stacktrace=1 "$build/native_tests" "$@"
