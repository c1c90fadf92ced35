// The vectors of the instruction set that the including file is compiled for, and what the vectors
// of all instruction sets share.
//
// An instruction set provides:
//   Vec          kLanes floats: zero(), broadcast(), load(), store(). Rounded to nearest even:
//                +, *, fma(a, b, c) = a * b + c, sqrt, divide
//   VecPair      two Vec {a, b}: 2 * kLanes consecutive columns of a row
//   kRegisters   how many Vec the registers hold
//   kInterleaved<X>
//                X's order, the order of the columns in a VecPair of X. false: a holds the first
//                kLanes columns, b the last. true: a holds the even columns, b the odd ones, as a
//                load of bfloat16 gives them
//   interleave, deinterleave
//                change a VecPair from the order of columns to the interleaved one, and back
//   kStreaming<X>
//                how rows of X are written in a call with Stores::kStreaming
//   load_pair<X> a VecPair of X, in X's order
//   pack_pair<X, Floats>
//                a 16-bit VecPair as it is in memory
//   store_bits(p, v), stream_bits(p, v)
//                store the bits of a Vec or of the result of pack_pair; stream_bits needs an
//                address aligned to v
//   round_pair<X, Floats>
//                the values rounded to X, as floats
//   sum_lanes(v) lane i of the result is the halving tree (fold.h) over the lanes of v[i]
//   halve_lanes(v, count)
//                the halving tree over the lanes of v, stopped when `count` sums are left, a power
//                of two. The lanes repeat these sums
//   all_within(v, low, high)
//                whether every lane of v is a number in [low, high]
//   round_to_int8<kBounded>(v)
//                the lanes of v, rounded to integers. They may be outside the range of int8 if
//                store_int8 saturates
//   store_int8(p, a, b)
//                stores the integers of a VecPair in the order of columns
//   prefetch(p), stream_fence()
// It may also provide the following. If it does not, the fallbacks at the end of this file apply:
//   kWatches<X>  whether rounding with Floats::kWatched is faster. ExceptionFlags then tell whether
//                the results are right: call clear() before the arithmetic, are_raised() after it,
//                and restore() at the end
//   kMasks<X>    whether masked loads are fast enough to read a row by whole cache lines
//   load_masked<X>(p, begin, end)
//                the columns [begin, end) of a VecPair at p, and zeros in the other columns, which
//                are not read. p points to X or float; the result is in X's order
//   store_masked<X, Floats>(p, begin, end, pair)
//                stores the columns [begin, end) of a VecPair at p
#pragma once

#include "types.h"

#if defined(__AVX512F__)
#include "vector_avx512.h"
#elif defined(__x86_64__)
#include "vector_avx2.h"
#else
#include "vector_neon.h"
#endif

namespace rmsnorm::cpu {
namespace {

static constexpr std::int64_t kPairColumns = 2 * Vec::kLanes;
static constexpr std::int64_t kPairs = kAccumulators / kPairColumns;
static constexpr float kLargestFloat = 0x1.fffffep127f;

RMSNORM_INLINE VecPair operator+(VecPair x, VecPair y) { return {x.a + y.a, x.b + y.b}; }
RMSNORM_INLINE VecPair operator+(VecPair x, Vec y) { return {x.a + y, x.b + y}; }
RMSNORM_INLINE VecPair operator*(VecPair x, VecPair y) { return {x.a * y.a, x.b * y.b}; }
RMSNORM_INLINE VecPair operator*(VecPair x, Vec y) { return {x.a * y, x.b * y}; }
RMSNORM_INLINE VecPair fma(VecPair x, VecPair y, VecPair z) {
  return {fma(x.a, y.a, z.a), fma(x.b, y.b, z.b)};
}
RMSNORM_INLINE VecPair fma(VecPair x, Vec y, VecPair z) {
  return {fma(x.a, y, z.a), fma(x.b, y, z.b)};
}
RMSNORM_INLINE Vec inverse_sqrt(Vec v) { return divide(Vec::broadcast(1.0f), sqrt(v)); }
RMSNORM_INLINE VecPair zero_pair() { return {Vec::zero(), Vec::zero()}; }

// Store a VecPair of X in X's order. stream_pair needs an address aligned to a VecPair.
template <class X, Floats kWhich>
RMSNORM_INLINE void store_pair(X* destination, VecPair value) {
  if constexpr (__is_same(X, float)) {
    value.a.store(destination);
    value.b.store(destination + Vec::kLanes);
  } else {
    store_bits(destination, pack_pair<X, kWhich>(value));
  }
}
template <class X, Floats kWhich>
RMSNORM_INLINE void stream_pair(X* destination, VecPair value) {
  if constexpr (__is_same(X, float)) {
    stream_bits(destination, bits(value.a));
    stream_bits(destination + Vec::kLanes, bits(value.b));
  } else {
    stream_bits(destination, pack_pair<X, kWhich>(value));
  }
}

// Load and store floats that are in the order of columns in memory. The VecPair is interleaved if
// kOrder, else in the order of columns too.
template <bool kOrder>
RMSNORM_INLINE VecPair load_floats(const float* source) {
  const VecPair natural = load_pair<float>(source);
  return kOrder ? interleave(natural) : natural;
}
template <bool kOrder>
RMSNORM_INLINE void store_floats(float* destination, VecPair value) {
  store_pair<float, Floats::kAny>(destination, kOrder ? deinterleave(value) : value);
}

#if defined(__AVX512F__) || !defined(__AVX2__)
template <class X>
static constexpr bool kWatches = false;

struct ExceptionFlags {
  RMSNORM_INLINE void clear() {}
  RMSNORM_INLINE bool are_raised() const { return false; }
  RMSNORM_INLINE void restore() const {}
};
#endif

#if !defined(__AVX512F__)
template <class X>
static constexpr bool kMasks = false;

// The elements of a VecPair in memory, zeros at first.
template <class T>
struct PairBuffer {
  alignas(64) T values[2 * Vec::kLanes] = {};
};

template <class X, class T>
RMSNORM_INLINE VecPair load_masked(const T* source, std::int64_t begin, std::int64_t end) {
  PairBuffer<T> buffer;
  for (std::int64_t i = begin; i < end; ++i) buffer.values[i] = source[i];
  if constexpr (__is_same(X, T)) {
    return load_pair<X>(buffer.values);
  } else {
    return load_floats<kInterleaved<X>>(buffer.values);
  }
}

template <class X, Floats kWhich>
RMSNORM_INLINE void store_masked(X* destination, std::int64_t begin, std::int64_t end,
                                 VecPair value) {
  PairBuffer<X> buffer;
  store_pair<X, kWhich>(buffer.values, value);
  for (std::int64_t i = begin; i < end; ++i) destination[i] = buffer.values[i];
}
#endif

}  // namespace
}  // namespace rmsnorm::cpu
