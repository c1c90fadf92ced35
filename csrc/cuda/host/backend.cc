#include "backend.h"

#include <algorithm>
#include <type_traits>

#include "../../op/fold.h"
#include "../../os/floating_point.h"
#include "../driver/device.h"
#include "../launch/launch.h"
#include "staging.h"

namespace rmsnorm::cuda {
namespace {

// Visits the matrices of a call and their dtypes, in the order of StagedCall::chunk_arrays.
template <class Visit>
void for_each_matrix(ForwardArgs& args, const Visit& visit) {
  visit(args.x, args.dtype);
  visit(args.residual, args.dtype);
  visit(args.sum, args.dtype);
  visit(args.y, args.quantization.is_wanted() ? args.quantization.codes : args.dtype);
  visit(args.gate, args.dtype);
}
template <class Visit>
void for_each_matrix(BackwardArgs& args, const Visit& visit) {
  visit(args.dy, args.dtype);
  visit(args.x, args.dtype);
  visit(args.dsum, args.dtype);
  visit(args.dx, args.dtype);
  visit(args.gate, args.dtype);
  visit(args.dgate, args.dtype);
}

// Host rows as a StagedArray. Rows that a call only reads are uploaded; rows that it writes are
// downloaded.
StagedArray array_of(const ConstRows& rows, std::int64_t hidden_size, DType dtype) {
  const std::int64_t size = element_size(dtype);
  return {.source = rows.data,
          .row_bytes = hidden_size * size,
          .row_stride = rows.row_stride * size,
          .batch_rows = rows.batch_rows,
          .batch_stride = rows.batch_stride * size};
}
StagedArray array_of(const Rows& rows, std::int64_t hidden_size, DType dtype) {
  StagedArray array = array_of(
      ConstRows{nullptr, rows.row_stride, rows.batch_rows, rows.batch_stride}, hidden_size, dtype);
  array.destination = rows.data;
  return array;
}

// The array's address in device memory that begins at `base`; null if the call does not use the
// array.
void* address(CUdeviceptr base, const StagedArray& array) {
  if (!array.is_used()) return nullptr;
  return reinterpret_cast<void*>(base + static_cast<CUdeviceptr>(array.offset));
}

// Stands for an address of device memory that is not allocated yet, with the same alignment. The
// size of the workspace depends on the alignment of the arrays.
constexpr CUdeviceptr kPlaceholder = Layout::kAlignment;

// A call over host arrays, laid out in device memory: weight and dweight in the memory of the whole
// call, all other arrays in the memory of a chunk.
template <class Args>
class StagedArgs {
 public:
  explicit StagedArgs(const Args& args) : args_(args) { call.rows = args.shape.rows; }

  StagedCall call;  // the caller sets launch and after_chunks

  // A chunk holds as many units of `unit_rows` rows as fit chunk_bytes(), at least one.
  Status lay_out(std::int64_t unit_rows) {
    const std::int64_t hidden_size = args_.shape.hidden_size;
    auto next = call.chunk_arrays.begin();
    std::int64_t row_bytes = 0;  // stays 0 without rows, if the matrices have no address
    for_each_matrix(args_, [&](const auto& matrix, DType dtype) {
      *next = array_of(matrix, hidden_size, dtype);
      if (next->is_used()) row_bytes += next->row_bytes;
      ++next;
    });
    using Rstd = std::conditional_t<kIsForward, Rows, ConstRows>;
    *next++ = array_of(Rstd{args_.rstd, 1}, 1, DType::kFloat32);
    if constexpr (kIsForward) *next = array_of(Rows{args_.scales, 1}, 1, DType::kFloat32);
    std::int64_t bytes = 0;
    RMSNORM_TRY(chunk_bytes(&bytes));
    const std::int64_t units =
        row_bytes == 0 ? 1 : std::max<std::int64_t>(bytes / row_bytes / unit_rows, 1);
    // Without rows there is no chunk, and only after_chunks runs.
    call.chunk_rows = std::clamp<std::int64_t>(args_.shape.rows, 1, units * unit_rows);
    for (StagedArray& array : call.chunk_arrays) add(call.chunk_layout, call.chunk_rows, array);
    call.call_arrays[0] = array_of(ConstRows{args_.weight.data}, hidden_size, args_.weight.dtype);
    if constexpr (!kIsForward) {
      call.call_arrays[1] = {.source = args_.accumulate ? args_.dweight : nullptr,
                             .destination = args_.dweight,
                             .row_bytes = hidden_size * element_size(args_.dweight_dtype)};
    }
    for (StagedArray& array : call.call_arrays) add(call.call_layout, 1, array);
    return {};
  }

  // Adds a workspace that suffices for every chunk: for a full one, and for the last one, which may
  // have fewer rows. bytes(device, args) is what one chunk needs.
  template <class Bytes>
  void add_workspace(const Device& device, const Bytes& bytes) {
    const auto bytes_for = [&](std::int64_t rows) {
      return bytes(device, on_device({0, rows, kPlaceholder, kPlaceholder, nullptr}));
    };
    const std::int64_t last_rows = args_.shape.rows % call.chunk_rows;
    workspace_ = call.chunk_layout.add(
        std::max(bytes_for(call.chunk_rows), last_rows == 0 ? 0 : bytes_for(last_rows)));
  }
  CUdeviceptr workspace(const Chunk& chunk) const {
    return chunk.chunk_memory + static_cast<CUdeviceptr>(workspace_);
  }

  // The arguments of a chunk on the device, where its rows are contiguous.
  Args on_device(const Chunk& chunk) const {
    const std::int64_t hidden_size = args_.shape.hidden_size;
    Args args_on_device = args_;
    args_on_device.shape.rows = chunk.rows;
    auto next = call.chunk_arrays.begin();
    for_each_matrix(args_on_device, [&](auto& matrix, DType) {
      matrix = {address(chunk.chunk_memory, *next++), hidden_size};
    });
    args_on_device.rstd = address(chunk.chunk_memory, *next++);
    args_on_device.weight.data = address(chunk.call_memory, call.call_arrays[0]);
    if constexpr (kIsForward) {
      args_on_device.scales = static_cast<float*>(address(chunk.chunk_memory, *next));
    } else {
      args_on_device.dweight = address(chunk.call_memory, call.call_arrays[1]);
    }
    return args_on_device;
  }

 private:
  static constexpr bool kIsForward = std::is_same_v<Args, ForwardArgs>;

  static void add(Layout& layout, std::int64_t rows, StagedArray& array) {
    if (array.is_used()) array.offset = layout.add(rows * array.row_bytes);
  }

  Args args_;
  std::int64_t workspace_ = 0;
};

Status staged_forward(Device& device, const ForwardArgs& args) {
  StagedArgs<ForwardArgs> staged(args);
  RMSNORM_TRY(staged.lay_out(1));
  staged.add_workspace(device, forward_workspace_bytes);
  staged.call.launch = [&](const Chunk& chunk) {
    return launch_forward(device, staged.on_device(chunk), staged.workspace(chunk), chunk.stream);
  };
  return run_staged(device, staged.call);
}

// The partial rows of dweight stay on the device until the end of the call. Chunks consist of whole
// row groups, so each group has its own partial row.
Status staged_backward(Device& device, const BackwardArgs& args) {
  const bool has_dweight = args.dweight != nullptr;
  const std::int64_t groups = row_group_count(args.shape.rows);
  const std::int64_t group_rows = row_group_rows(args.shape.rows);
  StagedArgs<BackwardArgs> staged(args);
  RMSNORM_TRY(staged.lay_out(has_dweight ? group_rows : 1));
  staged.add_workspace(device, [&](const Device& on, const BackwardArgs& chunk) {
    return backward_workspace_bytes(on, chunk, group_rows);
  });
  const std::int64_t partial_bytes = partial_row_bytes(args.shape.hidden_size);
  const std::int64_t partials =
      staged.call.call_layout.add(has_dweight ? groups * partial_bytes : 0);
  const auto partials_of = [&](const Chunk& chunk) -> CUdeviceptr {
    if (!has_dweight) return 0;
    const std::int64_t group = chunk.first_row / group_rows;
    return chunk.call_memory + static_cast<CUdeviceptr>(partials + group * partial_bytes);
  };
  staged.call.launch = [&](const Chunk& chunk) {
    return launch_backward(device, staged.on_device(chunk), group_rows, partials_of(chunk),
                           staged.workspace(chunk), chunk.stream);
  };
  if (has_dweight) {
    staged.call.after_chunks = [&](const Chunk& all) {
      return launch_reduce_dweight(device, staged.on_device(all), partials_of(all), groups,
                                   all.stream);
    };
  }
  return run_staged(device, staged.call);
}

// Whether a call writes nothing.
bool is_empty(const ForwardArgs& args) { return args.shape.rows == 0; }
bool is_empty(const BackwardArgs& args) {
  return args.dweight == nullptr && (args.dx.data == nullptr || args.shape.rows == 0);
}

template <class Args>
Status run_on(int ordinal, const Args& args, Status (*staged)(Device&, const Args&)) {
  Device* device = nullptr;
  RMSNORM_TRY(find_device(ordinal, &device));
  RMSNORM_TRY(check_dtype(*device, args.dtype));
  if (is_empty(args)) return {};
  const FloatingPointScope mode;  // for the rounding of kernel parameters in launch.cc
  return device->note_fault(staged(*device, args));
}

}  // namespace

Status forward(int ordinal, const ForwardArgs& args) {
  return run_on(ordinal, args, staged_forward);
}

Status backward(int ordinal, const BackwardArgs& args) {
  return run_on(ordinal, args, staged_backward);
}

Status enqueue_forward(Stream& stream, const ForwardArgs& args,
                       std::initializer_list<const AllocationPtr*> used) {
  if (is_empty(args)) return {};
  const FloatingPointScope mode;
  Device& device = stream.device();
  CUdeviceptr workspace = 0;
  RMSNORM_TRY(stream.workspace(forward_workspace_bytes(device, args), &workspace));
  return stream.enqueue(used,
                        [&] { return launch_forward(device, args, workspace, stream.handle()); });
}

Status enqueue_backward(Stream& stream, const BackwardArgs& args,
                        std::initializer_list<const AllocationPtr*> used) {
  const bool has_dweight = args.dweight != nullptr;
  if (is_empty(args)) return {};
  const FloatingPointScope mode;
  Device& device = stream.device();
  const std::int64_t groups = row_group_count(args.shape.rows);
  const std::int64_t partials_bytes =
      has_dweight ? groups * partial_row_bytes(args.shape.hidden_size) : 0;
  CUdeviceptr partials = 0;
  const std::int64_t group_rows = row_group_rows(args.shape.rows);
  RMSNORM_TRY(stream.workspace(partials_bytes + backward_workspace_bytes(device, args, group_rows),
                               &partials));
  const CUdeviceptr workspace = partials + static_cast<CUdeviceptr>(partials_bytes);
  return stream.enqueue(used, [&]() -> Status {
    if (args.shape.rows > 0) {
      RMSNORM_TRY(launch_backward(device, args, group_rows, partials, workspace, stream.handle()));
    }
    if (!has_dweight) return {};
    return launch_reduce_dweight(device, args, partials, groups, stream.handle());
  });
}

void release() {
  release_staging();
  drain_retired();
  release_devices();
}

}  // namespace rmsnorm::cuda
