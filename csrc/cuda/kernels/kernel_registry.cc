#include "kernel_registry.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>

namespace rmsnorm::cuda {
namespace {

// The types of the table's lists, as the host sees them.
template <class T>
constexpr DType kDType = DType::kFloat32;
template <>
constexpr DType kDType<Float16> = DType::kFloat16;
template <>
constexpr DType kDType<BFloat16> = DType::kBFloat16;

#define RMSNORM_STRING(name) #name
#define RMSNORM_NAME(name) RMSNORM_STRING(name)
#define RMSNORM_ROW(tag, T, W, kind, function, index, access)                  \
  KernelEntry{RMSNORM_NAME(RMSNORM_KERNEL_NAME(tag, function, index, access)), \
              file,                                                            \
              Kind::kind,                                                      \
              index,                                                           \
              RMSNORM_ACCESS_##access,                                         \
              kDType<T>,                                                       \
              __is_same(W, AnyWeight),                                         \
              kDType<W>},
constexpr auto kRows = [] {
  std::array<KernelEntry, kKernelCount> rows{};
  std::size_t count = 0;
  std::size_t file = 0;
  // In the order of kKernelFiles, which is that of RMSNORM_KERNELS.
  const auto add = [&](std::initializer_list<KernelEntry> list) {
    for (const KernelEntry& row : list) rows[count++] = row;
    ++file;
  };
  add({RMSNORM_FAST_FORWARD_KERNELS(RMSNORM_ROW)});
  add({RMSNORM_FORWARD_KERNELS(RMSNORM_ROW)});
  add({RMSNORM_FAST_BACKWARD_KERNELS(RMSNORM_ROW)});
  add({RMSNORM_STEP_KERNELS(RMSNORM_ROW)});
  add({RMSNORM_SINGLE_KERNELS(RMSNORM_ROW)});
  add({RMSNORM_LONG_KERNELS(RMSNORM_ROW)});
  add({RMSNORM_GATED_FORWARD_KERNELS(RMSNORM_ROW)});
  add({RMSNORM_REDUCE_KERNELS(RMSNORM_ROW)});
  return rows;
}();
static_assert(kRows.back().name != nullptr, "a list of the table is missing here");
static_assert(kRows.back().file + 1 == kKernelFileCount);

constexpr int kKinds = static_cast<int>(Kind::kReduceDweight) + 1;
constexpr int kAccesses = static_cast<int>(Access::kUnaligned) + 1;
constexpr int kDTypes = static_cast<int>(DType::kFloat64) + 1;
constexpr int kIndexes = std::ranges::max(kRows, {}, &KernelEntry::index).index + 1;

constexpr std::size_t slot(Kind kind, int index, Access access, DType dtype, DType weight_dtype) {
  int slot = static_cast<int>(kind);
  slot = slot * kIndexes + index;
  slot = slot * kAccesses + static_cast<int>(access);
  slot = slot * kDTypes + static_cast<int>(dtype);
  return static_cast<std::size_t>(slot * kDTypes + static_cast<int>(weight_dtype));
}

// The number of the row in each slot, from 1; 0 where there is none.
static_assert(kKernelCount <= UINT8_MAX);
constexpr auto kNumbers = [] {
  std::array<std::uint8_t, kKinds * kIndexes * kAccesses * kDTypes * kDTypes> numbers{};
  std::uint8_t number = 0;
  for (const KernelEntry& row : kRows) {
    ++number;
    for (int weight = 0; weight < kDTypes; ++weight) {
      const DType dtype = static_cast<DType>(weight);
      if (!row.has_any_weight && row.weight_dtype != dtype) continue;
      numbers[slot(row.kind, row.index, row.access, row.dtype, dtype)] = number;
    }
  }
  return numbers;
}();

}  // namespace

std::span<const KernelEntry, kKernelCount> kernel_registry() { return kRows; }

std::size_t kernel_number(const KernelEntry& row) {
  return static_cast<std::size_t>(&row - kRows.data());
}

const KernelEntry* find_kernel(Kind kind, int index, Access access, DType dtype,
                               DType weight_dtype) {
  const std::size_t number = kNumbers[slot(kind, index, access, dtype, weight_dtype)];
  return number == 0 ? nullptr : &kRows[number - 1];
}

}  // namespace rmsnorm::cuda
