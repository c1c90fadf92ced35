// The operator, as every backend sees it: its formulas, its types and its arguments.
//
//   rstd[r]    = 1 / sqrt(mean_j(x[r,j]^2) + eps)
//   xhat[r,j]  = x[r,j] * rstd[r]
//   y[r,j]     = xhat[r,j] * w[j]                    w = weight + weight_offset, or 1 without
//   weight
//
//   g          = dy * w
//   dx[r,:]    = rstd[r] * (g[r,:] - xhat[r,:] * mean_j(g[r,j] * xhat[r,j]))
//   dweight[j] = sum_r dy[r,j] * xhat[r,j]
//
// r counts rows (M), j counts columns (H = hidden_size). How these are rounded and in which order
// they are summed is fixed in fold.h, so that every backend gives the same bits.
// Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
#pragma once

#include <cstdint>

namespace rmsnorm {

enum class DType : std::uint8_t { kFloat32, kFloat16, kBFloat16 };

// Bits of an IEEE 754 binary16 and of a bfloat16: types of their own, so that a kernel's
// instantiation knows which of the two formats its 16-bit memory holds.
struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

// Where a 16-bit result is rounded; T() rounds to the tensor's type. Equal for float32.
enum class CastOrder : std::uint8_t {
  kLlama,  // y = T(T(xhat) * w), g = T(dy * w), dweight sums dy * T(xhat): what Llama code does
  kFloat,  // y = T(xhat * w), nothing else rounded: what fused kernels do
};

struct Shape {
  std::int64_t rows;         // M >= 0
  std::int64_t hidden_size;  // H >= 1
};

struct Options {
  float eps = 1e-6f;           // finite, >= 0
  float weight_offset = 0.0f;  // finite; added to weight in float32
  CastOrder cast_order = CastOrder::kLlama;
};

// A matrix of (rows, hidden_size) elements whose rows are contiguous and row_stride elements apart.
struct ConstRows {
  const void* data;
  std::int64_t row_stride;
};
struct Rows {
  void* data;
  std::int64_t row_stride;
};

struct Weight {
  const void* data = nullptr;     // (hidden_size), or null for ones
  DType dtype = DType::kFloat32;  // the tensors' own type or float32
};

struct ForwardArgs {
  Shape shape;
  Options options;
  DType dtype;  // of x and y
  ConstRows x;
  Weight weight;
  Rows y;       // may be exactly x, and must not overlap anything else
  float* rstd;  // (rows), or null if not wanted
};

struct BackwardArgs {
  Shape shape;
  Options options;
  DType dtype;  // of dy, x and dx
  ConstRows dy;
  ConstRows x;
  Weight weight;
  const float* rstd;    // (rows), or null to recompute it from x: the same bits
  Rows dx;              // data null if not wanted; may be exactly dy or x
  void* dweight;        // (hidden_size), or null if not wanted
  DType dweight_dtype;  // the tensors' own type or float32
  bool accumulate;      // dweight = T(float(dweight) + sum) rather than T(sum)
};

static constexpr std::int64_t element_size(DType dtype) { return dtype == DType::kFloat32 ? 4 : 2; }

}  // namespace rmsnorm
