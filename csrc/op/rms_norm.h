// The operator, as every backend sees it: its formulas, its types and its arguments.
//
//   rstd[r]    = 1 / sqrt(mean_j(x[r,j]^2) + eps)
//   xhat[r,j]  = x[r,j] * rstd[r]
//   y[r,j]     = xhat[r,j] * w[j]            w = weight + weight_offset; without a weight, 1
//
//   g          = dy * w
//   dx[r,:]    = rstd[r] * (g[r,:] - xhat[r,:] * mean_j(g[r,j] * xhat[r,j]))
//   dweight[j] = sum_r dy[r,j] * xhat[r,j]
//
// With a residual, the norm is of sum = T(x + residual), which stands for x above; T() rounds to
// the tensors' type. Its gradient arrives by two ways, through y and, as dsum, through sum itself:
// dx = dresidual = (the formula) + dsum.
//
// With a gate, silu(z) = z / (1 + exp(-z)), elementwise:
//   after the norm    y = xhat * w * silu(gate)
//                     dgate = dy * xhat * w * silu'(gate), and dy * silu(gate) stands for dy above
//   before the norm   x * silu(gate) stands for x above; of the dx of that, dx' :
//                     dx = dx' * silu(gate), dgate = dx' * x * silu'(gate)
//
// Quantised, y becomes codes of 8 bits, by the scale of its row or by one for all rows:
//   scale[r] = min(max_j |y[r,j]| / largest code, scale_max);  code = Q(y / scale[r])
//   code = Q(y * (1 / scale))
//
// r counts rows (M), j counts columns (H = hidden_size). How these are rounded and in which order
// they are summed is fixed in fold.h, so that every backend gives the same bits.
// Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
#pragma once

#include <cstdint>

namespace rmsnorm {

// float64 tensors are computed in float64 throughout, weight, rstd and dweight being float64 too,
// and on the CPU alone. All others are computed in float32. Those from kInt8 on are of codes: of
// quantised results, and of no other tensors.
enum class DType : std::uint8_t {
  kFloat32,
  kFloat16,
  kBFloat16,
  kFloat64,
  kInt8,
  kFloat8E4M3,  // 4 bits of exponent and 3 of fraction, without infinities: OCP's E4M3, "fn"
  kFloat8E5M2,
};

static constexpr bool is_quantized(DType dtype) { return dtype >= DType::kInt8; }

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

// Where a gate is applied.
enum class GateOrder : std::uint8_t {
  kAfterNorm,   // y = norm(x) * w * silu(gate): Qwen3-Next, Mamba-2 with norm_before_gate
  kBeforeNorm,  // y = norm(x * silu(gate)) * w: Mamba-2
};

struct Shape {
  std::int64_t rows;         // M >= 0
  std::int64_t hidden_size;  // H >= 1
};

struct Options {
  double eps = 1e-6;           // finite, >= 0; in float32 but for float64 tensors
  double weight_offset = 0.0;  // finite; added to weight in float32, or float64
  CastOrder cast_order = CastOrder::kLlama;
  GateOrder gate_order = GateOrder::kAfterNorm;
};

// How y is quantised, in float32, and whether.
struct Quantization {
  DType codes = DType::kFloat32;       // a dtype of codes; any other: y is not quantised
  float scale = 0.0f;                  // of all rows, its inverse finite; 0: of each row its own
  float scale_max = __builtin_inff();  // > 0: what a row's own scale is at most

  constexpr bool is_wanted() const { return is_quantized(codes); }
};

// More rows than there are: all of them are one batch.
static constexpr std::int64_t kOneBatch = INT64_MAX;

// A matrix of (rows, hidden_size) elements, each row of them contiguous. Row r begins at element
// (r / batch_rows) * batch_stride + (r % batch_rows) * row_stride of data. So per-head rows lie in
// a fused QKV projection, where the heads of one token are a batch.
struct ConstRows {
  const void* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t batch_rows = kOneBatch;  // >= 1
  std::int64_t batch_stride = 0;
};
struct Rows {
  void* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t batch_rows = kOneBatch;
  std::int64_t batch_stride = 0;
};

// The element at which a row begins, where `rows` is a ConstRows or a Rows.
template <class Matrix>
static constexpr std::int64_t row_offset(const Matrix& rows, std::int64_t row) {
  if (row < rows.batch_rows) return row * rows.row_stride;
  return row / rows.batch_rows * rows.batch_stride + row % rows.batch_rows * rows.row_stride;
}

struct Weight {
  const void* data = nullptr;     // (hidden_size), or null for ones
  DType dtype = DType::kFloat32;  // the tensors' own type, or float32 beside 16-bit tensors
};

struct ForwardArgs {
  Shape shape;
  Options options;
  DType dtype;  // of x, residual, sum and y
  ConstRows x;
  Weight weight;
  Rows y;                   // may be exactly x or residual, and must not overlap anything else
  void* rstd;               // (rows) of float32, of float64 for float64 tensors; null if not wanted
  ConstRows residual = {};  // data null if there is none
  Rows sum = {};            // given where residual is; may be exactly x or residual, never y
  ConstRows gate = {};      // data null if there is none
  Quantization quantization = {};  // y is of its codes, if it is one, and may overlap nothing
  float* scales = nullptr;         // (rows): receives the rows' own scales; null if not wanted
};

struct BackwardArgs {
  Shape shape;
  Options options;
  DType dtype;  // of dy, x, dsum and dx
  ConstRows dy;
  ConstRows x;  // sum of forward, where there was a residual
  Weight weight;
  const void* rstd;     // (rows) as forward's, or null to recompute it from x: the same bits
  Rows dx;              // data null if not wanted; may be exactly dy, x or dsum
  void* dweight;        // (hidden_size), or null if not wanted
  DType dweight_dtype;  // the tensors' own type, or float32 beside 16-bit tensors
  bool accumulate;      // dweight = T(float(dweight) + sum) rather than T(sum)
  ConstRows dsum = {};  // added to dx before its cast; data null if there is none
  ConstRows gate = {};  // data null if there is none
  Rows dgate = {};      // given where gate is and dx; may be exactly gate
};

static constexpr std::int64_t element_size(DType dtype) {
  if (is_quantized(dtype)) return 1;
  return dtype == DType::kFloat64 ? 8 : dtype == DType::kFloat32 ? 4 : 2;
}

}  // namespace rmsnorm
