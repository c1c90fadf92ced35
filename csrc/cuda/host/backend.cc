#include "backend.h"

#include <algorithm>

#include "../../op/fold.h"
#include "../../os/floating_point.h"
#include "../driver/device.h"
#include "../launch/launch.h"
#include "../runtime/allocation.h"
#include "staging.h"

namespace rmsnorm::cuda {
namespace {

// Adds an array of `rows` rows to the layout, if the call has it.
StagedArray add(Layout& layout, std::int64_t rows, StagedArray array) {
  if (array.is_used()) array.offset = layout.add(rows * array.row_bytes);
  return array;
}

// A matrix; what is uploaded or downloaded of it is its caller's to say.
template <class AnyRows>
StagedArray rows_of(const AnyRows& rows, std::int64_t hidden_size, DType dtype) {
  const std::int64_t size = element_size(dtype);
  return {.row_bytes = hidden_size * size,
          .row_stride = rows.row_stride * size,
          .batch_rows = rows.batch_rows,
          .batch_stride = rows.batch_stride * size};
}
StagedArray input(const ConstRows& rows, std::int64_t hidden_size, DType dtype) {
  StagedArray array = rows_of(rows, hidden_size, dtype);
  array.source = rows.data;
  return array;
}
StagedArray output(const Rows& rows, std::int64_t hidden_size, DType dtype) {
  StagedArray array = rows_of(rows, hidden_size, dtype);
  array.destination = rows.data;
  return array;
}
// A vector, as a matrix of one row; and rstd, as one of a column.
StagedArray weight_of(const Weight& weight, std::int64_t hidden_size) {
  return input({weight.data}, hidden_size, weight.dtype);
}
StagedArray rstd_input(const void* rstd) { return input({rstd, 1}, 1, DType::kFloat32); }
StagedArray rstd_output(void* rstd) { return output({rstd, 1}, 1, DType::kFloat32); }

// Its address where the memory it is in begins at `base`; null if the call does not have it.
void* address(CUdeviceptr base, const StagedArray& array) {
  if (!array.is_used()) return nullptr;
  return reinterpret_cast<void*>(base + static_cast<CUdeviceptr>(array.offset));
}

// The rows of a chunk: as many units of `unit_rows` rows as its bytes hold, and at least one.
Status choose_chunk_rows(std::int64_t rows, std::int64_t unit_rows, std::int64_t row_bytes,
                         std::int64_t* chunk_rows) {
  std::int64_t bytes = 0;
  RMSNORM_TRY(chunk_bytes(&bytes));
  const std::int64_t units = std::max<std::int64_t>(bytes / row_bytes / unit_rows, 1);
  // Without rows there is no chunk; the end of the call is all there is.
  *chunk_rows = std::clamp<std::int64_t>(rows, 1, units * unit_rows);
  return {};
}

// The bytes of the workspace of a chunk, whole or the last, where `bytes` gives those of a number
// of rows.
template <class Bytes>
std::int64_t workspace_for(std::int64_t rows, std::int64_t chunk_rows, const Bytes& bytes) {
  const std::int64_t last = rows % chunk_rows;
  return last == 0 ? bytes(chunk_rows) : std::max(bytes(chunk_rows), bytes(last));
}

// Stands for memory of the device that is not allocated yet: as aligned.
constexpr CUdeviceptr kSomewhere = Layout::kAlignment;

Status staged_forward(Device& device, const ForwardArgs& args) {
  const std::int64_t rows = args.shape.rows;
  const std::int64_t hidden_size = args.shape.hidden_size;
  std::int64_t chunk_rows = 0;
  const std::int64_t matrices = args.residual.data != nullptr ? 4 : 2;
  RMSNORM_TRY(
      choose_chunk_rows(rows, 1, matrices * hidden_size * element_size(args.dtype), &chunk_rows));

  Layout whole_layout;
  const StagedArray whole[] = {add(whole_layout, 1, weight_of(args.weight, hidden_size))};
  Layout chunk_layout;
  const StagedArray chunked[] = {
      add(chunk_layout, chunk_rows, input(args.x, hidden_size, args.dtype)),
      add(chunk_layout, chunk_rows, input(args.residual, hidden_size, args.dtype)),
      add(chunk_layout, chunk_rows, output(args.sum, hidden_size, args.dtype)),
      add(chunk_layout, chunk_rows, output(args.y, hidden_size, args.dtype)),
      add(chunk_layout, chunk_rows, rstd_output(args.rstd)),
  };
  const auto on_device = [&](const Chunk& chunk) {
    ForwardArgs there = args;
    there.shape.rows = chunk.rows;
    there.weight.data = address(chunk.whole_memory, whole[0]);
    there.x = {address(chunk.memory, chunked[0]), hidden_size};
    there.residual = {address(chunk.memory, chunked[1]), hidden_size};
    there.sum = {address(chunk.memory, chunked[2]), hidden_size};
    there.y = {address(chunk.memory, chunked[3]), hidden_size};
    there.rstd = address(chunk.memory, chunked[4]);
    return there;
  };
  const std::int64_t workspace =
      chunk_layout.add(workspace_for(rows, chunk_rows, [&](std::int64_t some_rows) {
        return forward_workspace_bytes(device,
                                       on_device({0, some_rows, kSomewhere, kSomewhere, nullptr}));
      }));
  return run_staged(device, {.rows = rows,
                             .chunk_rows = chunk_rows,
                             .whole = whole,
                             .chunked = chunked,
                             .whole_bytes = whole_layout.bytes(),
                             .chunk_bytes = chunk_layout.bytes(),
                             .launch =
                                 [&](const Chunk& chunk) {
                                   return launch_forward(
                                       device, on_device(chunk),
                                       chunk.memory + static_cast<CUdeviceptr>(workspace),
                                       chunk.stream);
                                 },
                             .finish = nullptr});
}

// The partial rows of dweight stay on the device from their chunk to the end of the call: chunks
// are made of whole row groups, so that each has its own.
Status staged_backward(Device& device, const BackwardArgs& args) {
  const std::int64_t rows = args.shape.rows;
  const std::int64_t hidden_size = args.shape.hidden_size;
  const bool has_dweight = args.dweight != nullptr;
  const std::int64_t groups = row_group_count(rows);
  const std::int64_t group_rows = row_group_rows(rows);
  const std::int64_t matrices =
      2 + (args.dx.data != nullptr ? 1 : 0) + (args.dsum.data != nullptr ? 1 : 0);
  std::int64_t chunk_rows = 0;
  RMSNORM_TRY(choose_chunk_rows(rows, has_dweight ? group_rows : 1,
                                matrices * hidden_size * element_size(args.dtype), &chunk_rows));

  Layout whole_layout;
  const StagedArray whole[] = {
      add(whole_layout, 1, weight_of(args.weight, hidden_size)),
      add(whole_layout, 1,
          {.source = args.accumulate ? args.dweight : nullptr,
           .destination = args.dweight,
           .row_bytes = hidden_size * element_size(args.dweight_dtype)}),
  };
  const std::int64_t partial_bytes = partial_row_bytes(hidden_size);
  const std::int64_t partials = whole_layout.add(has_dweight ? groups * partial_bytes : 0);
  const auto partials_at = [&](CUdeviceptr base, std::int64_t group) {
    return has_dweight ? base + static_cast<CUdeviceptr>(partials + group * partial_bytes) : 0;
  };
  Layout chunk_layout;
  const StagedArray chunked[] = {
      add(chunk_layout, chunk_rows, input(args.dy, hidden_size, args.dtype)),
      add(chunk_layout, chunk_rows, input(args.x, hidden_size, args.dtype)),
      add(chunk_layout, chunk_rows, input(args.dsum, hidden_size, args.dtype)),
      add(chunk_layout, chunk_rows, rstd_input(args.rstd)),
      add(chunk_layout, chunk_rows, output(args.dx, hidden_size, args.dtype)),
  };
  const auto on_device = [&](const Chunk& chunk) {
    BackwardArgs there = args;
    there.shape.rows = chunk.rows;
    there.weight.data = address(chunk.whole_memory, whole[0]);
    there.dweight = address(chunk.whole_memory, whole[1]);
    there.dy = {address(chunk.memory, chunked[0]), hidden_size};
    there.x = {address(chunk.memory, chunked[1]), hidden_size};
    there.dsum = {address(chunk.memory, chunked[2]), hidden_size};
    there.rstd = address(chunk.memory, chunked[3]);
    there.dx = {address(chunk.memory, chunked[4]), hidden_size};
    return there;
  };
  const std::int64_t workspace =
      chunk_layout.add(workspace_for(rows, chunk_rows, [&](std::int64_t some_rows) {
        return backward_workspace_bytes(device,
                                        on_device({0, some_rows, kSomewhere, kSomewhere, nullptr}));
      }));
  StagedCall call{.rows = rows,
                  .chunk_rows = chunk_rows,
                  .whole = whole,
                  .chunked = chunked,
                  .whole_bytes = whole_layout.bytes(),
                  .chunk_bytes = chunk_layout.bytes(),
                  .launch =
                      [&](const Chunk& chunk) {
                        return launch_backward(
                            device, on_device(chunk), group_rows,
                            partials_at(chunk.whole_memory, chunk.first_row / group_rows),
                            chunk.memory + static_cast<CUdeviceptr>(workspace), chunk.stream);
                      },
                  .finish = nullptr};
  if (has_dweight) {
    call.finish = [&](const Chunk& chunk) {
      return launch_finish_dweight(device, on_device(chunk), partials_at(chunk.whole_memory, 0),
                                   groups, chunk.stream);
    };
  }
  return run_staged(device, call);
}

}  // namespace

Status forward(int ordinal, const ForwardArgs& args) {
  Device* device = nullptr;
  RMSNORM_TRY(find_device(ordinal, &device));
  RMSNORM_TRY(check_dtype(*device, args.dtype));
  if (args.shape.rows == 0) return {};
  const FloatingPointScope mode;  // for the parameters that launch.cc rounds
  return device->note_fault(staged_forward(*device, args));
}

Status backward(int ordinal, const BackwardArgs& args) {
  Device* device = nullptr;
  RMSNORM_TRY(find_device(ordinal, &device));
  RMSNORM_TRY(check_dtype(*device, args.dtype));
  if (args.dweight == nullptr && (args.dx.data == nullptr || args.shape.rows == 0)) return {};
  const FloatingPointScope mode;
  return device->note_fault(staged_backward(*device, args));
}

void release() {
  release_staging();
  drain_retired();
  release_devices();
}

}  // namespace rmsnorm::cuda
