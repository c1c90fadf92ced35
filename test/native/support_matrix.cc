#include <bit>
#include <cmath>
#include <cstring>

#include "op/float16.h"
#include "support.h"

namespace rmsnorm::test {
namespace {

constexpr std::byte kPoison{0xff};  // a NaN in every type

}  // namespace

Matrix::Matrix(DType dtype, std::int64_t rows, std::int64_t columns, std::int64_t padding,
               std::int64_t misaligned, std::int64_t batch_rows, std::int64_t batch_padding)
    : dtype_(dtype),
      size_(element_size(dtype)),
      rows_(rows),
      columns_(columns),
      stride_(columns + padding),
      misaligned_(misaligned),
      batch_rows_(batch_rows),
      batch_stride_(batch_rows == kOneBatch ? 0 : batch_rows * stride_ + batch_padding) {
  const std::int64_t used = rows == 0 ? misaligned : offset(rows - 1) + columns;
  const auto bytes = static_cast<std::size_t>(used * size_);
  memory_.reset(new (std::align_val_t{kAlignment}) std::byte[bytes]);
  std::memset(memory_.get(), static_cast<int>(kPoison), bytes);
}

std::uint64_t Matrix::bits(std::int64_t r, std::int64_t j) const {
  std::uint64_t bits = 0;  // all machines that run the tests are little-endian
  std::memcpy(&bits, static_cast<const std::byte*>(row(r)) + j * size_,
              static_cast<std::size_t>(size_));
  return bits;
}

double Matrix::value(std::int64_t r, std::int64_t j) const {
  const std::uint64_t all = bits(r, j);
  switch (dtype_) {
    case DType::kFloat32:
      return std::bit_cast<float>(static_cast<std::uint32_t>(all));
    case DType::kFloat16:
      return to_float(Float16{static_cast<std::uint16_t>(all)});
    case DType::kBFloat16:
      return to_float(BFloat16{static_cast<std::uint16_t>(all)});
    default:
      break;
  }
  return std::bit_cast<double>(all);
}

bool Matrix::is_nan(std::int64_t r, std::int64_t j) const { return std::isnan(value(r, j)); }

void Matrix::set_bits(std::int64_t r, std::int64_t j, std::uint64_t bits) {
  std::memcpy(static_cast<std::byte*>(row(r)) + j * size_, &bits, static_cast<std::size_t>(size_));
}

void Matrix::set(std::int64_t r, std::int64_t j, double value) {
  const auto narrow = static_cast<float>(value);
  switch (dtype_) {
    case DType::kFloat32:
      return set_bits(r, j, std::bit_cast<std::uint32_t>(narrow));
    case DType::kFloat16:
      return set_bits(r, j, from_float<Float16>(narrow).bits);
    case DType::kBFloat16:
      return set_bits(r, j, from_float<BFloat16>(narrow).bits);
    default:
      return set_bits(r, j, std::bit_cast<std::uint64_t>(value));
  }
}

bool Matrix::padding_is_intact() const {
  const auto intact = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * size_; i < end * size_; ++i) {
      if (memory_[static_cast<std::size_t>(i)] != kPoison) return false;
    }
    return true;
  };
  if (!intact(0, misaligned_)) return false;
  for (std::int64_t r = 0; r + 1 < rows_; ++r) {
    if (!intact(offset(r) + columns_, offset(r + 1))) return false;
  }
  return true;
}

}  // namespace rmsnorm::test
