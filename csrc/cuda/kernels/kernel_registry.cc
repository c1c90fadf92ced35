#include "kernel_registry.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>

namespace rmsnorm::cuda {
namespace {

// The DType of a type in the table's lists; kFloat32 for float and AnyWeight.
template <class T>
constexpr DType kDType = DType::kFloat32;
template <>
constexpr DType kDType<Float16> = DType::kFloat16;
template <>
constexpr DType kDType<BFloat16> = DType::kBFloat16;

#define RMSNORM_STRING(name) #name
#define RMSNORM_NAME(name) RMSNORM_STRING(name)
#define RMSNORM_ENTRY(tag, T, W, kind, function, index, access)                \
  KernelEntry{RMSNORM_NAME(RMSNORM_KERNEL_NAME(tag, function, index, access)), \
              file,                                                            \
              Kind::kind,                                                      \
              index,                                                           \
              RMSNORM_ACCESS_##access,                                         \
              kDType<T>,                                                       \
              __is_same(W, AnyWeight),                                         \
              kDType<W>},
constexpr auto kEntries = [] {
  std::array<KernelEntry, kKernelCount> entries{};
  std::size_t count = 0;
  std::size_t file = 0;
  // The lists have the order of kKernelFiles and of RMSNORM_KERNELS.
  const auto add = [&](std::initializer_list<KernelEntry> list) {
    for (const KernelEntry& entry : list) entries[count++] = entry;
    ++file;
  };
  add({RMSNORM_FAST_FORWARD_KERNELS(RMSNORM_ENTRY)});
  add({RMSNORM_FORWARD_KERNELS(RMSNORM_ENTRY)});
  add({RMSNORM_FAST_BACKWARD_KERNELS(RMSNORM_ENTRY)});
  add({RMSNORM_STEP_KERNELS(RMSNORM_ENTRY)});
  add({RMSNORM_SINGLE_KERNELS(RMSNORM_ENTRY)});
  add({RMSNORM_LONG_KERNELS(RMSNORM_ENTRY)});
  add({RMSNORM_GATED_FORWARD_KERNELS(RMSNORM_ENTRY)});
  add({RMSNORM_REDUCE_KERNELS(RMSNORM_ENTRY)});
  return entries;
}();
static_assert(kEntries.back().name != nullptr, "a list of the table is missing here");
static_assert(kEntries.back().file + 1 == kKernelFileCount);

constexpr int kKinds = static_cast<int>(Kind::kReduceDweight) + 1;
constexpr int kAccesses = static_cast<int>(Access::kUnaligned) + 1;
constexpr int kDTypes = static_cast<int>(DType::kFloat64) + 1;
constexpr int kIndexes = std::ranges::max(kEntries, {}, &KernelEntry::index).index + 1;

// An index for each combination of the properties by which find_kernel() searches.
constexpr std::size_t slot(Kind kind, int index, Access access, DType dtype, DType weight_dtype) {
  int slot = static_cast<int>(kind);
  slot = slot * kIndexes + index;
  slot = slot * kAccesses + static_cast<int>(access);
  slot = slot * kDTypes + static_cast<int>(dtype);
  return static_cast<std::size_t>(slot * kDTypes + static_cast<int>(weight_dtype));
}

// For each slot, the number of its entry, counted from 1; 0 if no kernel has these properties.
static_assert(kKernelCount <= UINT8_MAX);
constexpr auto kNumbers = [] {
  std::array<std::uint8_t, kKinds * kIndexes * kAccesses * kDTypes * kDTypes> numbers{};
  std::uint8_t number = 0;
  for (const KernelEntry& entry : kEntries) {
    ++number;
    for (int weight = 0; weight < kDTypes; ++weight) {
      const DType dtype = static_cast<DType>(weight);
      if (!entry.has_any_weight && entry.weight_dtype != dtype) continue;
      numbers[slot(entry.kind, entry.index, entry.access, entry.dtype, dtype)] = number;
    }
  }
  return numbers;
}();

}  // namespace

std::span<const KernelEntry, kKernelCount> kernel_registry() { return kEntries; }

std::size_t kernel_number(const KernelEntry& entry) {
  return static_cast<std::size_t>(&entry - kEntries.data());
}

const KernelEntry* find_kernel(Kind kind, int index, Access access, DType dtype,
                               DType weight_dtype) {
  const std::size_t number = kNumbers[slot(kind, index, access, dtype, weight_dtype)];
  return number == 0 ? nullptr : &kEntries[number - 1];
}

}  // namespace rmsnorm::cuda
