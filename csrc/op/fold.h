// The numerics contract: the order in which every backend sums. It makes the same input give the
// same bits on any CPU variant, any number of threads and any GPU.
//
// H is hidden_size, M the number of rows, w the weight plus its offset (1 without a weight), and T
// the rounding to the tensor type. Backward gets dy, the gradient of y, and computes g = dy * w.
//
// The fold is the sum over a row of the products a[j] * b[j], in float32. Forward folds x with x
// (a = b = x), backward folds g with x (a = g, b = x).
//   1. The row is cut into tiles of kTileColumns columns. In a tile, column j belongs to
//      accumulator j mod kAccumulators. Each accumulator is a chain over its columns in ascending
//      order: acc = fma(a[j], b[j], acc), from +0. Columns from hidden_size on contribute nothing.
//   2. The tile sum is a halving tree over the accumulators of the tile. The halving tree over n
//      values is: for s = n/2, n/4, … 1: v[i] += v[i + s] for all i < s.
//   3. The row sum is the halving tree over the tile sums, padded with +0 to a power of two.
//
// Backward adds +0 to its row sum, which turns -0 into +0. So a backend may add zeros of either
// sign for columns that do not exist. Forward needs no such step: a sum of squares is never -0.
//
// For float64 tensors, float64 replaces float32 here and below.
//
// After the fold, each operation is rounded to nearest even. `sum` is the row sum, of x * x in
// forward and of g * x in backward:
//   m = sum * inverse(H);  v = m + eps;  rstd = 1 / sqrt(v)
//   xhat = x * rstd;  y = xhat * w
//   c = (sum + 0) * rstd;  cbar = c * inverse(H);  dx = rstd * fma(-xhat, cbar, g)
// CastOrder (rms_norm.h) says where y, g and the terms of dweight are rounded to T. dsum is the
// gradient of x + residual that does not come through y. It is added to dx in float32, before dx is
// rounded to T.
//
// With a gate z, y or x is multiplied by silu(z) in float32, and each operation is rounded
// (silu.h). dn is the gradient of the normalised row, silu' the derivative of silu:
//   after the norm    y = T((xhat * w) * silu(z))
//                     dgate = T((dy * (xhat * w)) * silu'(z))
//                     dn = dy * silu(z) replaces dy in g and dweight
//                     With CastOrder::kLlama, xhat * w is T(T(xhat) * w), and dn is
//                     T(dy * silu(z)).
//   before the norm   p = x * silu(z), not rounded to T, replaces x in the fold and in xhat
//                     dp, the gradient of p, is the dx above with p for x, not rounded to T
//                     dx = T(dp * silu(z) + dsum)
//                     dgate = T((dp * x) * silu'(z))
//
// A quantised call quantises y before y is rounded to T, or with CastOrder::kLlama after y is
// rounded. amax is the largest magnitude of y in a row. The bits of magnitudes are compared as
// integers, so NaN is the largest, and the order of the search does not matter. `largest` is the
// largest finite number of the code's type. Q rounds to nearest even and saturates: at -largest and
// largest for float8, at -128 and 127 for int8.
//   a scale for each row      code = Q(y / scale), with scale = min(amax / largest, scale_max)
//   one scale that is given   code = Q(y * (1 / scale))
// If amax is NaN, so is the scale. If the scale is 0, the codes are 0. Q(NaN) is NaN for float8 and
// 0 for int8.
//
// The row sum is unusable if products overflow, or are so small that they lose digits. The row is
// then folded again in a rescaled pass, with x * f instead of x, where f is a power of two. The
// result of that pass is final:
//   forward has a rescaled pass if f = rescale_factor(sum, eps) is not 1. It folds x * f with
//   itself:
//     v = m + (eps * f) * f;  rstd = (1 / sqrt(v)) * f
//   backward has a rescaled pass unless is_gradient_sum_final(sum, rstd). It folds g with x * f,
//   where f = power_of_two(rstd):
//     c = (sum + 0) * (rstd * (1 / f))
// So every row of finite x has an accurate rstd. rstd is infinite only if its type cannot hold it:
// if sqrt(mean(x^2) + eps) is below 2^-128 (float64: 2^-1024).
//
// For dweight, the rows are cut into row groups of row_group_rows(M) rows. In a row group, each
// column is a chain over the rows in ascending order: acc = fma(dy, xhat, acc), from +0. The chains
// of row group i are its partial row p[i], of H sums. The partial rows are summed by neighbours,
// level by level: p[i] = p[2i] + p[2i + 1]. If a level has an odd number of partial rows, the last
// of them moves to the next level unchanged.
//
// Functions here are `static`, because files compiled for different instruction sets include this
// header. Otherwise the linker could make all these files use one copy, compiled for one
// instruction set.
#pragma once

#include <cstdint>

namespace rmsnorm {

static constexpr std::int64_t kTileColumns = 256;
static constexpr std::int64_t kAccumulators = 64;
static constexpr std::int64_t kMinGroupRows = 16;
static constexpr int kTreeLevels = 9;  // the most levels in which partial rows are summed
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
  // A sum below kTinySum may lack digits, because products underflowed. For a larger sum, what 2^24
  // columns lose by underflow is less than its rounding error.
  static constexpr float kTinySum = 0x1p-100f;
  // If x is divided by kRescale, 2^40 squares of the largest number have a finite sum. If x is
  // multiplied by kRescale, the square of the smallest positive number is a normal number.
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

// If rstd is above kLargeRstd, x is so small that a product g * x may underflow. With an eps of
// 2^-64 or more, rstd is at most kLargeRstd. So with such an eps a sum of 0 is final, such as the
// sum of a row whose dy is all zeros.
static constexpr float kLargeRstd = 0x1p32f;

template <class Float>
static constexpr bool is_finite(Float value) {
  return value - value == 0;
}

// The factor f of forward's rescaled pass; 1 if the first row sum is final.
template <class Float>
static constexpr Float rescale_factor(Float sum, Float eps) {
  using Limits = FoldLimits<Float>;
  if (!is_finite(sum)) return 1 / Limits::kRescale;
  return sum < Limits::kTinySum && eps < Limits::kSmallestNormal ? Limits::kRescale : Float(1);
}

// Whether backward's first row sum is final, so that it needs no rescaled pass.
template <class Float>
static constexpr bool is_gradient_sum_final(Float sum, Float rstd) {
  const Float magnitude = sum < 0 ? -sum : sum;
  return is_finite(sum) && !(magnitude < FoldLimits<Float>::kTinySum && rstd > kLargeRstd);
}

// The largest power of two that is not above rstd, but at least the smallest normal number.
// Backward's rescaled pass multiplies x by this power, which gives about xhat.
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

// The halving tree over values[0 … count); count is a power of two. values[0] becomes the sum.
template <class Float>
static constexpr Float halving_sum(Float* values, std::int64_t count) {
  for (std::int64_t s = count / 2; s >= 1; s /= 2) {
    for (std::int64_t i = 0; i < s; ++i) values[i] += values[i + s];
  }
  return values[0];
}

// How many tile sums of a row are buffered at a time: 4 KiB of stack, for float64 8 KiB.
static constexpr std::int64_t kBufferedTiles = 1024;

// The halving tree over the sums of every stride-th tile of a row, beginning with tile `first`.
// `padded` is the row's number of tiles, rounded up to a power of two. `fill(first, stride, count,
// sums)` writes the sums of `count` of these tiles, and +0 for tiles that do not exist. The last
// step of a halving tree adds the sum of its odd leaves to the sum of its even leaves. So a tree
// too large for the buffer is computed as two trees of twice the stride.
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
static_assert(is_gradient_sum_final(0.0f, 0x1p32f) && !is_gradient_sum_final(-0x1p-101f, 0x1p33f));
static_assert(power_of_two(3.0f) == 2 && power_of_two(0x1p-140f) == 0x1p-126f);
static_assert(power_of_two(0.75) == 0.5);
static_assert(row_group_rows(0) == 16 && row_group_rows(1) == 16 && row_group_rows(8192) == 16);
static_assert(row_group_rows(8193) == 32 && row_group_rows(std::int64_t{1} << 40) == 1LL << 31);
static_assert(row_group_count(0) == 0 && row_group_count(17) == 2 && row_group_count(8193) == 257);
static_assert([] {
  float four[] = {1, 2, 0x1p24f, 4};  // (1 + 2^24) + (2 + 4); rounding loses the 1
  return halving_sum(four, 4) == 0x1p24f + 6;
}());

}  // namespace rmsnorm
