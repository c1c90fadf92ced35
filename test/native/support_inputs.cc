#include <bit>
#include <cmath>
#include <iterator>

#include "support.h"

namespace rmsnorm::test {
namespace {

DType weight_dtype(const Problem& problem) {
  return problem.weight == WeightKind::kFloat32 ? DType::kFloat32 : problem.dtype;
}

float power_of_two(int exponent) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(exponent + 127) << 23);
}

// A multiple of 2^-22 in [-2, 2).
float ordinary(Random& random) {
  return static_cast<float>(static_cast<std::int32_t>(random.bits()) >> 8) * 0x1p-22f;
}

// Factors that make an ordinary value subnormal, or so large that products of a few are still
// finite.
double scale_of(DType dtype, int float16, int float64, int others) {
  return std::ldexp(1.0, dtype == DType::kFloat16   ? float16
                         : dtype == DType::kFloat64 ? float64
                                                    : others);
}
double tiny_scale(DType dtype) { return scale_of(dtype, -22, -1022, -126); }
double huge_scale(DType dtype) { return scale_of(dtype, 12, 300, 38); }

// Fills all digits of the type: ordinary values have only 24 bits.
double precise(Random& random, DType dtype, double value) {
  if (dtype != DType::kFloat64) return value;
  return value * (1.0 + static_cast<double>(random.bits()) * 0x1p-52);
}

double sprinkled(Random& random, DType dtype, bool with_huge) {
  const double value = ordinary(random);
  switch (random.below(16)) {
    case 0:
      return 0.0;
    case 1:
      return -0.0;
    case 2:
      return value * tiny_scale(dtype);
    case 3:
      return with_huge ? value * huge_scale(dtype) : value;
    case 4:
      return value * power_of_two(-8);
    default:
      return value;
  }
}

void fill_row(Matrix& matrix, std::int64_t row, std::uint64_t seed) {
  const DType dtype = matrix.dtype();
  Random random(seed + static_cast<std::uint64_t>(row));
  const auto fill = [&](auto next) {
    for (std::int64_t j = 0; j < matrix.columns(); ++j) {
      matrix.set(row, j, precise(random, dtype, next()));
    }
  };
  switch (random.below(8)) {
    case 0:
      return fill([&] { return random.once_in(2) ? 0.0 : -0.0; });
    case 1:
      return fill([&] { return ordinary(random) * tiny_scale(dtype); });
    case 2:
      // Products of two of these underflow to zeros of either sign, except in float16.
      return fill([&] { return ordinary(random) * scale_of(dtype, -14, -540, -75); });
    case 3:
      return fill([&] { return ordinary(random) * huge_scale(dtype); });
    case 4:
    case 5:
      return fill([&] { return sprinkled(random, dtype, true); });
    default:
      return fill([&] { return ordinary(random); });
  }
}

// Quiet and signalling NaNs, with payloads that rounding could carry out of the NaN range, and
// infinities.
void make_special(Matrix& matrix, std::int64_t row, std::uint64_t seed) {
  static constexpr std::uint32_t kFloat32[] = {0x7fffffff, 0xffffffff, 0x7f800001, 0xff80ffff,
                                               0x7fc00000, 0x7f800000, 0xff800000};
  static constexpr std::uint32_t kFloat16[] = {0x7fff, 0xffff, 0x7c01, 0xfdff,
                                               0x7e00, 0x7c00, 0xfc00};
  static constexpr std::uint32_t kBFloat16[] = {0x7fff, 0xffff, 0x7f81, 0xffbf,
                                                0x7fc0, 0x7f80, 0xff80};
  static constexpr std::uint64_t kFloat64[] = {
      0x7fffffffffffffff, 0xffffffffffffffff, 0x7ff0000000000001, 0xfff0ffffffffffff,
      0x7ff8000000000000, 0x7ff0000000000000, 0xfff0000000000000};
  Random random(seed + static_cast<std::uint64_t>(row) + 1000);
  const std::int64_t kind = random.below(7);
  const std::uint64_t bits = matrix.dtype() == DType::kFloat32    ? kFloat32[kind]
                             : matrix.dtype() == DType::kFloat16  ? kFloat16[kind]
                             : matrix.dtype() == DType::kBFloat16 ? kBFloat16[kind]
                                                                  : kFloat64[kind];
  const std::int64_t times = 1 + random.below(2);
  for (std::int64_t i = 0; i < times; ++i) {
    matrix.set_bits(row, random.below(matrix.columns()), bits);
  }
}

// Each accumulator of a tile starts at +0, and the product of its first column makes it -0. The
// later columns have a g of -0, so their dx shows the sign of the row sum.
void fill_vanishing(Matrix& matrix, std::int64_t row, bool is_x) {
  for (std::int64_t j = 0; j < matrix.columns(); ++j) {
    const bool first = j % kTileColumns < kAccumulators;
    matrix.set(row, j, is_x ? power_of_two(-100) : first ? -power_of_two(-100) : -0.0f);
  }
}

// The exponent of weights for which y is near the smallest normal number.
int threshold_exponent(const Problem& problem) {
  constexpr int kExponents[] = {0, -40, -126};
  return kExponents[problem.seed % 3];
}

void fill_threshold(Matrix& matrix, std::int64_t row, const Problem& problem, std::uint64_t seed) {
  Random random(seed + static_cast<std::uint64_t>(row));
  for (std::int64_t j = 0; j < matrix.columns(); ++j) {
    matrix.set(row, j, random.once_in(16) ? 0.0f : ordinary(random));
  }
  if (row % 4 == 0) return;
  const std::int64_t where = random.below(matrix.columns());
  const int exponent = -126 - threshold_exponent(problem) + static_cast<int>(random.below(6)) - 3;
  const int least = exponent < -133 ? -133 : exponent;  // the exponent of the smallest bfloat16
  matrix.set(row, where, std::ldexp(1.0f + static_cast<float>(random.below(128)) / 128.0f, least));
}

// Rows of one magnitude, from the largest numbers to the smallest; rows of mixed magnitudes; rows
// of zeros.
void fill_extreme(Matrix& matrix, std::int64_t row, std::uint64_t seed) {
  static constexpr int kFloat32[] = {126, 125, 64,  63,  20,   0,    -49,  -50,
                                     -51, -60, -75, -90, -110, -126, -127, -140};
  static constexpr int kFloat16[] = {14, 8, 0, -8, -14, -24};
  static constexpr int kFloat64[] = {1022, 512,  500,  0,    -449,  -450,
                                     -451, -540, -700, -900, -1022, -1060};
  const DType dtype = matrix.dtype();
  Random random(seed + static_cast<std::uint64_t>(row));
  const auto any = [&](const auto& exponents) {
    return exponents[random.below(static_cast<std::int64_t>(std::size(exponents)))];
  };
  const auto any_exponent = [&] {
    return dtype == DType::kFloat16   ? any(kFloat16)
           : dtype == DType::kFloat64 ? any(kFloat64)
                                      : any(kFloat32);
  };
  const bool zeros = random.once_in(8);
  const bool mixed = random.once_in(4);
  int exponent = any_exponent();
  for (std::int64_t j = 0; j < matrix.columns(); ++j) {
    if (mixed) exponent = any_exponent();
    const double value = precise(random, dtype, ordinary(random));
    matrix.set(row, j, zeros || random.once_in(16) ? 0.0 : std::ldexp(value, exponent));
  }
}

constexpr std::uint64_t kX = 1;
constexpr std::uint64_t kDy = 2;
constexpr std::uint64_t kResidual = 3;
constexpr std::uint64_t kGate = 4;

// One of a problem's inputs; `salt` makes each different.
Matrix make_input(const Problem& problem, const Layout& layout, std::uint64_t salt) {
  Matrix matrix(problem.dtype, problem.shape.rows, problem.shape.hidden_size, layout.padding,
                layout.misaligned, layout.batch_rows, layout.batch_padding);
  const std::uint64_t seed = problem.seed * 1000003 + salt * 500009;
  for (std::int64_t r = 0; r < matrix.rows(); ++r) {
    if (problem.values == Values::kVanishing) {
      fill_vanishing(matrix, r, salt == kX);
      continue;
    }
    if (problem.values == Values::kThreshold) {
      fill_threshold(matrix, r, problem, seed);
      continue;
    }
    if (problem.values == Values::kExtreme) {
      fill_extreme(matrix, r, seed);
      continue;
    }
    fill_row(matrix, r, seed);
    if (problem.values == Values::kSpecial && is_special(r)) make_special(matrix, r, seed);
  }
  return matrix;
}

Matrix make_x(const Problem& problem, const Layout& layout) {
  return make_input(problem, layout, kX);
}
Matrix make_dy(const Problem& problem, const Layout& layout) {
  return make_input(problem, layout, kDy);
}

// residual or dsum.
Matrix make_residual(const Problem& problem, const Layout& layout) {
  if (!problem.residual) return {problem.dtype, 0, problem.shape.hidden_size};
  return make_input(problem, layout, kResidual);
}

// Gates for which exp(-z) ranges from 0 to overflow. In float16 |silu(z)| stays below 2, so that
// products with it do not overflow.
double any_gate(Random& random, DType dtype) {
  const double value = ordinary(random);
  switch (random.below(8)) {
    case 0:
      return random.once_in(2) ? 0.0 : -0.0;
    case 1:
      return -std::abs(value) * power_of_two(static_cast<int>(random.below(14)));
    case 2:
      return value * tiny_scale(dtype);
    case 3:
    case 4:
      return dtype == DType::kFloat16 ? value
                                      : value * power_of_two(static_cast<int>(random.below(9)));
    default:
      return value;
  }
}

Matrix make_gate(const Problem& problem, const Layout& layout) {
  if (!problem.gate) return {problem.dtype, 0, problem.shape.hidden_size};
  Matrix gate(problem.dtype, problem.shape.rows, problem.shape.hidden_size, layout.padding,
              layout.misaligned, layout.batch_rows, layout.batch_padding);
  const std::uint64_t seed = problem.seed * 1000003 + kGate * 500009;
  for (std::int64_t r = 0; r < gate.rows(); ++r) {
    Random random(seed + static_cast<std::uint64_t>(r));
    for (std::int64_t j = 0; j < gate.columns(); ++j) {
      gate.set(r, j, any_gate(random, problem.dtype));
    }
    if (problem.values == Values::kSpecial && is_special(r)) make_special(gate, r, seed);
  }
  return gate;
}

Matrix make_weight(const Problem& problem, const Layout& layout) {
  Matrix weight(weight_dtype(problem), 1, problem.shape.hidden_size, 0, layout.misaligned);
  Random random(problem.seed + 77);
  for (std::int64_t j = 0; j < weight.columns(); ++j) {
    if (problem.values == Values::kVanishing) {
      weight.set(0, j, 1.0f);
    } else if (problem.values == Values::kThreshold) {
      weight.set(0, j, std::ldexp(ordinary(random), threshold_exponent(problem)));
    } else {
      const double value = sprinkled(random, weight.dtype(), false);
      weight.set(0, j, precise(random, weight.dtype(), value));
    }
  }
  if (problem.values == Values::kSpecial && problem.seed % 2 == 0) {
    make_special(weight, 0, problem.seed);
  }
  return weight;
}

Weight weight_argument(const Problem& problem, const Matrix& weight) {
  if (problem.weight == WeightKind::kNone) return {};
  return {weight.row(0), weight.dtype()};
}

Matrix make_rstd(Problem problem, const Layout& layout) {
  problem.residual = false;  // backward's x already includes the residual
  Matrix rstd(computed_in(problem.dtype), 1, problem.shape.rows, 0, layout.misaligned);
  if (!layout.has_rstd) return rstd;
  const ForwardBuffers forward = expected_forward(problem);
  for (std::int64_t r = 0; r < problem.shape.rows; ++r) {
    // A caller may pass any NaN.
    rstd.set_bits(0, r, forward.rstd.is_nan(0, r) ? ~std::uint64_t{0} : forward.rstd.bits(0, r));
  }
  return rstd;
}

Matrix make_dweight(const Problem& problem, const Layout& layout) {
  Matrix dweight(problem.dweight_dtype, 1, problem.shape.hidden_size, 0, layout.misaligned_out);
  if (!problem.accumulate) return dweight;
  Random random(problem.seed + 99);
  for (std::int64_t j = 0; j < dweight.columns(); ++j) {
    dweight.set(0, j, sprinkled(random, dweight.dtype(), true));
  }
  return dweight;
}

Matrix output_like(const Problem& problem, const Layout& layout, bool wanted = true) {
  return {problem.dtype,       wanted ? problem.shape.rows : 0, problem.shape.hidden_size,
          layout.padding,      layout.misaligned_out,           layout.batch_rows,
          layout.batch_padding};
}

}  // namespace

ForwardBuffers::ForwardBuffers(const Problem& problem, const Layout& layout)
    : x(make_x(problem, layout)),
      residual(make_residual(problem, layout)),
      gate(make_gate(problem, layout)),
      weight(make_weight(problem, layout)),
      y(output_like(problem, layout)),
      sum_out(output_like(problem, layout, problem.residual)),
      rstd(computed_in(problem.dtype), 1, problem.shape.rows, 0, layout.misaligned_out),
      args{problem.shape,
           problem.options,
           problem.dtype,
           x,
           weight_argument(problem, weight),
           layout.in_place == InPlace::kX ? x : y,
           rstd.row(0)} {
  if (problem.gate) args.gate = gate;
  if (!problem.residual) return;
  args.residual = residual;
  if (layout.in_place == InPlace::kResidual) args.y = residual;
  args.sum = layout.sum_in_place == InPlace::kX          ? x
             : layout.sum_in_place == InPlace::kResidual ? residual
                                                         : sum_out;
}

BackwardBuffers::BackwardBuffers(const Problem& problem, const Layout& layout)
    : dy(make_dy(problem, layout)),
      x(make_x(problem, layout)),
      dsum(make_residual(problem, layout)),
      gate(make_gate(problem, layout)),
      weight(make_weight(problem, layout)),
      rstd(make_rstd(problem, layout)),
      dx(output_like(problem, layout)),
      dgate(output_like(problem, layout, problem.gate)),
      dweight(make_dweight(problem, layout)),
      args{problem.shape,
           problem.options,
           problem.dtype,
           dy,
           x,
           weight_argument(problem, weight),
           layout.has_rstd ? rstd.row(0) : nullptr,
           layout.in_place == InPlace::kX    ? x
           : layout.in_place == InPlace::kDy ? dy
                                             : dx,
           layout.dweight ? dweight.row(0) : nullptr,
           problem.dweight_dtype,
           problem.accumulate} {
  if (problem.residual) {
    args.dsum = dsum;
    if (layout.in_place == InPlace::kResidual) args.dx = dsum;
  }
  if (problem.gate) {
    args.gate = gate;
    args.dgate = layout.dgate_in_place ? gate : dgate;
  }
  if (!layout.dx) args.dx.data = args.dgate.data = nullptr;
}

}  // namespace rmsnorm::test
