// The entries of kernel_table.h as the host sees them, and how the host finds a kernel.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

#include "../../op/rms_norm.h"
#include "kernel_table.h"

namespace rmsnorm::cuda {

// A kernel's entry in the table.
struct KernelEntry {
  const char* name;  // in its module
  std::size_t file;  // its index in kKernelFiles: the file that defines the kernel
  Kind kind;
  int index;
  Access access;
  DType dtype;          // of the tensors
  bool has_any_weight;  // W is AnyWeight
  DType weight_dtype;   // unused if has_any_weight
};

#define RMSNORM_COUNT(tag, T, W, kind, function, index, access) +1
inline constexpr std::size_t kKernelCount = 0 RMSNORM_KERNELS(RMSNORM_COUNT);
#undef RMSNORM_COUNT

// The files of kernels/*.cu, one for each list of the table.
inline constexpr std::array kKernelFiles{"forward_fast",   "forward",       "backward_fast",
                                         "backward_steps", "backward_rows", "long_rows",
                                         "forward_gated",  "reduce_dweight"};
inline constexpr std::size_t kKernelFileCount = kKernelFiles.size();
// The index in kKernelFiles of a file with this name; kKernelFileCount if there is no such file.
constexpr std::size_t kernel_file_number(std::string_view name) {
  std::size_t number = 0;
  while (number < kKernelFileCount && kKernelFiles[number] != name) ++number;
  return number;
}

// All entries, in the table's order.
std::span<const KernelEntry, kKernelCount> kernel_registry();

// The number of an entry in the table, from 0.
std::size_t kernel_number(const KernelEntry& entry);

// The entry of the kernel with these properties, or null. `index` must not be above the largest
// index in the table.
const KernelEntry* find_kernel(Kind kind, int index, Access access, DType dtype,
                               DType weight_dtype);

}  // namespace rmsnorm::cuda
