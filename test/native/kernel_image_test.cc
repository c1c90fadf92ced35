// Kernel files: which PTX is selected for a GPU and a driver, and how damaged files are handled.

#include "cuda/driver/kernel_image.h"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/driver/ptx_numbers.h"
#include "cuda/driver/xz.h"
#include "cuda_support.h"

namespace rmsnorm::test {
namespace {

using cuda::KernelImage;

// The PTX of two architectures.
constexpr std::string_view kFirst =
    ".version 6.3\n.target sm_75\nadd.rn.f32 %f1, %f2, %f3;\nadd.rn.f32 %f4, %f5, %f6;\n";
constexpr std::string_view kSecond =
    ".version 7.0\n.target sm_80\nadd.rn.f32 %f1, %f2, %f3;\nadd.rn.f32 %f4, %f5, %f6;\n";
// Both with relative numbers (cmake/relative_numbers.mjs), and that text compressed with `xz -9`.
constexpr std::string_view kRelative =
    ".version 6.3\n.target sm_75\nadd.rn.f32 %f1, %f2, %f3;\nadd.rn.f32 %f3, %f4, %f5;\n"
    ".version 7.0\n.target sm_80\nadd.rn.f32 %f1, %f2, %f3;\nadd.rn.f32 %f3, %f4, %f5;\n";
constexpr unsigned char kXz[] = {
    0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46, 0x02, 0x00, 0x21, 0x01,
    0x1c, 0x00, 0x00, 0x00, 0x10, 0xcf, 0x58, 0xcc, 0xe0, 0x00, 0x9d, 0x00, 0x47, 0x5d, 0x00, 0x17,
    0x1d, 0x88, 0xa7, 0x56, 0x23, 0xed, 0x1f, 0x97, 0xde, 0xce, 0x4f, 0x34, 0xdc, 0x5b, 0x9d, 0x12,
    0xee, 0xd4, 0x67, 0xbb, 0xa7, 0x13, 0x9d, 0xa2, 0x14, 0xab, 0xde, 0x7c, 0xa3, 0xf2, 0x2b, 0x33,
    0x6d, 0x49, 0xa3, 0x7b, 0x70, 0x79, 0xb9, 0xef, 0x00, 0xc2, 0x0e, 0x2d, 0xbb, 0xaa, 0xa4, 0xbc,
    0xcb, 0x87, 0xbb, 0x6f, 0x3d, 0x08, 0xdb, 0xda, 0x0b, 0xd7, 0x99, 0xee, 0x9c, 0xeb, 0xe1, 0x87,
    0xdd, 0x29, 0xec, 0xf5, 0x0a, 0x00, 0x00, 0x00, 0xa0, 0x2c, 0x3c, 0x54, 0x09, 0xcc, 0x58, 0x48,
    0x00, 0x01, 0x63, 0x9e, 0x01, 0x00, 0x00, 0x00, 0x3d, 0x57, 0xbf, 0x9b, 0xb1, 0xc4, 0x67, 0xfb,
    0x02, 0x00, 0x00, 0x00, 0x00, 0x04, 0x59, 0x5a,
};

std::vector<std::byte> bytes_of(const void* data, std::size_t bytes) {
  const auto* const begin = static_cast<const std::byte*>(data);
  return {begin, begin + bytes};
}

// A file with this line. The stream above follows twice: as machine code and as PTX.
std::vector<std::byte> file_of(const std::string& line) {
  std::vector<std::byte> file = bytes_of(line.data(), line.size());
  for (int i = 0; i < 2; ++i) {
    const std::vector<std::byte> stream = bytes_of(kXz, sizeof kXz);
    file.insert(file.end(), stream.begin(), stream.end());
  }
  return file;
}
const std::string kCode = "code 13000 " + std::to_string(sizeof kXz) + " sm_80 sm_90";

TEST_CASE("kernel image: find_ptx selects the newest PTX that the GPU and the driver accept") {
  KernelImage image;
  REQUIRE(image.parse(file_of(kCode + " compute_75 10000 compute_100 12070 compute_80 11000\n")));
  CHECK(image.machine_code_version() == 13000);
  const struct {
    int capability, driver_version, expected;
  } cases[] = {{70, 13000, 0},   {75, 13000, 75},   {75, 10000, 75},  {75, 9020, 0},
               {80, 10020, 75},  {80, 11000, 80},   {87, 13000, 80},  {90, 13000, 80},
               {100, 12060, 80}, {100, 12070, 100}, {150, 13000, 100}};
  for (const auto& [capability, driver_version, expected] : cases) {
    CAPTURE(capability);
    CAPTURE(driver_version);
    CHECK(image.find_ptx(capability, driver_version) == expected);
  }
}

TEST_CASE("kernel image: each PTX has its own text") {
  KernelImage image;
  REQUIRE(image.parse(file_of(kCode + " compute_75 10000 compute_80 11000\n")));
  CHECK(image.ptx(75) == kFirst);
  CHECK(image.ptx(80) == kSecond);
  CHECK(image.ptx(90).empty());
  KernelImage another;
  REQUIRE(another.parse(file_of(kCode + " compute_75 10000 compute_80 11000 compute_90 11080\n")));
  CHECK(another.ptx(90).empty());  // the stream has only two texts
}

TEST_CASE("kernel image: the machine code is the first stream") {
  KernelImage image;
  REQUIRE(image.parse(file_of(kCode + "\n")));
  CHECK(image.machine_code() == kRelative);
  CHECK(image.find_ptx(90, 13000) == 0);
}

TEST_CASE("kernel image: damaged streams give no code") {
  const std::string line = kCode + " compute_75 10000\n";
  std::vector<std::byte> file = file_of(line);
  file[line.size()] ^= std::byte{1};
  file[line.size() + sizeof kXz] ^= std::byte{1};
  KernelImage image;
  REQUIRE(image.parse(file));
  CHECK(image.machine_code().empty());
  CHECK(image.ptx(75).empty());
}

TEST_CASE("kernel image: files of another format are refused") {
  for (const char* line :
       {"", "code 13000 0", "sm 13000 compute_75 10000\n", "code sm_75\n", "code 13000 sm_75\n",
        "code 13000 0 compute_75\n", "code 13000 0 compute_ 10000\n", "code 13000 0 sm_\n",
        "code 13000 0 compute_75 10000 80\n", "code 13000 0 compute_75 99999999999\n",
        "code 13000 0 compute_75 10000 sm_75\n", "code 13000 -1 sm_75\n",
        "code 13000 1000 sm_75\n"}) {
    CAPTURE(line);
    KernelImage image;
    CHECK_FALSE(image.parse(file_of(line)));
  }
  const std::string line = kCode + " compute_75 10000\n";
  const std::vector<std::byte> whole = file_of(line);
  for (std::size_t bytes = 0; bytes < whole.size() - sizeof kXz; ++bytes) {
    KernelImage image;
    CHECK_FALSE(image.parse({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(bytes)}));
  }
}

TEST_CASE("kernel image: relative numbers of PTX become absolute") {
  CHECK(cuda::with_absolute_numbers("") == "");
  CHECK(cuda::with_absolute_numbers("mov.u32 %r7, %tid.x;") == "mov.u32 %r7, %tid.x;");
  // The origin is the first number of the last line that begins with that kind.
  CHECK(cuda::with_absolute_numbers("add %r3, %r1, %f2;\nadd %r1, %r0, %r-2;\n@%p1 bra $L_4;\n"
                                    "$L_4:\nbra $L_-2; // %r-1\nadd %r0, %f1, %% $ %\n") ==
        "add %r3, %r1, %f2;\nadd %r4, %r3, %r1;\n@%p1 bra $L_4;\n"
        "$L_4:\nbra $L_2; // %r3\nadd %r4, %f1, %% $ %\n");
}

std::string decoded(std::span<const std::byte> stream) {
  std::string text;
  return cuda::decode_xz(stream, &text) ? text : "refused";
}

TEST_CASE("kernel image: a truncated or damaged xz stream is refused or gives some text") {
  const std::vector<std::byte> stream = bytes_of(kXz, sizeof kXz);
  const std::string text(kRelative);
  CHECK(decoded(stream) == text);
  // A cut or changed stream is refused or gives some text. Sanitizers check the memory accesses.
  for (std::size_t bytes = 0; bytes < stream.size(); ++bytes) {
    const std::string cut = decoded(std::span(stream).first(bytes));
    CHECK((cut == "refused" || cut == text));  // the bytes after the texts are not needed
  }
  CHECK(decoded(std::span(stream).first(stream.size() / 2)) == "refused");
  int refused = 0;
  std::vector<std::byte> changed = stream;
  for (std::size_t bit = 0; bit < 8 * stream.size(); ++bit) {
    const auto mask = static_cast<std::byte>(1 << bit % 8);
    changed[bit / 8] ^= mask;
    refused += decoded(changed) == "refused" ? 1 : 0;
    changed[bit / 8] ^= mask;
  }
  CHECK(refused > 100);
}

TEST_CASE(
    "cuda kernels: load_all_kernels loads every file, and later look-ups find the same kernels") {
  Gpu gpu;
  if (!gpu.is_there()) return;
  must(gpu.device().load_all_kernels());
  for (std::size_t file = 0; file < cuda::kKernelFileCount; ++file) {
    CHECK(gpu.device().loaded_image(file) != "");
  }
  for (const cuda::KernelEntry& entry : cuda::kernel_registry()) {
    cuda::CUfunction first = nullptr;
    cuda::CUfunction second = nullptr;
    must(gpu.device().kernel(entry, &first));
    must(gpu.device().kernel(entry, &second));
    CHECK(first != nullptr);
    CHECK(first == second);
  }
}

}  // namespace
}  // namespace rmsnorm::test
