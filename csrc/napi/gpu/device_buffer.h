// The object behind JavaScript's DeviceBuffer: elements in the memory of a GPU.
#pragma once

#include <node_api.h>

#include <memory>

#include "../../cuda/host/transfer.h"
#include "../environment.h"

namespace rmsnorm::napi {

// Reports bytes to V8 as memory that JavaScript objects hold, so that V8 collects those objects in
// time.
class ReportedMemory {
 public:
  ReportedMemory(napi_env env, std::int64_t bytes) : env_(env), bytes_(bytes) { report(bytes_); }
  ~ReportedMemory() { report(-bytes_); }
  ReportedMemory(const ReportedMemory&) = delete;
  ReportedMemory& operator=(const ReportedMemory&) = delete;

 private:
  void report(std::int64_t change) {
    std::int64_t total = 0;
    napi_adjust_external_memory(env_, change, &total);
  }

  napi_env env_;
  std::int64_t bytes_;
};

class DeviceBuffer final : public NativeObject {
 public:
  static constexpr const char* kKind = "a DeviceBuffer";
  static constexpr const char* kName = "buffer";

  DeviceBuffer(cuda::DeviceSpan span, std::shared_ptr<ReportedMemory> reported)
      : span_(std::move(span)), reported_(std::move(reported)) {}

  // The span has no allocation once the buffer is closed.
  const cuda::DeviceSpan& span() const { return span_; }
  const std::shared_ptr<ReportedMemory>& reported() const { return reported_; }

 private:
  void release() override {
    span_.allocation.reset();
    reported_.reset();
  }

  cuda::DeviceSpan span_;
  std::shared_ptr<ReportedMemory> reported_;  // null if another library owns the memory
};

}  // namespace rmsnorm::napi
