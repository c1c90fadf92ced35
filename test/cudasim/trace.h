// Reports what happened, to stderr for people and to a file of JSON lines for tests.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "machine.h"

namespace cudasim {

class Trace {
 public:
  // Opens the file to which lines are appended; an empty path means none. Throws
  // std::invalid_argument, which names the environment variable, if that fails.
  Trace(const char* variable, const std::string& path);
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  bool enabled() const { return file_ >= 0; }

  // `executed` is false for a launch that was checked and dropped.
  void launch(int device, const LaunchReport& report, const KernelInfo& kernel, bool executed);
  // The number of calls of each function.
  void calls(const std::vector<std::pair<const char*, std::int64_t>>& counts);
  // Also goes to stderr. `device` is -1 if the fault belongs to no device.
  void fault(int device, const std::string& kind, const std::string& message);

 private:
  void write_line(const std::string& line);

  int file_ = -1;
  std::mutex mutex_;
};

}  // namespace cudasim
