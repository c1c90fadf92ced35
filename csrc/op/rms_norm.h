// The operator as every backend sees it: its formulas, types and arguments.
//
//   rstd[r]    = 1 / sqrt(mean_j(x[r,j]^2) + eps)
//   xhat[r,j]  = x[r,j] * rstd[r]
//   y[r,j]     = xhat[r,j] * w[j]            w = weight + weight_offset; w = 1 without a weight
//
//   g          = dy * w
//   dx[r,:]    = rstd[r] * (g[r,:] - xhat[r,:] * mean_j(g[r,j] * xhat[r,j]))
//   dweight[j] = sum_r dy[r,j] * xhat[r,j]
//
// With a residual, sum = T(x + residual) replaces x above; T() rounds to the tensor type. The
// gradient of sum arrives through y and, as dsum, through the other uses of sum:
// dx = dresidual = (the dx above) + dsum.
//
// A gate is applied by silu(z) = z / (1 + exp(-z)), element by element:
//   after the norm    y = xhat * w * silu(gate)
//                     dgate = dy * xhat * w * silu'(gate)
//                     dy * silu(gate) replaces dy in g and dweight
//   before the norm   x * silu(gate) replaces x above
//                     dx', the gradient of x * silu(gate), is the dx above
//                     dx = dx' * silu(gate), dgate = dx' * x * silu'(gate)
//
// If a call is quantised, y becomes 8-bit codes; Q() rounds to a code. Each row has its own scale,
// or one scale is given for all rows:
//   its own scale  scale[r] = min(max_j |y[r,j]| / largest code, scale_max)
//                  code = Q(y / scale[r])
//   one scale      code = Q(y * (1 / scale))
//
// r counts rows (M), j counts columns (H = hidden_size). fold.h fixes every rounding and the order
// of every sum, so that every backend gives the same bits.
// Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
#pragma once

#include <cstdint>

namespace rmsnorm {

// float64 tensors are computed in float64 throughout, and on the CPU alone; their weight, rstd and
// dweight are float64 too. All other tensors are computed in float32. The dtypes from kInt8 on are
// codes: only quantised results have them.
enum class DType : std::uint8_t {
  kFloat32,
  kFloat16,
  kBFloat16,
  kFloat64,
  kInt8,
  kFloat8E4M3,  // 4 exponent bits, 3 fraction bits, no infinities: OCP's E4M3 (E4M3FN)
  kFloat8E5M2,
};

static constexpr bool is_quantized(DType dtype) { return dtype >= DType::kInt8; }

// The bits of an IEEE 754 binary16 and of a bfloat16. They are separate types, so that an
// instantiation of a kernel knows the format of its 16-bit memory.
struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

// Where a 16-bit result is rounded; T() rounds to the tensor type. For float32 both are equal.
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
  double eps = 1e-6;           // finite, >= 0; converted to float32, unless tensors are float64
  double weight_offset = 0.0;  // finite; converted like eps, then added to weight in that type
  CastOrder cast_order = CastOrder::kLlama;
  GateOrder gate_order = GateOrder::kAfterNorm;
};

// Whether and how y is quantised, in float32.
struct Quantization {
  DType codes = DType::kFloat32;  // a dtype of codes; with any other, y is not quantised
  float scale = 0.0f;  // of all rows, with a finite inverse; 0: each row has its own scale
  float scale_max = __builtin_inff();  // > 0: upper bound of a row's own scale

  constexpr bool is_wanted() const { return is_quantized(codes); }
};

// A value of batch_rows: more rows than any matrix has, so that all rows are one batch.
static constexpr std::int64_t kOneBatch = INT64_MAX;

// A matrix of (rows, hidden_size) elements; each row is contiguous. Row r begins at element
// (r / batch_rows) * batch_stride + (r % batch_rows) * row_stride of data. This covers the rows of
// attention heads in a fused QKV projection, where the heads of one token are a batch.
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

// The element at which a row begins. `rows` is a ConstRows or a Rows.
template <class Matrix>
static constexpr std::int64_t row_offset(const Matrix& rows, std::int64_t row) {
  if (row < rows.batch_rows) return row * rows.row_stride;
  return row / rows.batch_rows * rows.batch_stride + row % rows.batch_rows * rows.row_stride;
}

struct Weight {
  const void* data = nullptr;     // (hidden_size); null for ones
  DType dtype = DType::kFloat32;  // the tensors' own dtype, or float32 for 16-bit tensors
};

struct ForwardArgs {
  Shape shape;
  Options options;
  DType dtype;  // of x, residual, sum and y
  ConstRows x;
  Weight weight;
  Rows y;                   // may be exactly x or residual, and must not overlap anything else
  void* rstd;               // (rows), float32, or float64 for float64 tensors; null if not wanted
  ConstRows residual = {};  // data is null if there is none
  Rows sum = {};            // set if residual is; may be exactly x or residual, never y
  ConstRows gate = {};      // data is null if there is none
  Quantization quantization = {};  // if wanted, y holds codes and may overlap nothing
  float* scales = nullptr;         // (rows), receives each row's own scale; null if not wanted
};

struct BackwardArgs {
  Shape shape;
  Options options;
  DType dtype;  // of dy, x, dsum and dx
  ConstRows dy;
  ConstRows x;  // forward's sum, if there was a residual
  Weight weight;
  const void* rstd;     // (rows), from forward; null: recomputed from x, with the same bits
  Rows dx;              // data is null if not wanted; may be exactly dy, x or dsum
  void* dweight;        // (hidden_size); null if not wanted
  DType dweight_dtype;  // the tensors' own dtype, or float32 for 16-bit tensors
  bool accumulate;      // dweight = D(dweight + sum), not D(sum); D rounds to dweight_dtype
  ConstRows dsum = {};  // added to dx before its cast; data is null if there is none
  ConstRows gate = {};  // data is null if there is none
  Rows dgate = {};      // set if gate and dx are; may be exactly gate
};

static constexpr std::int64_t element_size(DType dtype) {
  if (is_quantized(dtype)) return 1;
  return dtype == DType::kFloat64 ? 8 : dtype == DType::kFloat32 ? 4 : 2;
}

}  // namespace rmsnorm
