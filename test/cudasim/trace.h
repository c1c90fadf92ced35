// What happened, for people (stderr) and for tests (a file of JSON lines).
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
  // Appends to the file that a variable names; an empty path: no file. Throws
  // std::invalid_argument if it cannot.
  Trace(const char* variable, const std::string& path);
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  bool enabled() const { return file_ >= 0; }

  // `executed` is false for a launch that was checked and dropped.
  void launch(int device, const LaunchReport& report, const KernelInfo& kernel, bool executed);
  // How often functions were called.
  void calls(const std::vector<std::pair<const char*, std::int64_t>>& counts);
  // To stderr as well. `device` is -1 where it belongs to none.
  void fault(int device, const std::string& kind, const std::string& message);

 private:
  void write_line(const std::string& line);

  int file_ = -1;
  std::mutex mutex_;
};

}  // namespace cudasim
