// Elements on a GPU behind a JavaScript object, and the functions over them.
#pragma once

#include <node_api.h>

#include <memory>

#include "../../cuda/host/transfer.h"
#include "../environment.h"

namespace rmsnorm::napi {

// Bytes that V8 knows to be held by JavaScript's objects, so that it collects them in time.
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

  // Without an allocation once closed.
  const cuda::DeviceSpan& span() const { return span_; }
  const std::shared_ptr<ReportedMemory>& reported() const { return reported_; }

 private:
  void release() override {
    span_.allocation.reset();
    reported_.reset();
  }

  cuda::DeviceSpan span_;
  std::shared_ptr<ReportedMemory> reported_;  // null if the memory is somebody else's
};

}  // namespace rmsnorm::napi
