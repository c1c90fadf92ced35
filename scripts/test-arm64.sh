#!/usr/bin/env bash
# Cross-builds the native unit tests for 64-bit Arm and runs them under QEMU. Arguments go to the
# tests. Debian packages: g++-aarch64-linux-gnu, qemu-user-static, doctest-dev.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/native-arm64

cmake -S . -B "$build" -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake \
  -DCMAKE_BUILD_TYPE=Release -DCMAKE_EXE_LINKER_FLAGS=-static \
  -DRMSNORM_ADDON=OFF -DRMSNORM_TESTS=ON -DRMSNORM_CUDA=OFF
cmake --build "$build" --target native_tests --parallel "${JOBS:-$(nproc)}"
qemu-aarch64-static "$build/native_tests" "$@"
