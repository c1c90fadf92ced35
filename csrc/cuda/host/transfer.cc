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

// Cuts elements into chunks of kChunkBytes (tuning.h); the last chunk may be shorter. Calls
// step(first, length) for each chunk until one fails: the index of the chunk's first element, and
// how many it has.
template <class Step>
Status in_chunks(std::int64_t elements, DType dtype, const Step& step) {
  const std::int64_t chunk_length = kChunkBytes / element_size(dtype);
  for (std::int64_t first = 0; first < elements; first += chunk_length) {
    RMSNORM_TRY(step(first, std::min(chunk_length, elements - first)));
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

// Blocks are used in turn, so this checks only the block of the right size that was used longest
// ago: the others rarely become idle before it. Blocks with a second owner are skipped, because a
// download has yet to unpack what they hold. Up to kMaxCachedBytes a new block is allocated rather
// than waiting for one. Above kMaxStagingBytes, a new block replaces unused ones, or is not cached.
Status StagingPool::take(Device& device, std::int64_t bytes, bool may_wait, AllocationPtr* block) {
  const std::int64_t size = bit_ceil(std::max(bytes, kMinBlockBytes));
  std::int64_t cached = 0;
  for (const AllocationPtr& each : blocks_) cached += each->bytes();
  const bool is_full = cached + size > kMaxStagingBytes;
  const bool should_wait = may_wait && cached + size > kMaxCachedBytes;
  const auto oldest = std::find_if(blocks_.begin(), blocks_.end(), [&](const AllocationPtr& each) {
    return each->bytes() == size && each.use_count() == 1;
  });
  if (oldest != blocks_.end() &&
      ((*oldest)->is_idle() || (should_wait && (*oldest)->wait_until_idle()))) {
    *block = *oldest;
    std::rotate(oldest, oldest + 1, blocks_.end());
    return {};
  }
  if (is_full && oldest != blocks_.end()) return Allocation::on_host(device, bytes, block);
  for (auto each = blocks_.begin(); each != blocks_.end() && cached + size > kMaxStagingBytes;) {
    if (each->use_count() > 1) {
      ++each;
      continue;
    }
    cached -= (*each)->bytes();
    each = blocks_.erase(each);
  }
  if (cached + size > kMaxStagingBytes) return Allocation::on_host(device, bytes, block);
  RMSNORM_TRY(Allocation::on_host(device, size, block));
  blocks_.push_back(*block);
  return {};
}

Status upload(Stream& stream, StagingPool& pool, const DeviceSpan& destination, const void* source,
              DType dtype, bool may_wait) {
  return in_chunks(
      destination.length, destination.dtype,
      [&](std::int64_t first, std::int64_t length) -> Status {
        const std::int64_t bytes = length * element_size(destination.dtype);
        AllocationPtr block;
        RMSNORM_TRY(stream.is_capturing() ? Allocation::on_host(stream.device(), bytes, &block)
                                          : pool.take(stream.device(), bytes, may_wait, &block));
        RMSNORM_TRY(
            convert(dtype, at(source, first, dtype), destination.dtype, block->host(), length));
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
  const auto unpack_first = [&]() -> Status {
    const Chunk chunk = in_flight.front();
    in_flight.pop_front();
    if (!chunk.block->wait_until_idle()) RMSNORM_TRY(stream.synchronize());
    return convert(source.dtype, chunk.block->host(), dtype,
                   const_cast<char*>(at(destination, chunk.first, dtype)), chunk.length);
  };
  // If earlier work on the stream failed, blocks may hold stale bytes, which unpack_first() copies
  // to `destination`. The download still returns the error: that of a later driver call, or of
  // synchronize() at the latest.
  RMSNORM_TRY(in_chunks(
      source.length, source.dtype, [&](std::int64_t first, std::int64_t length) -> Status {
        if (in_flight.size() == kChunksInFlight) RMSNORM_TRY(unpack_first());
        AllocationPtr block;
        RMSNORM_TRY(pool.take(stream.device(), length * element_size(source.dtype), true, &block));
        RMSNORM_TRY(enqueue_download(stream, source, first, length, block));
        in_flight.push_back({first, length, std::move(block)});
        return {};
      }));
  RMSNORM_TRY(stream.synchronize());
  while (!in_flight.empty()) RMSNORM_TRY(unpack_first());
  return {};
}

Status start_download(Stream& stream, StagingPool& pool, const DeviceSpan& source,
                      StagedCopy* copy) {
  RMSNORM_TRY(stream.refuse_capture());
  return in_chunks(source.length, source.dtype, [&](std::int64_t first, std::int64_t length) {
    AllocationPtr block;
    RMSNORM_TRY(pool.take(stream.device(), length * element_size(source.dtype), false, &block));
    copy->push_back(block);
    return enqueue_download(stream, source, first, length, block);
  });
}

Status unpack(const StagedCopy& copy, DType from, void* destination, DType to,
              std::int64_t length) {
  auto block = copy.begin();
  return in_chunks(length, from, [&](std::int64_t first, std::int64_t chunk) {
    return convert(from, (*block++)->host(), to, const_cast<char*>(at(destination, first, to)),
                   chunk);
  });
}

}  // namespace rmsnorm::cuda
