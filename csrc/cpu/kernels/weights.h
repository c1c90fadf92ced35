// Weights as kernels read them.
//
// w = weight + weight_offset is float32. All columns are in one array or, if X is interleaved
// (simd.h), the even columns are in one array and the odd ones in another. So a VecPair from any
// column on is two contiguous loads. Weights of float32 tensors without an offset are read in
// place. All other weights are prepared once for all rows of a call. The exception is forward of a
// single row, or of rows too long to prepare weights for. It converts the weights while it scales a
// row. Gated and quantised calls have no such exception.
#pragma once

#include "../simd/min_abs.h"
#include "../simd/rows.h"
#include "rescaled_rows.h"

namespace rmsnorm::cpu {
namespace {

// T(value) in Llama's order, else value.
template <class X, bool kLlama, Floats kWhich>
struct Rounding {
  RMSNORM_INLINE VecPair operator()(VecPair value) const {
    if constexpr (kLlama) return round_pair<X, kWhich>(value);
    return value;
  }
};

// The weights from some column on: a and b point to the two Vecs of the VecPair there. at(column)
// is the VecPair `column` columns further; `column` is even.
template <class X>
struct WeightPairs {
  const float* a;
  const float* b;

  RMSNORM_INLINE VecPair at(std::int64_t column) const {
    if constexpr (kInterleaved<X>) column >>= 1;
    return {Vec::load(a + column), Vec::load(b + column)};
  }
};

// Weights of type W as the caller stores them, for single rows and rows too long to prepare weights
// for.
template <class X, class W>
struct RawWeights {
  // A float32 weight can be a NaN whose low bits are set.
  static constexpr Floats kFloats = __is_same(W, float) ? Floats::kAny : Floats::kQuietNaN;

  const W* data;
  Vec offset;
  float known_min_abs = 0.0f;  // see min_abs()

  RMSNORM_INLINE float min_abs() const { return known_min_abs; }
  RMSNORM_INLINE const void* address() const { return data; }
  RMSNORM_INLINE RawWeights from(std::int64_t column) const { return {data + column, offset}; }
  RMSNORM_INLINE VecPair at(std::int64_t column) const {
    return read_pair<X>(data + column) + offset;
  }
  RMSNORM_INLINE VecPair masked(std::int64_t column, std::int64_t begin, std::int64_t end) const {
    return load_masked<X>(data + column, begin, end) + offset;
  }
};

// The header of the memory of prepared weights.
struct PreparedWeights {
  const float* even;  // all columns if not interleaved; finite up to a VecPair beyond the end
  const float* odd;
  float min_abs;  // the least nonzero magnitude of all weights; 0: not known
};

// Weights that are ready to be read: prepared, or float32 weights in place.
template <class X>
class Weights {
 public:
  static constexpr Floats kFloats = Floats::kQuietNaN;

  Weights(const Weight& weight, const void* prepared) : is_prepared_(prepared != nullptr) {
    if (is_prepared_) {
      prepared_ = *static_cast<const PreparedWeights*>(prepared);
    } else if constexpr (__is_same(X, float)) {
      prepared_ = {static_cast<const float*>(weight.data), nullptr, 0.0f};
    }
  }

  RMSNORM_INLINE bool are_prepared() const { return is_prepared_; }
  RMSNORM_INLINE float min_abs() const { return prepared_.min_abs; }

  RMSNORM_INLINE const void* address() const { return prepared_.even; }
  RMSNORM_INLINE WeightPairs<X> from(std::int64_t column) const {
    if constexpr (!kInterleaved<X>) {
      return {prepared_.even + column, prepared_.even + column + Vec::kLanes};
    } else if (column & 1) {
      return {prepared_.odd + (column >> 1), prepared_.even + (column >> 1) + 1};
    } else {
      return {prepared_.even + (column >> 1), prepared_.odd + (column >> 1)};
    }
  }
  // The columns [begin, end) of the VecPair at a column. The other columns of the result hold other
  // weights of the row, or finite numbers.
  RMSNORM_INLINE VecPair masked(std::int64_t column, std::int64_t begin, std::int64_t end) const {
    if (kInterleaved<X> || is_prepared_) return from(column).at(0);
    return load_masked<float>(prepared_.even + column, begin, end);
  }

 private:
  bool is_prepared_;
  PreparedWeights prepared_ = {};
};

// Calls function with the RawWeights of a call.
template <class X, class Function>
RMSNORM_INLINE void with_raw_weights(const Weight& weight, const Options& options,
                                     const Function& function) {
  const auto offset = static_cast<float>(options.weight_offset);
  // Adding -0 changes no weight, but adding +0 would turn a weight of -0 into +0.
  const Vec addend = Vec::broadcast(offset == 0.0f ? -0.0f : offset);
  if (weight.dtype == DType::kFloat32) {
    return function(RawWeights<X, float>{static_cast<const float*>(weight.data), addend});
  }
  if constexpr (!__is_same(X, float)) {
    function(RawWeights<X, X>{static_cast<const X*>(weight.data), addend});
  }
}

// Stores column `begin` of the body (AlignedBody) at an address aligned to 64 bytes, in its array.
// If X is interleaved, the next column, which is in the other array, is aligned as well.
template <class X>
[[gnu::noinline]] void prepare_weights(const Weight& weight, const Options& options,
                                       std::int64_t hidden_size, const void* aligned,
                                       PreparedWeights* prepared) {
  constexpr std::int64_t kPad = 32;
  static_assert(kPad >= kPairColumns && sizeof(PreparedWeights) <= 16 * sizeof(float));
  const std::int64_t begin = aligned_body(static_cast<const X*>(aligned), hidden_size).begin;
  float* const memory = reinterpret_cast<float*>(prepared) + 16 + kPad;
  const auto shift = [](std::int64_t aligned_index) { return -aligned_index & 15; };
  float* even = memory + shift(begin);
  float* odd = nullptr;
  if constexpr (kInterleaved<X>) {
    even = memory + shift((begin + 1) / 2);
    odd = memory + ceil_div(hidden_size, 32) * 16 + 3 * kPad + shift(begin / 2);
  }
  const auto pad = [](float* values, std::int64_t count) {
    for (std::int64_t i = 0; i < kPad; ++i) values[-1 - i] = values[count + i] = 0.0f;
  };
  const std::int64_t evens = kInterleaved<X> ? ceil_div(hidden_size, 2) : hidden_size;
  pad(even, evens);
  if constexpr (kInterleaved<X>) pad(odd, hidden_size / 2);
  with_raw_weights<X>(weight, options, [&](auto raw) {
    for (std::int64_t j = 0; j < hidden_size; j += kPairColumns) {
      const std::int64_t rest = hidden_size - j;
      const VecPair w = rest >= kPairColumns ? raw.at(j) : raw.masked(j, 0, rest);
      if constexpr (kInterleaved<X>) {
        w.a.store(even + j / 2);
        w.b.store(odd + j / 2);
      } else {
        w.a.store(even + j);
        w.b.store(even + j + Vec::kLanes);
      }
    }
    if constexpr (decltype(raw)::kFloats == Floats::kAny && kInterleaved<X>) {
      for (std::int64_t j = 0; j < evens; ++j) {
        even[j] = without_payload(even[j]);
        odd[j] = without_payload(odd[j]);
      }
    }
  });
  *prepared = {even, odd, 0.0f};
  if constexpr (kInterleaved<X>) {
    const float of_even = MinAbs<X>::of(even, evens);
    const float of_odd = MinAbs<X>::of(odd, hidden_size / 2);
    prepared->min_abs = of_odd < of_even ? of_odd : of_even;
  }
}

void prepare(DType dtype, const Weight& weight, const Options& options, std::int64_t hidden_size,
             const void* aligned, void* prepared) {
  with_dtype(dtype, [&](auto x) {
    prepare_weights<typename decltype(x)::Type>(weight, options, hidden_size, aligned,
                                                static_cast<PreparedWeights*>(prepared));
  });
}

}  // namespace
}  // namespace rmsnorm::cpu
