// LayerNorm of float32 rows with the same vectors, threads and stores as RMSNorm (csrc/cpu). The
// benchmark compares RMSNorm with it; not part of the package.
//
//   mean[r] = mean_j(x[r,j])
//   rstd[r] = 1 / sqrt(mean_j((x[r,j] - mean[r])^2) + eps)
//   y[r,j]  = (x[r,j] - mean[r]) * rstd[r] * weight[j] + bias[j]
//
// A row is read from memory once, then from the nearest cache for its deviations and for y.
#pragma once

#include <cstdint>

#include "cpu/variant.h"

namespace rmsnorm::bench {

struct LayerNormArgs {
  Shape shape;
  const float* x;       // (rows, hidden_size)
  const float* weight;  // (hidden_size)
  const float* bias;    // (hidden_size)
  float* y;             // (rows, hidden_size)
  float eps;
};

// Computes y of `rows`, for one instruction set.
using LayerNormRows = void (*)(const LayerNormArgs&, cpu::Range rows, cpu::Stores);

extern const LayerNormRows kLayerNormScalar;
extern const LayerNormRows kLayerNormAvx2;
extern const LayerNormRows kLayerNormAvx512;
extern const LayerNormRows kLayerNormNeon;

}  // namespace rmsnorm::bench
