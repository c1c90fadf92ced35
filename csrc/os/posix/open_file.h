#pragma once

#include <fcntl.h>
#include <unistd.h>

namespace rmsnorm {

// An open file, closed at the end of its scope. The descriptor is negative if opening failed.
struct OpenFile {
  int descriptor;

  ~OpenFile() {
    if (descriptor >= 0) close(descriptor);
  }
};

// Opens a file to read. Never waits, not even for the other end of a pipe.
inline int open_to_read(const char* path) {
  return open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

}  // namespace rmsnorm
