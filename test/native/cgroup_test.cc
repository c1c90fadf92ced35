// The CPU quota of cgroups, read from file systems that each test writes into a temporary folder.

#if !defined(_WIN32)

#include "os/posix/cgroup.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

namespace rmsnorm::test {
namespace {

// Lines of /proc/self/mountinfo, for mounts whose root is the whole hierarchy.
const std::string kMountV2 =
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
const std::string kMountV1 =
    "33 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n";
const std::string kMountOfOthers =
    "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
    "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"
    "34 31 0:30 / /sys/fs/cgroup/cpuset rw shared:10 - cgroup cgroup rw,cpuset\n"
    "35 31 0:31 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,xattr,name=systemd\n";

class FileSystem {
 public:
  FileSystem() {
    std::string name = (std::filesystem::temp_directory_path() / "rmsnorm-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    folder_ = name;
    root_ = name + "/root";
  }
  FileSystem(const std::string& groups, const std::string& mounts) : FileSystem() {
    write("/proc/self/cgroup", groups);
    write("/proc/self/mountinfo", mounts);
  }
  ~FileSystem() { std::filesystem::remove_all(folder_); }
  FileSystem(const FileSystem&) = delete;
  FileSystem& operator=(const FileSystem&) = delete;

  FileSystem& write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
    return *this;
  }
  FileSystem& write_v1(const std::string& folder, const std::string& quota,
                       const std::string& period = "100000\n") {
    return write(folder + "/cpu.cfs_quota_us", quota).write(folder + "/cpu.cfs_period_us", period);
  }

  const std::string& root() const { return root_; }
  std::optional<double> quota() const { return cgroup_quota(root_); }

 private:
  std::string folder_;
  std::string root_;
};

constexpr std::nullopt_t kNone = std::nullopt;

}  // namespace

TEST_CASE("cgroup v2: the quota is cpu.max of the process's cgroup") {
  FileSystem files("0::/app.slice/job\n", kMountOfOthers + kMountV2);
  CHECK(files.quota() == kNone);
  files.write("/sys/fs/cgroup/app.slice/job/cpu.max", "50000 100000\n");
  CHECK(files.quota() == 0.5);
  files.write("/sys/fs/cgroup/app.slice/job/cpu.max", "375000 250000\n");
  CHECK(files.quota() == 1.5);
  files.write("/sys/fs/cgroup/app.slice/job/cpu.max", "max 100000\n");
  CHECK(files.quota() == kNone);
}

TEST_CASE("cgroup v2: a stricter quota of an ancestor counts, a looser one does not") {
  FileSystem files("0::/outer/middle/inner\n", kMountV2);
  files.write("/sys/fs/cgroup/outer/middle/inner/cpu.max", "300000 100000\n");
  CHECK(files.quota() == 3);
  files.write("/sys/fs/cgroup/outer/middle/cpu.max", "400000 100000\n");
  CHECK(files.quota() == 3);
  files.write("/sys/fs/cgroup/outer/cpu.max", "200000 100000\n");
  CHECK(files.quota() == 2);
  files.write("/sys/fs/cgroup/cpu.max", "10000 100000\n");
  CHECK(files.quota() == 0.1);
  // Cgroups that are not ancestors.
  files.write("/sys/fs/cgroup/outer/other/cpu.max", "1000 100000\n");
  files.write("/sys/fs/cgroup/outer/middle/inner/child/cpu.max", "1000 100000\n");
  files.write("/sys/fs/cpu.max", "1000 100000\n");
  CHECK(files.quota() == 0.1);
}

TEST_CASE("cgroup v2: a cgroup that has been deleted has its ancestors' quota") {
  FileSystem files("0::/outer/gone (deleted)\n", kMountV2);
  files.write("/sys/fs/cgroup/outer/cpu.max", "200000 100000\n");
  CHECK(files.quota() == 2);
}

TEST_CASE("cgroup v1: the quota comes from the hierarchy with the CPU controller") {
  FileSystem files("11:cpuset:/elsewhere\n4:cpuacct,cpu:/a:b/job\n1:name=systemd:/elsewhere\n",
                   kMountOfOthers + kMountV1);
  CHECK(files.quota() == kNone);
  const std::string group = "/sys/fs/cgroup/cpu,cpuacct/a:b";
  files.write_v1(group + "/job", "250000\n");
  CHECK(files.quota() == 2.5);
  files.write_v1(group + "/job", "-1\n");
  CHECK(files.quota() == kNone);
  files.write_v1(group, "150000\n", "50000\n");
  CHECK(files.quota() == 3);
  files.write_v1("/sys/fs/cgroup/cpu,cpuacct", "-1\n");
  CHECK(files.quota() == 3);
  files.write_v1("/sys/fs/cgroup/cpuset/elsewhere", "1000\n");
  files.write_v1("/sys/fs/cgroup/cpu,cpuacct/elsewhere", "1000\n");
  CHECK(files.quota() == 3);
}

TEST_CASE("cgroup: hybrid hierarchies may have the CPU controller in v1 or in v2") {
  const std::string unified =
      "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
  FileSystem files("4:cpu:/job\n0::/job.scope\n", unified + kMountOfOthers + kMountV1);
  files.write("/sys/fs/cgroup/unified/job.scope/cgroup.controllers", "\n");
  CHECK(files.quota() == kNone);
  files.write_v1("/sys/fs/cgroup/cpu,cpuacct/job", "150000\n");
  CHECK(files.quota() == 1.5);
  files.write_v1("/sys/fs/cgroup/cpu,cpuacct/job", "-1\n");
  files.write("/sys/fs/cgroup/unified/job.scope/cpu.max", "50000 100000\n");
  CHECK(files.quota() == 0.5);
  // Files of v2 in the v1 hierarchy do not count, nor files of v1 in the v2 hierarchy.
  files.write("/sys/fs/cgroup/cpu,cpuacct/job.scope/cpu.max", "1000 100000\n");
  files.write_v1("/sys/fs/cgroup/unified/job", "1000\n");
  CHECK(files.quota() == 0.5);
}

TEST_CASE(
    "cgroup: the quota is found where a container's mount shows only a subtree of the hierarchy") {
  SUBCASE("the cgroup is the mount's root") {
    FileSystem files("0::/docker/0a1b\n",
                     "30 23 0:26 /docker/0a1b /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    files.write("/sys/fs/cgroup/cpu.max", "50000 100000\n");
    CHECK(files.quota() == 0.5);
  }
  SUBCASE("the cgroup is below the mount's root") {
    FileSystem files("5:cpu,cpuacct:/docker/0a1b/init\n",
                     "33 31 0:29 /docker/0a1b /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n");
    files.write_v1("/sys/fs/cgroup/cpu/init", "300000\n");
    CHECK(files.quota() == 3);
    files.write_v1("/sys/fs/cgroup/cpu", "200000\n");
    CHECK(files.quota() == 2);
  }
  SUBCASE("a mount whose root is only a prefix of the cgroup's name does not count") {
    FileSystem files("0::/docker/0a1b\n",
                     "30 23 0:26 /docker/0a /mnt/other ro - cgroup2 cgroup rw\n"
                     "31 23 0:26 /docker /mnt/docker ro - cgroup2 cgroup rw\n");
    files.write("/mnt/other/cpu.max", "1000 100000\n");
    files.write("/mnt/other/1b/cpu.max", "1000 100000\n");
    files.write("/mnt/docker/0a1b/cpu.max", "200000 100000\n");
    CHECK(files.quota() == 2);
  }
  SUBCASE("the cgroup is a sibling of the mount's root: the quota is the mount point's") {
    FileSystem files("0::/../0a1b\n",
                     "30 23 0:26 /kubepods/pod1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    files.write("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    files.write("/sys/fs/0a1b/cpu.max", "1000 100000\n");
    CHECK(files.quota() == 2);
  }
  SUBCASE("the cgroup has left its namespace: no path leads out of the mount") {
    FileSystem files("0::/../0a1b\n", kMountV2);
    files.write("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    files.write("/sys/fs/0a1b/cpu.max", "1000 100000\n");
    CHECK(files.quota() == 2);
  }
  SUBCASE("the cgroup has a namespace of its own") {
    FileSystem files("0::/\n", kMountV2);
    files.write("/sys/fs/cgroup/cpu.max", "50000 100000\n");
    CHECK(files.quota() == 0.5);
  }
  SUBCASE("the path is the host's, and the mount has only the container's cgroup") {
    FileSystem files("0::/system.slice/0a1b.scope\n", kMountV2);
    files.write("/sys/fs/cgroup/cpu.max", "50000 100000\n");
    CHECK(files.quota() == 0.5);
  }
}

TEST_CASE("cgroup: mount points and roots may contain spaces, tabs and backslashes") {
  FileSystem files(
      "0::/a b\\c/job\n",
      "30 23 0:26 /a\\040b\\134c /mnt/my\\040cgroup\\011\\0401 rw - cgroup2 none rw\n");
  files.write("/mnt/my cgroup\t 1/job/cpu.max", "50000 100000\n");
  CHECK(files.quota() == 0.5);
  // A backslash that begins no valid escape stands for itself.
  FileSystem odd("0::/\n", "30 23 0:26 / /mnt/a\\9\\048\\04 rw - cgroup2 none rw\n");
  odd.write("/mnt/a\\9\\048\\04/cpu.max", "50000 100000\n");
  CHECK(odd.quota() == 0.5);
}

TEST_CASE("cgroup: mounts may have any number of tags") {
  for (const std::string tags : {"", "shared:1 ", "shared:1 master:2 propagate_from:3 "}) {
    FileSystem files("0::/\n", "30 23 0:26 / /cgroup rw " + tags + "- cgroup2 - - rw\n");
    files.write("/cgroup/cpu.max", "50000 100000\n");
    CHECK(files.quota() == 0.5);
  }
}

TEST_CASE("cgroup: malformed quotas are ignored") {
  for (const std::string text : {"",
                                 "\n",
                                 " ",
                                 "50000",
                                 "50000\n",
                                 "50000 \n",
                                 " 100000\n",
                                 "50000 0\n",
                                 "0 100000\n",
                                 "-50000 100000\n",
                                 "50000 -100000\n",
                                 "50000  100000\n",
                                 "5e4 100000\n",
                                 "0x10 100000\n",
                                 "+50000 100000\n",
                                 "50000 100000 1\n",
                                 "max\n",
                                 "min 100000\n",
                                 "50000.5 100000\n",
                                 "99999999999999999999 100000\n",
                                 "50000 99999999999999999999\n"}) {
    INFO("cpu.max is '" << text << "'");
    FileSystem v2("0::/job\n", kMountV2);
    v2.write("/sys/fs/cgroup/job/cpu.max", text);
    CHECK(v2.quota() == kNone);
    v2.write("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    CHECK(v2.quota() == 2);
  }
  for (const std::string text : {"", "\n", "x\n", "0\n", "-1\n", "-2\n", "1 2\n", "max\n"}) {
    INFO("the quota or the period is '" << text << "'");
    FileSystem v1("4:cpu:/\n", kMountV1);
    const std::string folder = "/sys/fs/cgroup/cpu,cpuacct";
    CHECK(v1.write_v1(folder, text).quota() == kNone);
    CHECK(v1.write_v1(folder, "50000\n", text).quota() == kNone);
    CHECK(v1.write_v1(folder, "50000\n", "100000\n").quota() == 0.5);
  }
}

TEST_CASE("cgroup: malformed lines of /proc are skipped") {
  const std::string quota = "50000 100000\n";
  FileSystem groups("\n:\n::\n0\n0:\n0::\n0::relative\n1::/elsewhere\nnonsense\n0::/job\n",
                    kMountV2);
  CHECK(groups.write("/sys/fs/cgroup/job/cpu.max", quota).quota() == 0.5);
  FileSystem mounts("0::/job\n",
                    "\n-\n - \n - cgroup2\n1 2 3\n30 23 0:26 / /sys/fs/cgroup rw cgroup2\n"
                    "30 23 0:26 relative /mnt/1 rw - cgroup2 none rw\n"
                    "30 23 0:26 / relative rw - cgroup2 none rw\n" +
                        kMountV2);
  mounts.write("relative/job/cpu.max", "1000 100000\n");
  CHECK(mounts.write("/sys/fs/cgroup/job/cpu.max", quota).quota() == 0.5);
  // Files that end without a newline, or in the middle of a line.
  FileSystem last("0::/job", kMountV2.substr(0, kMountV2.size() - 1));
  CHECK(last.write("/sys/fs/cgroup/job/cpu.max", "50000 100000").quota() == 0.5);
  for (std::size_t length = 0; length < kMountV2.size(); ++length) {
    FileSystem cut("0::/job\n", kMountV2.substr(0, length));
    const auto found = cut.write("/sys/fs/cgroup/job/cpu.max", quota).quota();
    CHECK((found == kNone || found == 0.5));
  }
}

TEST_CASE("cgroup: without files there is no quota") {
  CHECK(FileSystem().quota() == kNone);
  CHECK(cgroup_quota("/no/such/folder") == kNone);
  FileSystem no_mounts;
  CHECK(no_mounts.write("/proc/self/cgroup", "0::/\n4:cpu:/\n").quota() == kNone);
  FileSystem no_groups;
  no_groups.write("/proc/self/mountinfo", kMountV1 + kMountV2);
  no_groups.write("/sys/fs/cgroup/cpu.max", "50000 100000\n");
  CHECK(no_groups.quota() == kNone);
  CHECK(FileSystem("0::/\n", kMountOfOthers).quota() == kNone);
}

TEST_CASE("cgroup: folders and pipes instead of files set no quota, and no read blocks") {
  FileSystem files("0::/job\n", kMountV2);
  files.write("/sys/fs/cgroup/job/cpu.max/folder", "");
  CHECK(mkfifo((files.root() + "/sys/fs/cgroup/cpu.max").c_str(), 0600) == 0);
  CHECK(files.quota() == kNone);
  FileSystem pipes;
  pipes.write("/proc/self/other", "");
  for (const char* const name : {"/proc/self/cgroup", "/proc/self/mountinfo"}) {
    CHECK(mkfifo((pipes.root() + name).c_str(), 0600) == 0);
  }
  CHECK(pipes.quota() == kNone);
}

TEST_CASE("cgroup: long mount tables are read to their end, endless ones are ignored") {
  std::string many;
  while (many.size() < 100'000) many += kMountOfOthers;
  FileSystem files("0::/job\n", many + kMountV2);
  files.write("/sys/fs/cgroup/job/cpu.max", "50000 100000\n");
  CHECK(files.quota() == 0.5);
  files.write("/proc/self/mountinfo", kMountV2 + std::string(std::size_t{17} << 20, '\n'));
  CHECK(files.quota() == kNone);
}

}  // namespace rmsnorm::test

#endif
