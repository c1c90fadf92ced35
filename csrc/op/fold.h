// The numerics contract: the order in which every backend sums, so that the same input gives the
// same bits on any CPU variant, any number of threads and any GPU.
//
// The fold is the sum over a row of the products a[j] * b[j] (forward a = b = x; backward a = g,
// b = x), in float32:
//   1. The row is cut into tiles of kTileColumns columns. In a tile, column j belongs to
//      accumulator j mod kAccumulators, and each accumulator is a chain over its columns ascending:
//      acc = fma(a[j], b[j], acc), from +0. Columns from hidden_size on contribute nothing.
//   2. The sum of a tile is the halving tree over its accumulators.
//   3. The sum of a row is the halving tree over its tile sums, padded with +0 to a power of two.
// The halving tree over n values is: for s = n/2, n/4, … 1: v[i] += v[i + s] for all i < s.
// Backward's sum ends with + 0, so that a sum of zeros is +0: zeros of either sign may be added
// anywhere on the way, for columns that do not exist. A sum of squares is never -0.
//
// float64 tensors: the same in float64 throughout.
//
// Everything after the fold is elementwise, each operation rounded to nearest even:
//   m = sum * inverse(H);  v = m + eps;  rstd = 1 / sqrt(v)
//   xhat = x * rstd;  y = xhat * w, with the casts of CastOrder
//   c = (sum + 0) * rstd;  cbar = c * inverse(H);  dx = rstd * fma(-xhat, cbar, g)
// With dsum, it is added to that dx in float32, before the one cast.
//
// A gate z is applied in float32, each operation rounded (silu.h):
//   after the norm   y = T((xhat * w) * silu(z)), in Llama's order of T(T(xhat) * w)
//                    dn = dy * silu(z), in Llama's order T() of it, stands for dy
//                    dgate = T((dy * (xhat * w)) * silu'(z)), likewise
//   before it        x * silu(z), which is not rounded to the tensors' type, stands for x
//                    dx = T(dx' * silu(z)), plus dsum before the cast; dgate = T((dx' * x) *
//                    silu'(z))
//
// Quantised, y is taken before its cast, or, in Llama's order, after it. The largest magnitude of a
// row is the same in whatever order it is searched, and NaN, as an integer, is above all others:
//   scale = amax / largest code, at most scale_max;  code = Q(y / scale), to nearest even, and at
//   most the largest code; of a scale of all rows Q(y * (1 / scale))
// Of a scale of 0 the codes are 0. Q(NaN) is NaN, of int8 0.
//
// A fold whose products overflow, or are too small for their digits, has a rescaled pass with x
// times a power of two, x * f, whose result is final:
//   forward's if f = rescale_factor(sum, eps) is not 1, a being x * f as well:
//     v = m + (eps * f) * f;  rstd = (1 / sqrt(v)) * f
//   backward's unless gradient_fold_stands(sum, rstd), with f = power_of_two(rstd), a being g:
//     c = (sum + 0) * (rstd * (1 / f))
// So rows of any finite x have a right rstd, as far as a Float can hold it: where the root of
// mean(x^2) + eps is less than 2^-128 (float64: 2^-1024), it is infinite.
//
// dweight cuts the rows into groups of row_group_rows(M). In a group each column is a chain over
// the rows ascending, acc = fma(dy, xhat, acc), from +0. The groups' partial rows are summed by a
// neighbour-first tree: level by level p[i] = p[2i] + p[2i+1], an odd last one passing through.
//
// Functions here are `static`: files compiled for different instruction sets include this header,
// and none may lend its code to another through the linker.
#pragma once

#include <cstdint>

namespace rmsnorm {

static constexpr std::int64_t kTileColumns = 256;
static constexpr std::int64_t kAccumulators = 64;
static constexpr std::int64_t kMinGroupRows = 16;
static constexpr int kTreeLevels = 9;
static constexpr std::int64_t kMaxRowGroups = std::int64_t{1} << kTreeLevels;

static constexpr std::int64_t ceil_div(std::int64_t value, std::int64_t divisor) {
  return value / divisor + (value % divisor != 0);
}

static constexpr std::int64_t bit_ceil(std::int64_t value) {
  std::int64_t power = 1;
  while (power < value) power *= 2;
  return power;
}

static constexpr std::int64_t tile_count(std::int64_t hidden_size) {
  return ceil_div(hidden_size, kTileColumns);
}

template <class Float = float>
static constexpr Float inverse(std::int64_t hidden_size) {
  return static_cast<Float>(1.0 / static_cast<double>(hidden_size));
}

// Float is float, or double for float64 tensors.
template <class Float>
struct FoldLimits;

template <>
struct FoldLimits<float> {
  using Bits = std::uint32_t;
  static constexpr Bits kExponent = 0x7f800000;
  static constexpr float kSmallestNormal = 0x1p-126f;
  // Below it a sum may lack digits of products that underflowed, from it on the products of 2^24
  // columns that did can not change it.
  static constexpr float kTinySum = 0x1p-100f;
  // Makes the squares of 2^40 of the largest numbers finite, and of the smallest normal.
  static constexpr float kRescale = 0x1p96f;
};
template <>
struct FoldLimits<double> {
  using Bits = std::uint64_t;
  static constexpr Bits kExponent = 0x7ff0000000000000;
  static constexpr double kSmallestNormal = 0x1p-1022;
  static constexpr double kTinySum = 0x1p-900;
  static constexpr double kRescale = 0x1p600;
};

// Above it x is so small that g * x may vanish where g does not. An eps of 2^-64 or more keeps rstd
// below it: rows of zeros in dy then are folded once.
static constexpr float kLargeRstd = 0x1p32f;

template <class Float>
static constexpr bool is_finite(Float value) {
  return value - value == 0;
}

// What x is scaled by in forward's rescaled pass, or 1 if the first one stands.
template <class Float>
static constexpr Float rescale_factor(Float sum, Float eps) {
  using Limits = FoldLimits<Float>;
  if (!is_finite(sum)) return 1 / Limits::kRescale;
  return sum < Limits::kTinySum && eps < Limits::kSmallestNormal ? Limits::kRescale : Float(1);
}

// Whether backward's first fold stands.
template <class Float>
static constexpr bool gradient_fold_stands(Float sum, Float rstd) {
  const Float magnitude = sum < 0 ? -sum : sum;
  return is_finite(sum) && !(magnitude < FoldLimits<Float>::kTinySum && rstd > kLargeRstd);
}

// The power of two at or below rstd, at least the smallest normal number: what x is scaled by in
// backward's rescaled pass, which makes it about xhat.
template <class Float>
static constexpr Float power_of_two(Float rstd) {
  using Limits = FoldLimits<Float>;
  using Bits = typename Limits::Bits;
  const Bits exponent = __builtin_bit_cast(Bits, rstd) & Limits::kExponent;
  const Float power = __builtin_bit_cast(Float, exponent);
  return power < Limits::kSmallestNormal ? Limits::kSmallestNormal : power;
}

static constexpr std::int64_t row_group_rows(std::int64_t rows) {
  const std::int64_t wanted = bit_ceil(ceil_div(rows, kMaxRowGroups));
  return wanted > kMinGroupRows ? wanted : kMinGroupRows;
}

static constexpr std::int64_t row_group_count(std::int64_t rows) {
  return ceil_div(rows, row_group_rows(rows));
}

// The halving tree over values[0 … count), count a power of two; the sum is left in values[0].
template <class Float>
static constexpr Float halving_sum(Float* values, std::int64_t count) {
  for (std::int64_t s = count / 2; s >= 1; s /= 2) {
    for (std::int64_t i = 0; i < s; ++i) values[i] += values[i + s];
  }
  return values[0];
}

// A row's tile sums are buffered, this many at a time: 4 KiB of stack, of float64 8.
static constexpr std::int64_t kBufferedTiles = 1024;

// The halving tree over the tiles first, first + stride, first + 2 stride … of a row of `tiles`
// tiles padded to `padded`. `fill(first, stride, count, sums)` writes the sums of those tiles,
// +0 for tiles from `tiles` on. The last step of a halving tree adds its odd leaves to its even
// ones, so a tree too large for the buffer is two trees of twice the stride.
template <class Float, class Fill>
static constexpr Float sum_tiles(std::int64_t padded, std::int64_t first, std::int64_t stride,
                                 Float (&buffer)[kBufferedTiles], const Fill& fill) {
  const std::int64_t count = padded / stride;
  if (count > kBufferedTiles) {
    const Float even = sum_tiles(padded, first, 2 * stride, buffer, fill);
    return even + sum_tiles(padded, first + stride, 2 * stride, buffer, fill);
  }
  fill(first, stride, count, buffer);
  return halving_sum(buffer, count);
}

static_assert(tile_count(1) == 1 && tile_count(256) == 1 && tile_count(257) == 2);
static_assert(bit_ceil(1) == 1 && bit_ceil(16) == 16 && bit_ceil(17) == 32);
static_assert(inverse(4096) == 0x1p-12f && inverse(3) == 0x1.555556p-2f);
static_assert(rescale_factor(1.0f, 0.0f) == 1 && rescale_factor(0.0f, 1e-6f) == 1);
static_assert(rescale_factor(0x1p-101f, 0.0f) == 0x1p96f);
static_assert(gradient_fold_stands(0.0f, 0x1p32f) && !gradient_fold_stands(-0x1p-101f, 0x1p33f));
static_assert(power_of_two(3.0f) == 2 && power_of_two(0x1p-140f) == 0x1p-126f);
static_assert(power_of_two(0.75) == 0.5);
static_assert(row_group_rows(0) == 16 && row_group_rows(1) == 16 && row_group_rows(8192) == 16);
static_assert(row_group_rows(8193) == 32 && row_group_rows(std::int64_t{1} << 40) == 1LL << 31);
static_assert(row_group_count(0) == 0 && row_group_count(17) == 2 && row_group_count(8193) == 257);
static_assert([] {
  float four[] = {1, 2, 0x1p24f, 4};  // (1 + 2^24) + (2 + 4), where 1 is lost
  return halving_sum(four, 4) == 0x1p24f + 6;
}());

}  // namespace rmsnorm
