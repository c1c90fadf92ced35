// A CPU variant: the row arithmetic compiled for one instruction set. Every variant gives the same
// bits; `scalar` is the readable statement of what they compute.
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

// A row of partial sums has a multiple of this many numbers, and room to spare. The variant decides
// where in the row the sum of a column is.
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

// Whether kernels read these weights faster, or only, if they are prepared. Two kinds are not
// prepared: weights of float32 tensors without an offset, which are read in place, and those of
// float64 tensors.
static constexpr bool wants_preparing(DType dtype, const Weight& weight, const Options& options) {
  if (weight.data == nullptr || dtype == DType::kFloat64) return false;
  return dtype != DType::kFloat32 || options.weight_offset != 0.0;
}

// Functions of a variant are called with checked arguments. They cannot fail and allocate nothing.
struct Variant {
  const char* name;

  // The features that the processor must have (features.h).
  std::uint32_t features;

  // The variant that streams float32 rows instead of this one; null if this one does.
  const Variant* streaming_float32;

  // Writes w = weight + weight_offset to `prepared` (prepared_bytes), in the form that the kernels
  // of this variant read, for all rows of a thread. Called only if wants_preparing. `aligned` is
  // the matrix whose address decides how rows are cut: y or dx.
  void (*prepare)(DType, const Weight&, const Options&, std::int64_t hidden_size,
                  const void* aligned, void* prepared);

  // y and rstd of `rows`. If `prepared` is null, weights that want preparing are converted for
  // every row. For gated and quantised calls it is null only if nothing wants preparing.
  void (*forward)(const ForwardArgs&, Range rows, Stores, const void* prepared);

  // dx of `rows`. If `partial` (partial_bytes) is not null, these rows are one row group. Their
  // sums of dy * xhat are left there, or in dweight if reduce_dweight would only copy them to it.
  // `prepared` is null only if nothing wants preparing, or no dx is wanted.
  void (*backward)(const BackwardArgs&, Range rows, Stores, const void* prepared, void* partial);

  // sum[i] += partial[i] for all i < count, a multiple of kPartialColumns. They are partial sums of
  // tensors of `dtype`.
  void (*add_partial)(DType dtype, void* sum, const void* partial, std::int64_t count);

  // Writes the columns of dweight whose sums are at `range` of a row of partial sums, in multiples
  // of kPartialColumns. The neighbour-first tree sums `count` such rows, at most kMaxRowGroups.
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
