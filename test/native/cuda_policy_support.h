// For tests of the policy: calls of every kind, several devices, and the requirements on launches.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "cuda/launch/policy.h"
#include "op/fold.h"

namespace rmsnorm::cuda {

inline constexpr DType kDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};
inline constexpr DType kAllDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16,
                                       DType::kFloat64};
inline constexpr std::int64_t kMostElements = std::int64_t{1} << 40;
// A T4, an A100, an RTX 4090, an H100, and a device with little of everything and no opt-in shared
// memory.
inline constexpr Limits kLimits[] = {{75, 40, 64 << 10, 4 << 20},
                                     {80, 108, 163 << 10, 40 << 20},
                                     {89, 128, 99 << 10, 72 << 20},
                                     {90, 132, 227 << 10, 50 << 20},
                                     {90, 1, 48 << 10, 1 << 10}};

// All short rows, and for longer ones the sizes around which a choice can change.
inline std::vector<std::int64_t> hidden_sizes() {
  std::vector<std::int64_t> sizes;
  for (std::int64_t size = 1; size <= 5200; ++size) sizes.push_back(size);
  for (std::int64_t tiles = 20; tiles <= 320; ++tiles) {
    for (const int off : {-8, -4, -1, 0, 1, 4, 8}) sizes.push_back(kTileColumns * tiles + off);
  }
  for (std::int64_t size = std::int64_t{1} << 17; size <= std::int64_t{1} << 32; size *= 2) {
    for (const int off : {-1, 0, 1, 8}) sizes.push_back(size + off);
  }
  return sizes;
}

// Calls function(call) for every dtype, weight, access and order that rows of this size can have.
template <class Function>
inline void for_each_call(std::int64_t hidden_size, std::int64_t rows, const Function& function) {
  for (const DType dtype : kDTypes) {
    for (const DType weight_dtype : {dtype, DType::kFloat32}) {
      for (int access = element_size(dtype); access <= 16; access *= 2) {
        if (hidden_size * element_size(dtype) % access != 0) continue;
        const Call call{{rows, hidden_size}, dtype, weight_dtype, access};
        for (const bool has_gate : {false, true}) {
          for (const bool is_quantized : {false, true}) {
            Call each = call;
            each.has_gate = has_gate;
            each.is_quantized = is_quantized;
            function(each);
          }
        }
        if (access < 16) continue;
        for (const bool is_llama : {false, true}) {
          if (is_llama && dtype == DType::kFloat32) continue;
          function(Call{{rows, hidden_size}, dtype, weight_dtype, 16, true, is_llama, !is_llama});
        }
      }
    }
  }
}

template <class Function>
inline void for_each_call(const Function& function) {
  for (const std::int64_t size : hidden_sizes()) for_each_call(size, 1000, function);
}

inline std::string describe(const Call& call) {
  return std::to_string(call.shape.rows) + "x" + std::to_string(call.shape.hidden_size) +
         ", dtype " + std::to_string(static_cast<int>(call.dtype)) + ", weight " +
         std::to_string(static_cast<int>(call.weight_dtype)) + ", access " +
         std::to_string(call.access_bytes) + (call.is_fast ? ", fast" : "") +
         (call.is_llama_order ? ", Llama's order" : "") + (call.has_gate ? ", gate" : "") +
         (call.is_quantized ? ", quantised" : "");
}

// Keeps the first failed requirement. doctest's own assertions are too slow for so many.
class Complaints {
 public:
  void require(bool holds, const char* what, const Call& call, std::int64_t extra = 0) {
    if (holds || !text_.empty()) return;
    text_ = std::string(what) + ": " + describe(call) + ", " + std::to_string(extra);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

inline std::int64_t padded_tiles(const Call& call) {
  return bit_ceil(tile_count(call.shape.hidden_size));
}
inline std::int64_t tile_lanes(const Call& call) {
  return kAccumulators * element_size(call.dtype) / 16;
}
inline std::int64_t row_packs(const Call& call) {
  return ceil_div(call.shape.hidden_size * element_size(call.dtype), 16);
}

// True if a kernel is only for rows with a gate.
inline bool is_gated(const KernelEntry& kernel) {
  const bool is_long = kernel.kind == Kind::kFoldForward || kernel.kind == Kind::kFoldBackward ||
                       kernel.kind == Kind::kScaleRows || kernel.kind == Kind::kBackwardColumns;
  return kernel.kind == Kind::kForwardGated || (is_long && kernel.index == kGated);
}

// Every launch needs a kernel of the call's types whose access width the rows allow, whole warps,
// and at most the threads the kernel is compiled for.
inline void check_launch(Complaints& complaints, const Call& call, const LaunchConfig& launch,
                         Kind kind, int max_threads) {
  complaints.require(launch.kernel != nullptr, "no kernel", call);
  if (launch.kernel == nullptr) return;
  const KernelEntry& kernel = *launch.kernel;
  const std::int64_t threads = std::int64_t{launch.block_x} * launch.block_y;
  complaints.require(kernel.kind == kind, "a kernel of another kind", call);
  complaints.require(threads > 0 && threads % kWarpLanes == 0, "no whole warps", call, threads);
  complaints.require(threads <= max_threads, "too many threads", call, threads);
  complaints.require(kernel.dtype == call.dtype, "a kernel of another dtype", call);
  complaints.require(is_gated(kernel) == call.has_gate, "a kernel with another gate", call);
  complaints.require(kernel.has_any_weight || kernel.weight_dtype == call.weight_dtype,
                     "a kernel of another weight", call);
  complaints.require(kernel.access == Access::kUnaligned || call.access_bytes == 16,
                     "packs where rows do not allow them", call);
}

// The threads of a row, with `tiles` tiles each, hold exactly the row's padded tiles, or `least` if
// that is more. The kernels' halving trees rely on it.
inline void check_tiles(Complaints& complaints, const Call& call, std::int64_t threads,
                        std::int64_t tiles, std::int64_t least = 1) {
  complaints.require(threads % tile_lanes(call) == 0, "an incomplete tile", call, threads);
  complaints.require(threads / tile_lanes(call) * tiles == std::max(padded_tiles(call), least),
                     "not the padded tiles", call, threads);
}

inline void check_long(Complaints& complaints, const Call& call, const LongConfig& config,
                       Kind fold, Kind second_pass) {
  check_launch(complaints, call, config.fold, fold, kLongThreads);
  check_launch(complaints, call, config.sum_splits, fold, kLongThreads);
  check_launch(complaints, call, config.second_pass, second_pass, kLongThreads);
  check_tiles(complaints, call, config.fold.block_x, config.splits, kWarpLanes / tile_lanes(call));
  const std::int64_t packs = second_pass == Kind::kScaleRows ? kScalePacks : 1;
  complaints.require(
      config.second_pass.blocks * config.second_pass.block_x * packs >= row_packs(call),
      "columns left out", call, config.second_pass.blocks);
  complaints.require(config.sums_floats == 2 * call.shape.rows * config.splits,
                     "not the floats of both sums", call, config.sums_floats);
  complaints.require(config.fold.blocks == config.splits && config.sum_splits.blocks == 1,
                     "not the blocks of a row", call, config.fold.blocks);
  complaints.require(
      config.wave_rows >= config.group_rows && config.wave_rows % config.group_rows == 0,
      "a wave that cuts a row group", call, config.wave_rows);
  const std::int64_t sums = fold == Kind::kFoldBackward ? 2 : 1;
  const std::int64_t groups = config.fold.block_x / tile_lanes(call);
  complaints.require(config.fold.shared_bytes == sums * groups * 4, "not a float for each group",
                     call, config.fold.shared_bytes);
}

}  // namespace rmsnorm::cuda
