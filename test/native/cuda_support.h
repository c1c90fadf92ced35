// Shared by the tests of the launches: the device they run on, and matrices in its memory.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "cuda/driver/device.h"
#include "cuda/runtime/memory.h"
#include "support.h"

namespace rmsnorm::test {

inline void must(const Status& status) {
  INFO(status.message());
  REQUIRE(status.ok());
}

// The first device, with its context current, and a stream.
class Gpu {
 public:
  Gpu() {
    if (const Status status = cuda::find_device(0, &device_); !status.ok()) {
      MESSAGE("nothing was launched: " << status.message());
      return;
    }
    must(scope_.enter(*device_));
    must(stream_.make());
  }
  bool is_there() const { return device_ != nullptr; }
  cuda::Device& device() { return *device_; }
  const cuda::StreamHandle& stream() const { return stream_; }
  // A simulated device detects every access beyond an allocation. On a real one, only poison behind
  // the matrix shows it.
  bool is_simulated() const { return device_->properties().name.starts_with("cudasim"); }

 private:
  cuda::Device* device_ = nullptr;
  cuda::DeviceScope scope_;
  cuda::StreamHandle stream_;
};

// Enqueue copies of `bytes`, which may be 0.
inline Status copy_to_device(cuda::CUdeviceptr destination, const void* source, std::int64_t bytes,
                             const cuda::StreamHandle& stream) {
  if (bytes == 0) return {};
  return RMSNORM_CUDA(cuMemcpyHtoDAsync_v2, destination, source, static_cast<std::size_t>(bytes),
                      stream.get());
}
inline Status copy_to_host(void* destination, cuda::CUdeviceptr source, std::int64_t bytes,
                           const cuda::StreamHandle& stream) {
  if (bytes == 0) return {};
  return RMSNORM_CUDA(cuMemcpyDtoHAsync_v2, destination, source, static_cast<std::size_t>(bytes),
                      stream.get());
}

// The layout of a matrix on the device: elements before its first row, between rows, and
// additionally between batches of rows.
struct Placement {
  std::int64_t offset = 0;
  std::int64_t padding = 0;
  std::int64_t batch_rows = kOneBatch;
  std::int64_t batch_padding = 0;
};

// A device copy of a host matrix, with poison around its rows.
class DeviceMatrix {
 public:
  static constexpr std::byte kPoison{0xff};  // a NaN in every type

  DeviceMatrix(const Gpu& gpu, Matrix& host, Placement placement = {})
      : gpu_(gpu), host_(host), size_(element_size(host.dtype())), offset_(placement.offset) {
    rows_.row_stride = host.columns() + placement.padding;
    rows_.batch_rows = placement.batch_rows;
    if (placement.batch_rows != kOneBatch) {
      rows_.batch_stride = placement.batch_rows * rows_.row_stride + placement.batch_padding;
    }
    const std::int64_t rows = host.rows();
    const std::int64_t bytes = rows == 0 ? 0 : distance(rows - 1) + host.columns() * size_;
    const std::int64_t guard_bytes = gpu.is_simulated() ? 0 : 64;
    bytes_.assign(static_cast<std::size_t>(bytes + guard_bytes), kPoison);
    for (std::int64_t r = 0; r < rows; ++r) std::memcpy(at(r), host.row(r), host.row_bytes());
    must(memory_.allocate(static_cast<std::int64_t>(bytes_.size())));
    must(copy_to_device(memory_.get(), bytes_.data(), memory_.bytes(), gpu.stream()));
  }

  cuda::CUdeviceptr address(std::int64_t r) const {
    return memory_.get() + static_cast<cuda::CUdeviceptr>(distance(r));
  }
  void* row(std::int64_t r) const { return reinterpret_cast<void*>(address(r)); }
  // The rows from r on; row r must begin a batch.
  Rows rows_from(std::int64_t r) const {
    return {row(r), rows_.row_stride, rows_.batch_rows, rows_.batch_stride};
  }
  ConstRows const_rows_from(std::int64_t r) const {
    return {row(r), rows_.row_stride, rows_.batch_rows, rows_.batch_stride};
  }

  // Copies the rows back to the host matrix. Returns a complaint if anything else has changed.
  std::string copy_back(const char* label) {
    must(copy_to_host(bytes_.data(), memory_.get(), memory_.bytes(), gpu_.stream()));
    must(gpu_.stream().synchronize());
    for (std::int64_t r = 0; r < host_.rows(); ++r) {
      std::memcpy(host_.row(r), at(r), host_.row_bytes());
      std::memset(at(r), static_cast<int>(kPoison), host_.row_bytes());
    }
    const bool intact =
        std::all_of(bytes_.begin(), bytes_.end(), [](std::byte byte) { return byte == kPoison; });
    return intact ? "" : std::string(label) + " was written outside of its rows; ";
  }

 private:
  std::int64_t distance(std::int64_t r) const { return (offset_ + row_offset(rows_, r)) * size_; }
  std::byte* at(std::int64_t r) { return bytes_.data() + distance(r); }

  const Gpu& gpu_;
  Matrix& host_;
  std::int64_t size_;
  Rows rows_;
  std::int64_t offset_;
  std::vector<std::byte> bytes_;
  cuda::DeviceMemory memory_;
};

}  // namespace rmsnorm::test
