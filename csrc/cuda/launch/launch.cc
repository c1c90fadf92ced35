#include "launch.h"

#include <algorithm>
#include <string>

#include "../kernels/kernel_params.h"
#include "policy.h"

namespace rmsnorm::cuda {
namespace {

template <class Params>
Status enqueue(Device& device, const LaunchConfig& launch, const Params& params, CUstream stream) {
  if (launch.blocks == 0) return {};
  CUfunction kernel = nullptr;
  RMSNORM_TRY(device.kernel(*launch.kernel, &kernel));
  void* parameters[] = {const_cast<Params*>(&params)};
  return RMSNORM_CUDA(cuLaunchKernel, kernel, static_cast<unsigned>(launch.blocks), 1, 1,
                      launch.block_x, launch.block_y, 1, launch.shared_bytes, stream, parameters,
                      nullptr);
}

// Whether the kernel of the second pass is launched twice: first to find the largest magnitude of
// each row, then to write the codes.
bool has_search(const ForwardParams& params) {
  return params.quantization.is_wanted() && params.quantization.scale == 0;
}
bool has_search(const BackwardParams&) { return false; }

// Computes rows that are too long for one block, in waves of config.wave_rows rows. A wave first
// launches the fold for the sums of the splits. A split is the part of a row that one block sums.
// Then it launches the fold again, for the sums of the rows, and then the second pass. The first
// launch of a wave gets the parameters `fold`, the other launches get `later`.
// LongParams::is_second_launch is false in the first of a kernel's two launches in a wave. It is
// true in the second, and if there is only one.
template <class Params>
Status enqueue_long(Device& device, LongConfig config, const Params& fold, const Params& later,
                    CUdeviceptr workspace, CUstream stream) {
  const std::int64_t all_rows = fold.common.rows;
  const std::int64_t second_pass_blocks = config.second_pass.blocks;
  LongParams<Params> params{fold, reinterpret_cast<float*>(workspace), config.splits, 0, 0, false};
  for (std::int64_t& first = params.first_row; first < all_rows; first += config.wave_rows) {
    const std::int64_t rows = std::min(config.wave_rows, all_rows - first);
    params.first_group = first / config.group_rows;
    config.fold.blocks = rows * config.splits;
    config.sum_splits.blocks = rows;
    config.second_pass.blocks = second_pass_blocks * ceil_div(rows, config.group_rows);
    params.of_rows = fold;
    params.is_second_launch = false;
    RMSNORM_TRY(enqueue(device, config.fold, params, stream));
    params.of_rows = later;
    params.is_second_launch = true;
    RMSNORM_TRY(enqueue(device, config.sum_splits, params, stream));
    if (has_search(later)) {
      params.is_second_launch = false;
      RMSNORM_TRY(enqueue(device, config.second_pass, params, stream));
      params.is_second_launch = true;
    }
    RMSNORM_TRY(enqueue(device, config.second_pass, params, stream));
  }
  return {};
}

template <class Args>
RowParams row_params(const Args& args, const Call& call) {
  const bool has_weight = args.weight.data != nullptr;
  return {.rows = args.shape.rows,
          .hidden_size = args.shape.hidden_size,
          .weight = args.weight.data,
          .weight_offset = has_weight ? static_cast<float>(args.options.weight_offset) : 0.0f,
          .eps = static_cast<float>(args.options.eps),
          .inverse_size = inverse(args.shape.hidden_size),
          .access_bytes = call.access_bytes,
          .weight_is_float32 = has_weight && args.weight.dtype == DType::kFloat32,
          .is_llama_order = args.options.cast_order == CastOrder::kLlama,
          .gate_order = args.options.gate_order,
          .gate = kernel_matrix(args.gate, args.shape.rows)};
}

ForwardParams forward_params(const ForwardArgs& args, const Call& call) {
  return {.common = row_params(args, call),
          .x = kernel_matrix(args.x, args.shape.rows),
          .residual = kernel_matrix(args.residual, args.shape.rows),
          .sum = kernel_matrix(args.sum, args.shape.rows),
          .y = kernel_matrix(args.y, args.shape.rows),
          .rstd = static_cast<float*>(args.rstd),
          .first_row = 0,
          .quantization = args.quantization,
          .scales = args.scales};
}

BackwardParams backward_params(const BackwardArgs& args, const Call& call, std::int64_t group_rows,
                               CUdeviceptr partials) {
  return {.common = row_params(args, call),
          .dy = kernel_matrix(args.dy, args.shape.rows),
          .x = kernel_matrix(args.x, args.shape.rows),
          .rstd = static_cast<const float*>(args.rstd),
          .dx = kernel_matrix(args.dx, args.shape.rows),
          .dsum = kernel_matrix(args.dsum, args.shape.rows),
          .dgate = kernel_matrix(args.dgate, args.shape.rows),
          .partials = args.dweight != nullptr ? reinterpret_cast<float*>(partials) : nullptr,
          .partial_stride = partial_row_floats(args.shape.hidden_size),
          .group_rows = group_rows};
}

// The `group_rows` of configure_backward(): row groups matter to the kernels only if dweight is
// wanted.
std::int64_t wanted_group_rows(const BackwardArgs& args, std::int64_t group_rows) {
  return args.dweight != nullptr ? group_rows : 0;
}

Limits limits_of(const Device& device) {
  const DeviceProperties& properties = device.properties();
  return {.architecture = 10 * properties.major + properties.minor,
          .multiprocessors = properties.multiprocessors,
          .shared_bytes = properties.shared_memory_optin,
          .cache_bytes = properties.cache_bytes};
}

// Checks that there are kernels for a call with these matrices of `rows` rows. A matrix without
// data is ignored.
template <class... AnyRows>
Status check(Device& device, DType dtype, std::int64_t rows, const AnyRows&... matrices) {
  RMSNORM_TRY(check_dtype(device, dtype));
  const bool is_batched =
      ((matrices.data != nullptr && merge_batches(matrices, rows).batch_rows != kOneBatch) || ...);
  if (!is_batched || rows < kMaxBatchedRows) return {};
  return {Code::kOutOfRange, "A tensor with batches of rows must have fewer than 2^31 rows on " +
                                 device.name() + ". Received " + std::to_string(rows)};
}

}  // namespace

Status check_dtype(const Device& device, DType dtype) {
  if (dtype != DType::kFloat64) return {};
  return {Code::kInvalidValue,
          "The argument 'device' must be 'cpu' for float64, which has no CUDA kernels. Received " +
              device.name()};
}

std::int64_t forward_workspace_bytes(const Device& device, const ForwardArgs& args) {
  // Returns early if it can, because the choice of a kernel takes time, and launch_forward() makes
  // it anyway.
  if (args.shape.hidden_size <= kResidentColumns && !args.quantization.is_wanted()) return 0;
  const Call call = Call::of(args);
  if (configure_forward(call).kernel != nullptr) return 0;
  return configure_long_forward(call, limits_of(device)).sums_floats *
         static_cast<std::int64_t>(sizeof(float));
}

Status launch_forward(Device& device, const ForwardArgs& args, CUdeviceptr workspace,
                      CUstream stream) {
  RMSNORM_TRY(check(device, args.dtype, args.shape.rows, args.x, args.residual, args.sum, args.y,
                    args.gate));
  const Call call = Call::of(args);
  ForwardParams params = forward_params(args, call);
  if (LaunchConfig launch = configure_forward(call); launch.kernel != nullptr) {
    const std::int64_t blocks = launch.blocks;
    for (std::int64_t first = 0; first < blocks; first += kMaxBlocks) {
      params.first_row = first * launch.block_y;
      launch.blocks = std::min(blocks - first, kMaxBlocks);
      RMSNORM_TRY(enqueue(device, launch, params, stream));
    }
    return {};
  }

  // The first launch of a wave writes x + residual to `sum`; the later launches read it there.
  ForwardParams later = params;
  if (args.residual.data != nullptr) {
    later.x = {params.sum.data, params.sum.row_stride, params.sum.batch_stride,
               params.sum.batch_rows};
    later.residual = {};
  }
  return enqueue_long(device, configure_long_forward(call, limits_of(device)), params, later,
                      workspace, stream);
}

std::int64_t backward_workspace_bytes(const Device& device, const BackwardArgs& args,
                                      std::int64_t group_rows) {
  const Call call = Call::of(args);
  const std::int64_t wanted = wanted_group_rows(args, group_rows);
  const BackwardConfig config = configure_backward(call, wanted, limits_of(device));
  std::int64_t floats = 0;
  if (config.rows.kernel == nullptr) {
    floats = configure_long_backward(call, wanted, limits_of(device)).sums_floats;
  } else if (config.columns.kernel != nullptr && args.rstd == nullptr) {
    floats = args.shape.rows;
  }
  return floats * static_cast<std::int64_t>(sizeof(float));
}

Status launch_backward(Device& device, const BackwardArgs& args, std::int64_t group_rows,
                       CUdeviceptr partials, CUdeviceptr workspace, CUstream stream) {
  RMSNORM_TRY(check(device, args.dtype, args.shape.rows, args.dy, args.x, args.dx, args.dsum,
                    args.gate, args.dgate));
  const Call call = Call::of(args);
  const std::int64_t wanted = wanted_group_rows(args, group_rows);
  const BackwardConfig config = configure_backward(call, wanted, limits_of(device));
  if (config.rows.kernel == nullptr) {
    const LongConfig whole = configure_long_backward(call, wanted, limits_of(device));
    const BackwardParams params = backward_params(args, call, whole.group_rows, partials);
    return enqueue_long(device, whole, params, params, workspace, stream);
  }
  BackwardParams params = backward_params(args, call, config.group_rows, partials);
  params.stages = config.stages;
  params.prefetches = config.prefetches;
  if (config.columns.kernel == nullptr) return enqueue(device, config.rows, params, stream);

  // config.columns computes dweight, and config.rows computes dx. `columns` runs first, because dx
  // may be written over x or dy. Without a given rstd `rows` runs first, because it computes the
  // rstd that `columns` reads. In that case configure_backward() has made sure that dx overwrites
  // neither.
  BackwardParams columns = backward_params(args, call, group_rows, partials);
  columns.dx = {};
  params.partials = nullptr;
  if (args.rstd == nullptr) params.saved_rstd = reinterpret_cast<float*>(workspace);
  const float* rstd = args.rstd != nullptr ? params.rstd : params.saved_rstd;
  const LongParams<BackwardParams> of_columns{columns, const_cast<float*>(rstd), 1, 0, 0, true};
  if (args.rstd == nullptr) RMSNORM_TRY(enqueue(device, config.rows, params, stream));
  RMSNORM_TRY(enqueue(device, config.columns, of_columns, stream));
  if (args.rstd == nullptr || args.dx.data == nullptr) return {};
  return enqueue(device, config.rows, params, stream);
}

Status launch_reduce_dweight(Device& device, const BackwardArgs& args, CUdeviceptr partials,
                             std::int64_t groups, CUstream stream) {
  const ReduceConfig config =
      configure_reduce_dweight(args.shape.hidden_size, args.dweight_dtype, groups);
  const ReduceParams params{.partials = reinterpret_cast<const float*>(partials),
                            .partial_stride = partial_row_floats(args.shape.hidden_size),
                            .hidden_size = args.shape.hidden_size,
                            .dweight = args.dweight,
                            .groups = static_cast<int>(groups),
                            .slice_groups = config.slice_groups,
                            .accumulate = args.accumulate};
  return enqueue(device, config.launch, params, stream);
}

}  // namespace rmsnorm::cuda
