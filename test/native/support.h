// Shared by the native tests: problems (what to compute), layouts, buffers for both, and the
// comparison of results. A layout says how tensors lie in memory and how the operator is called; it
// must change no bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "cpu/variant.h"
#include "op/rms_norm.h"

namespace rmsnorm::test {

// Knuth's MMIX generator. It uses integers only, so every machine draws the same numbers.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) { bits(); }

  std::uint32_t bits() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::uint32_t>(state_ >> 32);
  }
  std::int64_t below(std::int64_t end) {
    return static_cast<std::int64_t>(std::uint64_t{bits()} * static_cast<std::uint64_t>(end) >> 32);
  }
  bool once_in(std::int64_t n) { return below(n) == 0; }

 private:
  std::uint64_t state_;
};

// A matrix in a heap block that ends with its last element, so that AddressSanitizer detects an
// access beyond it. Everything in the block, padding between rows included, is NaN until written.
class Matrix {
 public:
  static constexpr std::int64_t kAlignment = 64;

  // The first row lies `misaligned` elements after an address aligned to kAlignment. `padding`
  // elements follow each row, and `batch_padding` more follow every batch_rows rows.
  Matrix(DType dtype, std::int64_t rows, std::int64_t columns, std::int64_t padding = 0,
         std::int64_t misaligned = 0, std::int64_t batch_rows = kOneBatch,
         std::int64_t batch_padding = 0);

  DType dtype() const { return dtype_; }
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }

  void* row(std::int64_t r) { return memory_.get() + offset(r) * size_; }
  const void* row(std::int64_t r) const { return memory_.get() + offset(r) * size_; }
  std::size_t row_bytes() const { return static_cast<std::size_t>(columns_ * size_); }

  operator Rows() { return {row(0), stride_, batch_rows_, batch_stride_}; }
  operator ConstRows() const { return {row(0), stride_, batch_rows_, batch_stride_}; }

  std::uint64_t bits(std::int64_t r, std::int64_t j) const;
  double value(std::int64_t r, std::int64_t j) const;
  bool is_nan(std::int64_t r, std::int64_t j) const;
  void set_bits(std::int64_t r, std::int64_t j, std::uint64_t bits);
  void set(std::int64_t r, std::int64_t j, double value);  // rounded to the matrix's type

  // True if nothing was written before the first row or between the rows.
  bool padding_is_intact() const;

 private:
  // Elements between the start of the memory and a row.
  std::int64_t offset(std::int64_t r) const {
    return misaligned_ + row_offset(ConstRows{nullptr, stride_, batch_rows_, batch_stride_}, r);
  }

  DType dtype_;
  std::int64_t size_;
  std::int64_t rows_;
  std::int64_t columns_;
  std::int64_t stride_;
  std::int64_t misaligned_;
  std::int64_t batch_rows_;
  std::int64_t batch_stride_;
  struct Free {
    void operator()(std::byte* memory) const {
      ::operator delete[](memory, std::align_val_t{kAlignment});
    }
  };
  std::unique_ptr<std::byte[], Free> memory_;
};

enum class Values : std::uint8_t {
  kFinite,     // zeros, -0, subnormals, tiny and huge numbers; no result is NaN
  kVanishing,  // backward's products underflow to -0, so that whole row sums are -0 (not in
               // float16)
  kThreshold,  // ordinary numbers; some rows have one element whose y, or y / w, is near the
               // smallest normal
  kExtreme,    // magnitudes from the smallest to the largest: row sums vanish or overflow
  kSpecial,    // like kFinite, with NaN and infinity in every third row and in some weights
};
enum class WeightKind : std::uint8_t { kNone, kSame, kFloat32 };

struct Problem {
  Shape shape;
  DType dtype;
  WeightKind weight;
  Options options;
  DType dweight_dtype;
  bool accumulate;
  Values values;
  std::uint64_t seed;
  bool residual = false;  // forward adds a residual, backward its gradient
  bool gate = false;      // applied as options.gate_order says
};

enum class InPlace : std::uint8_t { kNo, kX, kDy, kResidual };

struct Layout {
  std::int64_t padding = 0;
  std::int64_t misaligned = 0;          // of inputs, in elements
  std::int64_t misaligned_out = 0;      // of outputs that are not in place, in elements
  InPlace in_place = InPlace::kNo;      // y overwrites x or residual; dx overwrites x, dy or dsum
  InPlace sum_in_place = InPlace::kNo;  // sum_out overwrites x or residual, if y does not
  bool rstd_given = false;              // false: backward recomputes rstd
  bool dx = true;
  bool dweight = true;
  cpu::Stores stores = cpu::Stores::kCached;
  std::int64_t rows_per_call = 0;  // rows per call of the variant; 0: all
  std::int64_t batch_rows = kOneBatch;
  std::int64_t batch_padding = 0;  // elements that follow every batch_rows rows
  bool prepares = true;            // forward converts weights once for all rows; with a gate,
                                   // always
  bool dgate_in_place = false;     // dgate overwrites gate
};

// The rows that hold NaN or infinity with Values::kSpecial.
inline bool is_special(std::int64_t row) { return row % 3 == 1; }

struct ForwardBuffers {
  ForwardBuffers(const Problem& problem, const Layout& layout);

  const Matrix& result() const { return matrix_at(args.y.data, y); }
  const Matrix& sum() const { return matrix_at(args.sum.data, sum_out); }

  Matrix x;
  Matrix residual;  // residual and gate have no rows if the problem has none
  Matrix gate;
  Matrix weight;
  Matrix y;
  Matrix sum_out;
  Matrix rstd;
  ForwardArgs args;

 private:
  // The matrix that receives an output: its own or, in place, an input.
  const Matrix& matrix_at(const void* data, const Matrix& own) const {
    return data == own.row(0) ? own : data == x.row(0) ? x : residual;
  }
};

struct BackwardBuffers {
  BackwardBuffers(const Problem& problem, const Layout& layout);

  const Matrix& result() const {
    return args.dx.data == dx.row(0)   ? dx
           : args.dx.data == x.row(0)  ? x
           : args.dx.data == dy.row(0) ? dy
                                       : dsum;
  }

  const Matrix& dgate_result() const { return args.dgate.data == gate.row(0) ? gate : dgate; }

  Matrix dy;
  Matrix x;
  Matrix dsum;  // dsum, gate and dgate have no rows if the problem has none
  Matrix gate;
  Matrix weight;
  Matrix rstd;
  Matrix dx;
  Matrix dgate;
  Matrix dweight;
  BackwardArgs args;
};

// Runs the whole operator with one variant on this thread.
void forward_with(const cpu::Variant& variant, const ForwardArgs& args, const Layout& layout);
void backward_with(const cpu::Variant& variant, const BackwardArgs& args, const Layout& layout);

// The expected results: scalar, called one row at a time, with the default layout.
ForwardBuffers expected_forward(const Problem& problem);
BackwardBuffers expected_backward(const Problem& problem);

// Describes how results differ from `expected`, or how the memory around them was damaged; empty if
// nothing is wrong. Values are equal if their bits are equal. Where the problem allows NaN, any two
// NaNs are equal.
std::string complaint(const Problem& problem, const Layout& layout, const ForwardBuffers& expected,
                      const ForwardBuffers& actual);
std::string complaint(const Problem& problem, const Layout& layout, const BackwardBuffers& expected,
                      const BackwardBuffers& actual);

std::string difference(const Matrix& expected, const Matrix& actual, Values values);

std::string describe(const cpu::Variant& variant);
std::string describe(const Problem& problem);
std::string describe(const Layout& layout);

std::vector<const cpu::Variant*> supported_variants();

// The type in which the operator computes; rstd and partial sums have it too.
constexpr DType computed_in(DType dtype) {
  return dtype == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32;
}

// The neighbour-first tree that sums the groups of dweight, as fold.h defines it; 0 for no values.
template <class Float>
Float neighbour_first(std::vector<Float> values) {
  if (values.empty()) return 0;
  while (values.size() > 1) {
    std::vector<Float> next;
    for (std::size_t i = 0; i + 1 < values.size(); i += 2) {
      next.push_back(values[i] + values[i + 1]);
    }
    if (values.size() % 2 != 0) next.push_back(values.back());
    values = next;
  }
  return values[0];
}

}  // namespace rmsnorm::test
