// One thread for each row, then for each group, then for each column: right, and slow.
#include "../../rms_norm.h"

namespace rmsnorm {

__device__ float as_float(const void* data, DType dtype, std::int64_t i) {
  if (dtype == DType::kFloat32) return static_cast<const float*>(data)[i];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(data)[i];
  float value;
  if (dtype == DType::kBFloat16) return __uint_as_float(static_cast<unsigned>(bits) << 16);
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}

__device__ std::uint16_t to_bits(float value, DType dtype) {
  std::uint16_t bits;
  if (dtype == DType::kFloat16) {
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
  }
  const unsigned wide = __float_as_uint(value);
  if (value != value) return static_cast<std::uint16_t>(wide >> 16 | 0x40u);
  return static_cast<std::uint16_t>((wide + 0x7fffu + (wide >> 16 & 1u)) >> 16);
}

__device__ void store(void* data, DType dtype, std::int64_t i, float value) {
  if (dtype == DType::kFloat32) {
    static_cast<float*>(data)[i] = value;
  } else {
    static_cast<std::uint16_t*>(data)[i] = to_bits(value, dtype);
  }
}

__device__ float round_to(float value, DType dtype) {
  if (dtype == DType::kFloat32) return value;
  const std::uint16_t bits = to_bits(value, dtype);
  return as_float(&bits, dtype, 0);
}

__device__ float weight_at(const Weight& weight, float offset, std::int64_t j) {
  if (weight.data == nullptr) return 1.0f;
  const float w = as_float(weight.data, weight.dtype, j);
  return offset == 0 ? w : w + offset;
}

// The fold over at most 16 tiles.
template <class A, class B>
__device__ float fold(std::int64_t hidden_size, const A& a, const B& b) {
  float sums[16] = {};
  const int tiles = static_cast<int>((hidden_size + 255) / 256);
  int padded = 1;
  while (padded < tiles) padded *= 2;
  for (int t = 0; t < tiles; ++t) {
    float acc[64] = {};
    for (int j = t * 256; j < t * 256 + 256 && j < hidden_size; ++j) {
      acc[j % 64] = __fmaf_rn(a(j), b(j), acc[j % 64]);
    }
    for (int s = 32; s >= 1; s /= 2) {
      for (int i = 0; i < s; ++i) acc[i] += acc[i + s];
    }
    sums[t] = acc[0];
  }
  for (int s = padded / 2; s >= 1; s /= 2) {
    for (int i = 0; i < s; ++i) sums[i] += sums[i + s];
  }
  return sums[0];
}

__device__ float rstd_of(float sum, float inverse_size, float eps) {
  return __fdiv_rn(1.0f, __fsqrt_rn(sum * inverse_size + eps));
}

extern "C" __global__ void placeholder_forward(ForwardArgs args, float inverse_size) {
  const std::int64_t row = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
  if (row >= args.shape.rows) return;
  const DType dtype = args.dtype;
  const auto x = [&](std::int64_t j) {
    return as_float(args.x.data, dtype, row * args.x.row_stride + j);
  };
  const float rstd = rstd_of(fold(args.shape.hidden_size, x, x), inverse_size, args.options.eps);
  if (args.rstd != nullptr) args.rstd[row] = rstd;
  for (std::int64_t j = 0; j < args.shape.hidden_size; ++j) {
    float y = x(j) * rstd;
    if (args.weight.data != nullptr) {
      if (args.options.cast_order == CastOrder::kLlama) y = round_to(y, dtype);
      y *= weight_at(args.weight, args.options.weight_offset, j);
    }
    store(args.y.data, dtype, row * args.y.row_stride + j, y);
  }
}

// Row by row of a group, so that dx may be dy or x.
extern "C" __global__ void placeholder_backward(BackwardArgs args, float inverse_size,
                                                std::int64_t group_rows, float* partials) {
  const std::int64_t group = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
  const DType dtype = args.dtype;
  const bool llama = args.options.cast_order == CastOrder::kLlama;
  const std::int64_t size = args.shape.hidden_size;
  for (std::int64_t row = group * group_rows;
       row < args.shape.rows && row < (group + 1) * group_rows; ++row) {
    const auto x = [&](std::int64_t j) {
      return as_float(args.x.data, dtype, row * args.x.row_stride + j);
    };
    const auto dy = [&](std::int64_t j) {
      return as_float(args.dy.data, dtype, row * args.dy.row_stride + j);
    };
    const auto g = [&](std::int64_t j) {
      if (args.weight.data == nullptr) return dy(j);
      const float product = dy(j) * weight_at(args.weight, args.options.weight_offset, j);
      return llama ? round_to(product, dtype) : product;
    };
    const float rstd = args.rstd != nullptr
                           ? args.rstd[row]
                           : rstd_of(fold(size, x, x), inverse_size, args.options.eps);
    const float cbar = fold(size, g, x) * rstd * inverse_size;
    for (std::int64_t j = 0; j < size; ++j) {
      const float xhat = x(j) * rstd;
      if (partials != nullptr) {
        float& sum = partials[group * size + j];
        const float before = row == group * group_rows ? 0.0f : sum;
        sum = __fmaf_rn(dy(j), llama ? round_to(xhat, dtype) : xhat, before);
      }
      if (args.dx.data != nullptr) {
        store(args.dx.data, dtype, row * args.dx.row_stride + j,
              rstd * __fmaf_rn(-xhat, cbar, g(j)));
      }
    }
  }
}

// Overwrites the partial rows.
extern "C" __global__ void placeholder_finish(BackwardArgs args, float* partials,
                                              std::int64_t groups) {
  const std::int64_t j = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
  const std::int64_t size = args.shape.hidden_size;
  if (j >= size) return;
  for (std::int64_t count = groups; count > 1; count = (count + 1) / 2) {
    for (std::int64_t i = 0; i < (count + 1) / 2; ++i) {
      float sum = partials[2 * i * size + j];
      if (2 * i + 1 < count) sum += partials[(2 * i + 1) * size + j];
      partials[i * size + j] = sum;
    }
  }
  float sum = groups > 0 ? partials[j] : 0.0f;
  if (args.accumulate) sum = as_float(args.dweight, args.dweight_dtype, j) + sum;
  store(args.dweight, args.dweight_dtype, j, sum);
}

}  // namespace rmsnorm
