#!/usr/bin/env bash
# Builds and runs the tests of the simulated CUDA driver. Then runs the native tests of the CUDA path on
# it, which scripts/test-native.sh has built. Needs doctest and the kernels of the addon's build.
set -euo pipefail
cd "$(dirname "$0")/.."

cmake -S test/cudasim -B build/cudasim -DCMAKE_BUILD_TYPE=Release
cmake --build build/cudasim --parallel "${JOBS:-$(nproc)}"
scripts/run-doctest.sh build/cudasim/cudasim_tests "$@"
for capability in 7.5 8.0 9.0 15.0; do
  RMSNORM_LIBCUDA=build/cudasim/lib/libcuda.so.1 CUDASIM_DEVICES=2 CUDASIM_CC=$capability \
    scripts/run-doctest.sh build/native-plain/native_tests --test-case='cuda*' "$@"
done
