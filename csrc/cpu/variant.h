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

// How results reach memory. Streaming stores bypass the caches: right only for outputs that would
// not stay in them anyway.
enum class Stores : std::uint8_t { kCached, kStreaming };

// A row of partial sums is a multiple of this many numbers, with room to spare. Where in it the sum
// of a column is, the variant decides.
static constexpr std::int64_t kPartialColumns = 64;

static constexpr std::int64_t partial_stride(std::int64_t hidden_size) {
  return (ceil_div(hidden_size, kPartialColumns) + 1) * kPartialColumns;
}

// They are float64 for float64 tensors, else float32.
static constexpr std::int64_t partial_bytes(DType dtype, std::int64_t hidden_size) {
  return partial_stride(hidden_size) * (dtype == DType::kFloat64 ? 8 : 4);
}

// Weights that `prepare` has made ready take this much scratch memory, aligned to 64 bytes.
static constexpr std::int64_t prepared_bytes(std::int64_t hidden_size) {
  return (ceil_div(hidden_size, 16) * 16 + 320) * 4;
}

// Whether kernels read these weights better, or only, when prepared: all but float32 weights as
// they are, and float64, which nothing prepares.
static constexpr bool wants_preparing(DType dtype, const Weight& weight, const Options& options) {
  if (weight.data == nullptr || dtype == DType::kFloat64) return false;
  return dtype != DType::kFloat32 || options.weight_offset != 0.0;
}

// Functions of a variant are called with checked arguments and can not fail. They allocate nothing.
struct Variant {
  const char* name;

  // What the processor must have (features.h).
  std::uint32_t features;

  // The variant for float32 rows that are streamed, where that is another.
  const Variant* streaming_float32;

  // Leaves a call's w = weight + weight_offset in `prepared` (prepared_bytes) as its kernels read
  // it, for all rows of a thread; where wants_preparing. `aligned` is the matrix whose memory
  // decides how rows are cut: y, or dx.
  void (*prepare)(DType, const Weight&, const Options&, std::int64_t hidden_size,
                  const void* aligned, void* prepared);

  // y and rstd of `rows`. `prepared` may be null: then 16-bit weights are converted for every row.
  // With a gate it is null only where nothing wants preparing.
  void (*forward)(const ForwardArgs&, Range rows, Stores, const void* prepared);

  // dx of `rows`. If `partial` is given (partial_bytes), these rows are one row group and their
  // sums of dy * xhat are left there, or in dweight where finish_dweight would copy them to.
  // `prepared` is null only where nothing wants preparing, or no dx is wanted.
  void (*backward)(const BackwardArgs&, Range rows, Stores, const void* prepared, void* partial);

  // sum[i] += partial[i] for all i < count, a multiple of kPartialColumns, of partial sums of
  // tensors of `dtype`.
  void (*add_partial)(DType dtype, void* sum, const void* partial, std::int64_t count);

  // The part of dweight whose sums lie at `part` of a row of partial sums (begin and end multiples
  // of kPartialColumns): the neighbour-first tree over `count` such rows, at most kMaxRowGroups.
  void (*finish_dweight)(const BackwardArgs&, const void* partials, std::int64_t count, Range part);

  // destination[i] = source[i] in another type, rounded to nearest even, for all i < count. Neither
  // is float64.
  void (*convert)(DType from, const void* source, DType to, void* destination, std::int64_t count);
};

// nullptr-terminated, best first; the last is scalar.
extern const Variant* const kVariants[];

extern const Variant kScalar;
extern const Variant kAvx2;
extern const Variant kAvx512;
extern const Variant kNeon;

}  // namespace rmsnorm::cpu
