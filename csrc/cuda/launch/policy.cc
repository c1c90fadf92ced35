#include "policy.h"

#include <algorithm>
#include <iterator>

#include "../../op/fold.h"
#include "../kernels/matrix.h"
#include "row_shape.h"

namespace rmsnorm::cuda {
namespace {

// The largest power of two, up to 16, that divides the value: the alignment of an address or stride
// in bytes. For 0 it is 16.
std::int64_t alignment(std::int64_t value) {
  return value == 0 ? 16 : std::min<std::int64_t>(value & -value, 16);
}
std::int64_t alignment(const void* pointer) {
  return alignment(static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(pointer) & 15));
}

// The alignment, in bytes up to 16, of every row of a matrix of `rows` rows; 16 if there is no
// matrix.
template <class AnyRows>
std::int64_t alignment(const AnyRows& matrix, std::int64_t rows, DType dtype) {
  if (matrix.data == nullptr) return 16;
  const AnyRows merged = merge_batches(matrix, rows);
  return std::min({alignment(merged.data), alignment(merged.row_stride * element_size(dtype)),
                   alignment(merged.batch_stride * element_size(dtype))});
}

template <class AnyRows>
bool is_one_batch(const AnyRows& matrix, std::int64_t rows) {
  return matrix.data == nullptr || merge_batches(matrix, rows).batch_rows == kOneBatch;
}

// `has_extra`: whether the call has an argument or an option that fast calls do not have.
template <class Args, class... AnyRows>
Call call_of(const Args& args, bool has_extra, const AnyRows&... matrices) {
  const bool has_weight = args.weight.data != nullptr;
  const std::int64_t row_bytes = args.shape.hidden_size * element_size(args.dtype);
  std::int64_t access =
      std::min({alignment(row_bytes), alignment(matrices, args.shape.rows, args.dtype)...});
  // A weight that is not on a 16-byte boundary must be read column by column. kUnaligned kernels
  // read every weight so, and an access of 8 bytes selects them.
  if (access == 16 && has_weight && alignment(args.weight.data) < 16) access = 8;
  return {.shape = args.shape,
          .dtype = args.dtype,
          .weight_dtype = has_weight ? args.weight.dtype : args.dtype,
          .access_bytes = static_cast<int>(access),
          .is_fast = has_weight && !has_extra && access == 16 && args.options.weight_offset == 0 &&
                     args.shape.rows <= kMaxFastRows &&
                     (is_one_batch(matrices, args.shape.rows) && ...),
          .is_llama_order =
              args.dtype != DType::kFloat32 && args.options.cast_order == CastOrder::kLlama};
}

int gates(const Call& call) { return call.has_gate ? 1 : 0; }

LaunchConfig configure_fast_forward(const Call& call) {
  if (!call.is_fast || !has_whole(call, kAccumulators)) return {};
  const Kind kind = call.is_llama_order ? Kind::kForwardLlama : Kind::kForwardFloat;
  // The first policy is for short rows alone: its threads hold only some packs of a tile.
  if (call.shape.hidden_size <= kFastForwardPolicies[0].packs * kAccumulators) {
    return configure_rows(call, kind, kFastForwardPolicies, kForwardBlockThreads);
  }
  return configure_rows(call, kind, kFastForwardPolicies, kForwardBlockThreads, 1);
}

// `sums` is the number of sums of a row, and also the number of matrices besides the gate. All
// matrices are read twice.
LongConfig configure_long(const Call& call, Kind fold, Kind second_pass, int sums,
                          std::int64_t group_rows, const Limits& limits) {
  const std::int64_t lanes = tile_lanes(call);
  // The tile groups of a block, which fill whole warps. Tile groups beyond the row's tiles have
  // zeros, as the padding of the tree over the tiles has (fold.h).
  const std::int64_t groups =
      std::clamp<std::int64_t>(padded_tiles(call), kWarpLanes / lanes, kLongThreads / lanes);
  const int index = call.has_gate ? kGated : 0;
  LongConfig config{};
  config.splits = ceil_div(padded_tiles(call), groups);
  config.group_rows = group_rows;
  config.sums_floats = 2 * call.shape.rows * config.splits;
  const std::int64_t row_bytes = (sums + gates(call)) * 16 * row_packs(call);
  const std::int64_t cached_rows = limits.cache_bytes / 2 / row_bytes;
  config.wave_rows = std::max<std::int64_t>(cached_rows / group_rows, 1) * group_rows;
  // A grid has at most kMaxBlocks blocks.
  const std::int64_t most_rows = kMaxBlocks / std::max(config.splits, row_packs(call));
  config.wave_rows =
      std::min(config.wave_rows, std::max(most_rows / group_rows, std::int64_t{1}) * group_rows);
  config.fold = {.kernel = find(call, fold, index, Access::kUnaligned),
                 .blocks = config.splits,
                 .block_x = static_cast<unsigned>(groups * lanes),
                 .block_y = 1,
                 .shared_bytes = static_cast<unsigned>(sums * groups * sizeof(float))};
  config.sum_splits = config.fold;
  config.sum_splits.blocks = 1;
  config.second_pass = {.kernel = find(call, second_pass, index, Access::kUnaligned),
                        .block_x = kLongThreads};
  return config;
}

// Whether a kernel of register-resident rows supports quantised calls.
bool quantizes(const KernelEntry& kernel) {
  return kernel.kind == Kind::kForward &&
         quantizes(kernel.access, kForwardPolicies[kernel.index].tiles);
}

}  // namespace

Call Call::of(const ForwardArgs& args) {
  const bool has_gate = args.gate.data != nullptr;
  if (!args.quantization.is_wanted()) {
    const bool has_extra = has_gate || args.residual.data != nullptr;
    Call call = call_of(args, has_extra, args.x, args.residual, args.sum, args.y, args.gate);
    call.has_gate = has_gate;
    return call;
  }
  Call call = call_of(args, true, args.x, args.residual, args.sum, args.gate);
  call.has_gate = has_gate;
  call.is_quantized = true;
  // A store of codes covers as many columns as an access of the other matrices.
  const std::int64_t access =
      alignment(args.y, args.shape.rows, args.quantization.codes) * element_size(args.dtype);
  call.access_bytes = static_cast<int>(std::min<std::int64_t>(call.access_bytes, access));
  return call;
}

Call Call::of(const BackwardArgs& args) {
  const bool has_gate = args.gate.data != nullptr;
  Call call = call_of(args, has_gate || args.dsum.data != nullptr, args.dy, args.x, args.dx,
                      args.dsum, args.gate, args.dgate);
  call.has_gate = has_gate;
  call.has_rstd = args.rstd != nullptr;
  call.is_in_place =
      args.dx.data != nullptr && (args.dx.data == args.x.data || args.dx.data == args.dy.data);
  return call;
}

LaunchConfig configure_forward(const Call& call) {
  LaunchConfig launch = configure_fast_forward(call);
  if (call.has_gate) {
    launch = configure_rows(call, Kind::kForwardGated, kGatedPolicies, kForwardBlockThreads);
  } else if (launch.kernel == nullptr) {
    launch = configure_rows(call, Kind::kForward, kForwardPolicies, kForwardBlockThreads);
  }
  if (call.is_quantized && launch.kernel != nullptr && !quantizes(*launch.kernel)) return {};
  if (launch.block_x > kWarpLanes) launch.shared_bytes = group_bytes(call, launch, 1);
  return launch;
}

LongConfig configure_long_forward(const Call& call, const Limits& limits) {
  LongConfig config = configure_long(call, Kind::kFoldForward, Kind::kScaleRows, 1, 1, limits);
  config.second_pass.blocks = ceil_div(row_packs(call), kLongThreads * kScalePacks);
  return config;
}

LongConfig configure_long_backward(const Call& call, std::int64_t group_rows,
                                   const Limits& limits) {
  LongConfig config = configure_long(call, Kind::kFoldBackward, Kind::kBackwardColumns, 2,
                                     group_rows > 0 ? group_rows : kMinGroupRows, limits);
  // Gated rows come here at any length, so they may be short.
  const std::int64_t threads =
      std::clamp<std::int64_t>(bit_ceil(row_packs(call)), kWarpLanes, kLongThreads);
  config.second_pass.block_x = static_cast<unsigned>(threads);
  config.second_pass.blocks = ceil_div(row_packs(call), threads);
  return config;
}

ReduceConfig configure_reduce_dweight(std::int64_t hidden_size, DType dweight_dtype,
                                      std::int64_t groups) {
  const Call call{.shape = {0, hidden_size},
                  .dtype = dweight_dtype,
                  .weight_dtype = dweight_dtype,
                  .access_bytes = 16};
  const std::int64_t slices =
      std::clamp<std::int64_t>(bit_ceil(groups) / kReduceSliceGroups, 1, kMaxSlices);
  return {.launch = {.kernel = find(call, Kind::kReduceDweight, 0, Access::kPacks),
                     .blocks = ceil_div(hidden_size, kReduceColumns),
                     .block_x = kReduceColumns,
                     .block_y = static_cast<unsigned>(slices)},
          .slice_groups = static_cast<int>(bit_ceil(groups) / slices)};
}

}  // namespace rmsnorm::cuda
