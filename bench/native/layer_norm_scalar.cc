// LayerNorm in scalar loops, for processors without any of the vector variants.

#include <cmath>

#include "layer_norm.h"

namespace rmsnorm::bench {
namespace {

void layer_norm_rows(const LayerNormArgs& args, cpu::Range rows, cpu::Stores) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const float inverse_size = inverse(hidden_size);
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    const float* x = args.x + row * hidden_size;
    float* y = args.y + row * hidden_size;
    float sum = 0;
    for (std::int64_t j = 0; j < hidden_size; ++j) sum += x[j];
    const float mean = sum * inverse_size;
    float squares = 0;
    for (std::int64_t j = 0; j < hidden_size; ++j) squares += (x[j] - mean) * (x[j] - mean);
    const float rstd = 1 / std::sqrt(squares * inverse_size + args.eps);
    for (std::int64_t j = 0; j < hidden_size; ++j) {
      y[j] = (x[j] - mean) * rstd * args.weight[j] + args.bias[j];
    }
  }
}

}  // namespace

const LayerNormRows kLayerNormScalar = layer_norm_rows;

}  // namespace rmsnorm::bench
