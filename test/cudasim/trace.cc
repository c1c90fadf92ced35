#include "trace.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <stdexcept>

namespace cudasim {
namespace {

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < ' ') {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + '"';
}

// Builds a JSON object.
class Object {
 public:
  Object& raw(const char* name, const std::string& json) {
    text_ += text_.empty() ? "{" : ",";
    text_ += '"' + std::string(name) + "\":" + json;
    return *this;
  }
  Object& text(const char* name, const std::string& value) { return raw(name, quoted(value)); }
  Object& flag(const char* name, bool value) { return raw(name, value ? "true" : "false"); }
  template <class Integer>
  Object& number(const char* name, Integer value) {
    return raw(name, std::to_string(value));
  }
  template <class Values>
  Object& list(const char* name, const Values& values) {
    std::string json = "[";
    for (const auto& value : values) {
      if (json.size() > 1) json += ',';
      json += std::to_string(value);
    }
    return raw(name, json += ']');
  }
  std::string str() const { return text_.empty() ? "{}" : text_ + '}'; }

 private:
  std::string text_;
};

// The indices of the kernel parameters that hold an address inside the buffer. Structs are searched
// for addresses too.
std::vector<std::size_t> arguments_in(const BufferTraffic& buffer, const LaunchReport& report,
                                      const KernelInfo& kernel) {
  std::vector<std::size_t> arguments;
  for (std::size_t i = 0; i < kernel.parameter_sizes.size(); ++i) {
    for (std::size_t at = 0; at + 8 <= kernel.parameter_sizes[i]; at += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, report.launch.parameters.data() + kernel.parameter_offsets[i] + at, 8);
      if (word < buffer.address || word - buffer.address >= buffer.bytes) continue;
      arguments.push_back(i);
      break;
    }
  }
  return arguments;
}

std::string json_of(const BufferTraffic& buffer, const LaunchReport& report,
                    const KernelInfo& kernel) {
  char address[20];
  std::snprintf(address, sizeof address, "0x%llx", static_cast<unsigned long long>(buffer.address));
  return Object()
      .list("arguments", arguments_in(buffer, report, kernel))
      .text("address", address)
      .number("bytes", buffer.bytes)
      .number("bytes_read", buffer.bytes_read)
      .number("bytes_written", buffer.bytes_written)
      .number("read_sectors", buffer.read_sectors)
      .number("written_sectors", buffer.written_sectors)
      .number("read_requests", buffer.read_requests)
      .number("write_requests", buffer.write_requests)
      .number("sectors_requested", buffer.sectors_requested)
      .list("accesses_by_width", buffer.accesses_by_width)
      .str();
}

std::string json_of(const WarpWork& work) {
  return Object()
      .number("instructions", work.instructions)
      .number("shuffles", work.shuffles)
      .number("global_loaded", work.global_loaded)
      .number("global_stored", work.global_stored)
      .number("shared_loaded", work.shared_loaded)
      .number("shared_stored", work.shared_stored)
      .str();
}

template <class Items, class ToJson>
std::string json_list(const Items& items, const ToJson& to_json) {
  std::string json = "[";
  for (const auto& item : items) {
    if (json.size() > 1) json += ',';
    json += to_json(item);
  }
  return json += ']';
}

}  // namespace

Trace::Trace(const char* variable, const std::string& path) {
  if (path.empty()) return;
  file_ = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file_ < 0) {
    throw std::invalid_argument(std::string(variable) + "=" + path + ": " + std::strerror(errno));
  }
}

Trace::~Trace() {
  if (file_ >= 0) close(file_);
}

void Trace::write_line(const std::string& line) {
  if (file_ < 0) return;
  const std::string whole = line + '\n';
  const std::lock_guard lock(mutex_);
  // Unbuffered, since several processes may append, and the lines of a process that crashes count.
  std::size_t done = 0;
  while (done < whole.size()) {
    const ssize_t wrote = write(file_, whole.data() + done, whole.size() - done);
    if (wrote <= 0) break;
    done += static_cast<std::size_t>(wrote);
  }
}

void Trace::launch(int device, const LaunchReport& report, const KernelInfo& kernel,
                   bool executed) {
  if (!enabled()) return;
  const auto warps_of = [](const auto& kind) {
    const auto work_of = [](const WarpWork& work) { return json_of(work); };
    return Object().number("count", kind.second).raw("spans", json_list(kind.first, work_of)).str();
  };
  const auto buffer_of = [&](const BufferTraffic& buffer) {
    return json_of(buffer, report, kernel);
  };
  write_line(Object()
                 .text("type", "launch")
                 .number("device", device)
                 .text("kernel", report.kernel)
                 .flag("executed", executed)
                 .list("grid", report.launch.grid)
                 .list("block", report.launch.block)
                 .number("static_shared_bytes", kernel.static_shared_bytes)
                 .number("dynamic_shared_bytes", report.launch.dynamic_shared_bytes)
                 .number("warp_instructions", report.warp_instructions)
                 .number("shared_requests", report.shared_requests)
                 .number("shared_wavefronts", report.shared_wavefronts)
                 .number("barriers", report.barriers)
                 .number("shuffles", report.shuffles)
                 .raw("warps", json_list(report.warps, warps_of))
                 .raw("buffers", json_list(report.buffers, buffer_of))
                 .str());
}

void Trace::calls(const std::vector<std::pair<const char*, std::int64_t>>& counts) {
  Object object;
  for (const auto& [function, count] : counts) object.number(function, count);
  write_line(object.str());
}

void Trace::fault(int device, const std::string& kind, const std::string& message) {
  std::fprintf(stderr, "cudasim: %s: %s\n", kind.c_str(), message.c_str());
  write_line(Object()
                 .text("type", "fault")
                 .number("device", device)
                 .text("kind", kind)
                 .text("message", message)
                 .str());
}

}  // namespace cudasim
