// A CPU variant: the row arithmetic compiled for one instruction set. Every variant gives the same
// bits; `scalar` is the readable reference implementation of what they all compute.
#pragma once

#include <cstdint>

#include "../op/fold.h"
#include "../op/rms_norm.h"

namespace rmsnorm::cpu {

struct Range {
  std::int64_t begin;
  std::int64_t end;
};

// How results are stored. Streaming stores bypass the caches, which is right only for outputs that
// would not stay cached anyway.
enum class Stores : std::uint8_t { kCached, kStreaming };

// A row of partial sums is a partial row of dweight (fold.h), or a sum of several partial rows. Its
// length is a multiple of kPartialColumns. It has room to spare, because overlapping ends take more
// (backward_columns.h). The variant decides where in the row the sum of a column is.
static constexpr std::int64_t kPartialColumns = 64;

static constexpr std::int64_t partial_stride(std::int64_t hidden_size) {
  return (ceil_div(hidden_size, kPartialColumns) + 1) * kPartialColumns;
}

// Partial sums are float64 for float64 tensors, else float32.
static constexpr std::int64_t partial_bytes(DType dtype, std::int64_t hidden_size) {
  return partial_stride(hidden_size) * (dtype == DType::kFloat64 ? 8 : 4);
}

// Bytes of scratch memory for weights that `prepare` has made ready, aligned to 64 bytes.
static constexpr std::int64_t prepared_bytes(std::int64_t hidden_size) {
  return (ceil_div(hidden_size, 16) * 16 + 320) * 4;
}

// Whether weights should be prepared for the kernels: some kernels then read them faster, others
// read only prepared ones. Two kinds of weights are never prepared. Those of float32 tensors
// without an offset are read in place. Those of float64 tensors are read by scalar loops
// (reference_rows.h).
static constexpr bool wants_preparing(DType dtype, const Weight& weight, const Options& options) {
  if (weight.data == nullptr || dtype == DType::kFloat64) return false;
  return dtype != DType::kFloat32 || options.weight_offset != 0.0;
}

// Functions of a variant are called with checked arguments. They cannot fail and allocate nothing.
struct Variant {
  const char* name;

  // The features that the processor must have (features.h).
  std::uint32_t features;

  // The variant that computes float32 rows with streaming stores in place of this one; null if this
  // one does so itself.
  const Variant* streaming_float32;

  // Writes w = weight + weight_offset to `prepared` (prepared_bytes), in the form that the kernels
  // of this variant read, for all rows of a thread. Called only if wants_preparing. `aligned` is
  // the matrix whose address decides how rows are cut (simd/rows.h): y or dx. The function is null
  // if the variant reads no prepared weights.
  void (*prepare)(DType, const Weight&, const Options&, std::int64_t hidden_size,
                  const void* aligned, void* prepared);

  // Computes y and rstd of `rows`. `prepared` is what `prepare` wrote. If it is null although
  // wants_preparing, the kernel converts the weights again for every row. In gated and quantised
  // calls, it is null only if wants_preparing is false.
  void (*forward)(const ForwardArgs&, Range rows, Stores, const void* prepared);

  // Computes dx of `rows`. If `partial` (partial_bytes) is not null, these rows are one row group.
  // The kernel writes their sums of dy * xhat there, or to dweight if reduce_dweight would only
  // copy them to it. `prepared` is null only if wants_preparing is false, or if no dx is wanted.
  void (*backward)(const BackwardArgs&, Range rows, Stores, const void* prepared, void* partial);

  // sum[i] += partial[i] for all i < count, a multiple of kPartialColumns. Both are partial sums
  // for tensors of `dtype`, which decides their type (partial_bytes).
  void (*add_partial)(DType dtype, void* sum, const void* partial, std::int64_t count);

  // Sums `count` rows of partial sums, at most kMaxRowGroups, with neighbour_tree (op/formula.h).
  // Writes the columns of dweight whose sums are at the positions `range` of such a row, in
  // multiples of kPartialColumns.
  void (*reduce_dweight)(const BackwardArgs&, const void* partials, std::int64_t count,
                         Range range);

  // destination[i] = source[i] in another dtype, rounded to nearest even, for all i < count.
  // Neither dtype is float64 or 8-bit.
  void (*convert)(DType from, const void* source, DType to, void* destination, std::int64_t count);
};

// Null-terminated, best first; the last is scalar.
extern const Variant* const kVariants[];

extern const Variant kScalar;
extern const Variant kAvx2;
extern const Variant kAvx512;
extern const Variant kNeon;

}  // namespace rmsnorm::cpu
