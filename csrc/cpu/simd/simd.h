// The vectors that this file is compiled for, and what is the same for all of them.
//
// An instruction set provides:
//   Vec          kLanes floats: zero(), broadcast(), load(), store(); and, rounded to nearest even,
//                +, *, fma(a, b, c) = a * b + c, sqrt, divide
//   VecPair      two Vec {a, b}: 2 * kLanes consecutive columns of a row
//   kRegisters   how many Vec the registers hold
//   kInterleaved<X>  the order of a VecPair of X: false, a holds the first kLanes columns and b the
//                last; true, a holds the even columns and b the odd (what a bfloat16 load gives)
//   interleave, deinterleave   from the first order to the second, and back
//   kStreaming<X>   what rows are written by where streaming stores are asked for
//   load_pair<X>    a VecPair of X, in X's order
//   pack_pair<X, Floats>   a 16-bit VecPair as it lies in memory
//   store_bits(p, v), stream_bits(p, v)   the bits of a Vec or of what pack_pair gives, the latter
//                where memory is aligned to it
//   round_pair<X, Floats>   T(value) as floats
//   sum_lanes(v)     lane i of the result is the halving tree over the lanes of v[i]
//   halve_lanes(v, count)
//                the halving tree over the lanes of v, down to its first `count` (a power of two)
//   all_within(v, low, high)
//                whether every lane of v is a number in [low, high]
//   round_to_int8<kBounded>(v)   v rounded to whole numbers, lane by lane, as int8 has them; they
//   may
//                be beyond it where store_int8, of a VecPair's, in the order of columns, saturates;
//                streaming, memory is aligned to what is stored
//   prefetch(p), stream_fence()
// and, or else it has those below:
//   kWatches<X>  whether Floats::kWatched rounds faster, and ExceptionFlags, which tell whether it
//                was right: clear(), are_raised() by arithmetic since, and restore() in the end
//   kMasks<X>    whether masked loads are as fast as loading it all
//   load_masked<X>(p, begin, end)
//                of a VecPair at p, of X or float, the columns [begin, end), and zeros: nothing
//                else is read
//   store_masked<X, Floats>(p, begin, end, pair)   of a VecPair at p the columns [begin, end)
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

// Store a VecPair of X in X's order, the second where memory is aligned to a VecPair.
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

// Floats in either order.
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

// 2 * kLanes elements, zeros where no others are put.
template <class T>
struct Part {
  alignas(64) T values[2 * Vec::kLanes] = {};
};

template <class X, class T>
RMSNORM_INLINE VecPair load_masked(const T* source, std::int64_t begin, std::int64_t end) {
  Part<T> part;
  for (std::int64_t i = begin; i < end; ++i) part.values[i] = source[i];
  if constexpr (__is_same(X, T)) {
    return load_pair<X>(part.values);
  } else {
    return load_floats<kInterleaved<X>>(part.values);
  }
}

template <class X, Floats kWhich>
RMSNORM_INLINE void store_masked(X* destination, std::int64_t begin, std::int64_t end,
                                 VecPair value) {
  Part<X> part;
  store_pair<X, kWhich>(part.values, value);
  for (std::int64_t i = begin; i < end; ++i) destination[i] = part.values[i];
}
#endif

}  // namespace
}  // namespace rmsnorm::cpu
