#include "transfer.h"

#include <algorithm>
#include <cstring>
#include <deque>

#include "../../cpu/backend.h"
#include "../../op/fold.h"
#include "tuning.h"

namespace rmsnorm::cuda {
namespace {

Status convert(DType from, const void* source, DType to, void* destination, std::int64_t length) {
  if (from != to) return cpu::convert(from, source, to, destination, length);
  std::memcpy(destination, source, static_cast<std::size_t>(length * element_size(from)));
  return {};
}

const char* at(const void* data, std::int64_t element, DType dtype) {
  return static_cast<const char*>(data) + element * element_size(dtype);
}
CUdeviceptr at(const DeviceSpan& span, std::int64_t element) {
  return span.pointer + static_cast<CUdeviceptr>(element * element_size(span.dtype));
}

// Calls step(first, length) for each chunk of a span.
template <class Step>
Status in_chunks(const DeviceSpan& span, const Step& step) {
  const std::int64_t most = kChunkBytes / element_size(span.dtype);
  for (std::int64_t first = 0; first < span.length; first += most) {
    RMSNORM_TRY(step(first, std::min(most, span.length - first)));
  }
  return {};
}

Status enqueue_download(Stream& stream, const DeviceSpan& source, std::int64_t first,
                        std::int64_t length, const AllocationPtr& block) {
  return stream.enqueue({&source.allocation, &block}, [&] {
    return RMSNORM_CUDA(cuMemcpyDtoHAsync_v2, block->host(), at(source, first),
                        static_cast<std::size_t>(length * element_size(source.dtype)),
                        stream.handle());
  });
}

}  // namespace

Status StagingPool::take(Device& device, std::int64_t bytes, bool may_wait, AllocationPtr* block) {
  const std::int64_t size = bit_ceil(std::max(bytes, kMinBlockBytes));
  const auto take_at = [&](std::vector<AllocationPtr>::iterator found) {
    *block = std::move(*found);
    blocks_.erase(found);
    blocks_.push_back(*block);
  };
  std::int64_t cached = 0;
  for (auto found = blocks_.begin(); found != blocks_.end(); ++found) {
    cached += (*found)->bytes();
    // With another owner it is about to be enqueued.
    if ((*found)->bytes() == size && found->use_count() == 1 && (*found)->is_idle()) {
      take_at(found);
      return {};
    }
  }
  if (cached + size > kMaxCachedBytes) {
    const auto oldest = std::find_if(blocks_.begin(), blocks_.end(), [&](const AllocationPtr& b) {
      return b->bytes() == size && b.use_count() == 1;
    });
    if (may_wait && oldest != blocks_.end() && (*oldest)->wait_until_idle()) {
      take_at(oldest);
      return {};
    }
    if (!may_wait) return Allocation::on_host(device, bytes, block);
    blocks_.clear();
  }
  RMSNORM_TRY(Allocation::on_host(device, size, block));
  blocks_.push_back(*block);
  return {};
}

Status upload(Stream& stream, StagingPool& pool, const DeviceSpan& destination, const void* source,
              DType dtype, bool may_wait) {
  return in_chunks(destination, [&](std::int64_t first, std::int64_t length) -> Status {
    const std::int64_t bytes = length * element_size(destination.dtype);
    AllocationPtr block;
    RMSNORM_TRY(stream.is_capturing() ? Allocation::on_host(stream.device(), bytes, &block)
                                      : pool.take(stream.device(), bytes, may_wait, &block));
    RMSNORM_TRY(convert(dtype, at(source, first, dtype), destination.dtype, block->host(), length));
    return stream.enqueue({&destination.allocation, &block}, [&] {
      return RMSNORM_CUDA(cuMemcpyHtoDAsync_v2, at(destination, first), block->host(),
                          static_cast<std::size_t>(bytes), stream.handle());
    });
  });
}

Status download(Stream& stream, StagingPool& pool, const DeviceSpan& source, void* destination,
                DType dtype) {
  RMSNORM_TRY(stream.refuse_capture());
  struct Chunk {
    std::int64_t first, length;
    AllocationPtr block;
  };
  std::deque<Chunk> in_flight;
  const auto finish_first = [&]() -> Status {
    const Chunk chunk = in_flight.front();
    in_flight.pop_front();
    if (!chunk.block->wait_until_idle()) RMSNORM_TRY(stream.synchronize());
    return unpack(*chunk.block, source.dtype,
                  const_cast<char*>(at(destination, chunk.first, dtype)), dtype, chunk.length);
  };
  // Where work failed before, the elements were not written: it is for the driver to say so.
  RMSNORM_TRY(in_chunks(source, [&](std::int64_t first, std::int64_t length) -> Status {
    if (in_flight.size() == kChunksInFlight) RMSNORM_TRY(finish_first());
    AllocationPtr block;
    RMSNORM_TRY(pool.take(stream.device(), length * element_size(source.dtype), true, &block));
    RMSNORM_TRY(enqueue_download(stream, source, first, length, block));
    in_flight.push_back({first, length, std::move(block)});
    return {};
  }));
  RMSNORM_TRY(stream.synchronize());
  while (!in_flight.empty()) RMSNORM_TRY(finish_first());
  return {};
}

Status start_download(Stream& stream, const DeviceSpan& source, AllocationPtr* copy) {
  RMSNORM_TRY(stream.refuse_capture());
  RMSNORM_TRY(Allocation::on_host(stream.device(), source.bytes(), copy));
  if (source.length == 0) return {};
  return enqueue_download(stream, source, 0, source.length, *copy);
}

Status unpack(const Allocation& copy, DType from, void* destination, DType to,
              std::int64_t length) {
  if (length == 0) return {};
  return convert(from, copy.host(), to, destination, length);
}

}  // namespace rmsnorm::cuda
