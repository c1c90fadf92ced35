#include "cgroup.h"

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <system_error>
#include <vector>

#include "open_file.h"

namespace rmsnorm {
namespace {

enum class Version { kV1, kV2 };

// A mounted part of a hierarchy of cgroups.
struct Mount {
  std::string root;   // the cgroup at the mount point
  std::string point;  // the mount point: a folder
};

// Reads the whole file; empty if it cannot be read. Files of /proc report no size, so this reads to
// the end.
std::string read_text(const std::string& path) {
  constexpr std::size_t kMaxBytes = std::size_t{16} << 20;  // about 100,000 mounts
  const OpenFile file{open_to_read(path.c_str())};
  std::string text;
  while (file.descriptor >= 0 && text.size() <= kMaxBytes) {
    char chunk[4096];
    const ssize_t count = read(file.descriptor, chunk, sizeof chunk);
    if (count == 0) return text;
    if (count > 0) {
      text.append(chunk, static_cast<std::size_t>(count));
    } else if (errno != EINTR) {
      break;
    }
  }
  return {};
}

// Removes the text before `end`, and `end` itself, from the front of *rest. Returns the text. If
// `end` is missing, the text is all of *rest.
std::string_view cut(std::string_view* rest, char end) {
  const std::size_t length = rest->find(end);
  const std::string_view front = rest->substr(0, length);
  rest->remove_prefix(length == std::string_view::npos ? rest->size() : length + 1);
  return front;
}

// Whether a list such as "cpu,cpuacct" has the CPU controller.
bool has_cpu(std::string_view list) {
  while (!list.empty()) {
    if (cut(&list, ',') == "cpu") return true;
  }
  return false;
}

// Decodes a field of mountinfo. The kernel writes space, tab, newline and backslash as octal
// escapes, such as \040 for a space.
std::string unescape(std::string_view field) {
  const auto is_octal = [](char digit) { return '0' <= digit && digit <= '7'; };
  std::string text;
  for (std::size_t i = 0; i < field.size(); ++i) {
    if (field[i] == '\\' && field.size() - i > 3 && is_octal(field[i + 1]) &&
        is_octal(field[i + 2]) && is_octal(field[i + 3])) {
      const int code = (field[i + 1] - '0') * 64 + (field[i + 2] - '0') * 8 + (field[i + 3] - '0');
      text.push_back(static_cast<char>(code));
      i += 3;
    } else {
      text.push_back(field[i]);
    }
  }
  return text;
}

// Returns the path of this process's cgroup. A line of /proc/self/cgroup is ID:CONTROLLERS:PATH;
// the line of v2 begins with "0::".
std::optional<std::string_view> find_group(std::string_view groups, Version version) {
  while (!groups.empty()) {
    std::string_view line = cut(&groups, '\n');
    const std::string_view id = cut(&line, ':');
    const std::string_view controllers = cut(&line, ':');
    const bool is_v2 = id == "0" && controllers.empty();
    const bool is_wanted = version == Version::kV2 ? is_v2 : has_cpu(controllers);
    if (is_wanted && line.starts_with('/')) return line;
  }
  return std::nullopt;
}

// A line of /proc/self/mountinfo is
//   ID PARENT DEVICE ROOT POINT OPTIONS [TAG...] - TYPE SOURCE OPTIONS-OF-THE-FILE-SYSTEM
std::vector<Mount> find_mounts(std::string_view mounts, Version version) {
  std::vector<Mount> found;
  while (!mounts.empty()) {
    std::string_view line = cut(&mounts, '\n');
    for (int skipped = 0; skipped < 3; ++skipped) cut(&line, ' ');
    const std::string_view root = cut(&line, ' ');
    const std::string_view point = cut(&line, ' ');
    const std::size_t separator = line.find(" - ");
    if (separator == std::string_view::npos) continue;
    line.remove_prefix(separator + 3);
    const std::string_view type = cut(&line, ' ');
    cut(&line, ' ');
    const bool is_wanted =
        version == Version::kV2 ? type == "cgroup2" : type == "cgroup" && has_cpu(line);
    if (is_wanted && root.starts_with('/') && point.starts_with('/')) {
      found.push_back({unescape(root), unescape(point)});
    }
  }
  return found;
}

// The path of a group below the root of a mount, such as "/child", or "" for the root itself.
// Nothing if the group is not below that root.
std::optional<std::string_view> path_below(std::string_view group, std::string_view root) {
  if (root.ends_with('/')) root.remove_suffix(1);
  if (group.ends_with('/')) group.remove_suffix(1);
  if (!group.starts_with(root)) return std::nullopt;
  group.remove_prefix(root.size());
  if (!group.empty() && group.front() != '/') return std::nullopt;
  // The kernel writes ".." for a cgroup outside the cgroup namespace.
  if ((std::string(group) + '/').find("/../") != std::string::npos) return std::nullopt;
  return group;
}

std::optional<double> divide(std::string_view quota, std::string_view period) {
  const auto number = [](std::string_view text) {
    std::int64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    return error == std::errc() && stop == end ? value : 0;
  };
  const std::int64_t quota_us = number(quota);  // "max" and -1: no quota
  const std::int64_t period_us = number(period);
  if (quota_us <= 0 || period_us <= 0) return std::nullopt;
  return static_cast<double>(quota_us) / static_cast<double>(period_us);
}

std::string first_line(const std::string& path) {
  const std::string text = read_text(path);
  return text.substr(0, text.find('\n'));
}

std::optional<double> quota_of_folder(const std::string& folder, Version version) {
  if (version == Version::kV1) {
    return divide(first_line(folder + "/cpu.cfs_quota_us"),
                  first_line(folder + "/cpu.cfs_period_us"));
  }
  const std::string line = first_line(folder + "/cpu.max");
  std::string_view period = line;
  const std::string_view quota = cut(&period, ' ');
  return divide(quota, period);
}

void keep_stricter(std::optional<double>* strictest, std::optional<double> other) {
  if (other && (!*strictest || *other < **strictest)) *strictest = other;
}

// The strictest quota of a cgroup, at `path` below a mount point, and of the cgroups above it.
std::optional<double> strictest_quota(const std::string& mount_point, std::string_view path,
                                      Version version) {
  std::optional<double> strictest;
  for (;;) {
    keep_stricter(&strictest, quota_of_folder(mount_point + std::string(path), version));
    if (path.empty()) return strictest;
    path = path.substr(0, path.rfind('/'));
  }
}

}  // namespace

std::optional<double> cgroup_quota(const std::string& root) {
  std::optional<double> strictest;
  const std::string groups = read_text(root + "/proc/self/cgroup");
  const std::string mounts = read_text(root + "/proc/self/mountinfo");
  for (const Version version : {Version::kV1, Version::kV2}) {
    const auto group = find_group(groups, version);
    if (!group) continue;
    const std::vector<Mount> candidates = find_mounts(mounts, version);
    bool is_below_any = false;
    for (const Mount& mount : candidates) {
      const auto path = path_below(*group, mount.root);
      if (!path) continue;
      is_below_any = true;
      keep_stricter(&strictest, strictest_quota(root + mount.point, *path, version));
    }
    if (is_below_any) continue;
    // A container may see only its own cgroup, at the mount point, while /proc names another path.
    for (const Mount& mount : candidates) {
      keep_stricter(&strictest, quota_of_folder(root + mount.point, version));
    }
  }
  return strictest;
}

}  // namespace rmsnorm
