#include "fatbin.h"

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

namespace cudasim {
namespace {

using Image = std::vector<unsigned char>;

// nvcc 13.0 made the fixtures from
//   extern "C" __global__ void scale(float* x, float factor) { x[threadIdx.x] *= factor; }
// scale-MODE.fatbin has compute_75, 80 and 90, with --compress-mode=MODE. scale-mixed (mode size)
// has compute_75 and sm_80; scale-sass has only sm_80.
Image fixture(const std::string& name) {
  std::ifstream file(CUDASIM_FIXTURES "/" + name, std::ios::binary);
  REQUIRE(file.good());
  return Image(std::istreambuf_iterator<char>(file), {});
}

template <class T>
void put(Image& image, std::size_t offset, T value) {
  std::memcpy(image.data() + offset, &value, sizeof value);
}

struct EntryPlan {
  int capability;
  std::string text;
  bool compressed = false;
  std::uint16_t kind = 1;
  std::uint64_t more_flags = 0;
};

// A zstd frame (RFC 8878) with one raw block: magic, descriptor (single segment, one byte of
// length), length, block header (last block, raw, 21 bits of length).
Image zstd_frame(const std::string& text) {
  REQUIRE(text.size() < 256);
  const auto bytes = static_cast<unsigned char>(text.size());
  const unsigned block = 1u | static_cast<unsigned>(bytes) << 3;
  Image frame{0x28, 0xb5, 0x2f, 0xfd, 0x20, bytes};
  for (int shift : {0, 8, 16}) frame.push_back(static_cast<unsigned char>(block >> shift));
  frame.insert(frame.end(), text.begin(), text.end());
  return frame;
}

Image make_fatbin(const std::vector<EntryPlan>& plans) {
  Image image(16);
  for (const EntryPlan& plan : plans) {
    Image payload =
        plan.compressed ? zstd_frame(plan.text) : Image(plan.text.begin(), plan.text.end());
    const std::size_t compressed = plan.compressed ? payload.size() : 0;
    payload.resize((payload.size() + 7) / 8 * 8);
    Image header(64);
    put<std::uint16_t>(header, 0, plan.kind);
    put<std::uint16_t>(header, 2, 0x101);
    put<std::uint32_t>(header, 4, 64);
    put<std::uint64_t>(header, 8, payload.size());
    put<std::uint32_t>(header, 16, static_cast<std::uint32_t>(compressed));
    put<std::uint32_t>(header, 28, static_cast<std::uint32_t>(plan.capability));
    put<std::uint64_t>(header, 40, plan.more_flags | (plan.compressed ? 0x8000 : 0));
    put<std::uint64_t>(header, 56, plan.compressed ? plan.text.size() : 0);
    image.insert(image.end(), header.begin(), header.end());
    image.insert(image.end(), payload.begin(), payload.end());
  }
  put<std::uint32_t>(image, 0, 0xba55ed50);
  put<std::uint16_t>(image, 4, 1);
  put<std::uint16_t>(image, 6, 16);
  put<std::uint64_t>(image, 8, image.size() - 16);
  return image;
}

// The PTX that select_ptx returns, or the kind of its error.
std::string outcome(const Image& image, int capability, int driver_version = 13000) {
  try {
    return select_ptx(image, capability, driver_version);
  } catch (const ImageError& error) {
    return error.kind == ImageError::Kind::kInvalid ? "invalid" : "no binary";
  }
}

std::string target_of(const std::string& ptx) {
  const std::size_t at = ptx.find(".target ");
  return at == std::string::npos ? ptx : ptx.substr(at + 8, ptx.find('\n', at) - at - 8);
}

TEST_CASE("select_ptx takes the highest PTX up to the GPU's compute capability") {
  const Image image = make_fatbin({{80, "eighty", true},
                                   {75, "seventy-five"},
                                   {75,
                                    "\x7f"
                                    "ELF",
                                    false, 2},
                                   {90, "ninety", true},
                                   {90,
                                    "\x7f"
                                    "ELF",
                                    false, 2},
                                   {120, "later"}});
  const struct {
    int capability;
    const char* expected;
  } cases[] = {{70, "no binary"}, {75, "seventy-five"}, {79, "seventy-five"}, {80, "eighty"},
               {89, "eighty"},    {90, "ninety"},       {100, "ninety"},      {121, "later"}};
  for (const auto& [capability, expected] : cases) {
    CAPTURE(capability);
    CHECK(outcome(image, capability) == expected);
  }
}

TEST_CASE("select_ptx takes bare PTX and PTX for exactly this GPU, and refuses other images") {
  const struct {
    const char* what;
    Image image;
    const char* expected;
  } cases[] = {
      {"PTX", {'.', 'v', '\n'}, ".v\n"},
      {"an empty image", {}, "invalid"},
      {"binary", {1, 2, 3}, "invalid"},
      {"a cubin", {0x7f, 'E', 'L', 'F', 2}, "no binary"},
      {"no entries", make_fatbin({}), "no binary"},
      {"machine code alone",
       make_fatbin({{80,
                     "\x7f"
                     "ELF",
                     false, 2}}),
       "no binary"},
      {"another kind of entry", make_fatbin({{80, "text", false, 3}}), "invalid"},
      {"PTX that is not text", make_fatbin({{80, "\x01\x02"}}), "invalid"},
      {"PTX without text", make_fatbin({{80, ""}}), "invalid"},
      {"for this GPU only", make_fatbin({{90, "90a", false, 1, 0x100000}}), "90a"},
      {"for another GPU only", make_fatbin({{80, "80a", false, 1, 0x100000}}), "no binary"},
  };
  for (const auto& [what, image, expected] : cases) {
    CAPTURE(what);
    CHECK(outcome(image, 90) == expected);
  }
}

TEST_CASE("select_ptx reads the fatbins of nvcc 13.0") {
  const struct {
    const char* file;
    int capability;
    const char* expected;
  } cases[] = {
      {"scale-none.fatbin", 75, "sm_75"},    {"scale-none.fatbin", 90, "sm_90"},
      {"scale-size.fatbin", 75, "sm_75"},    {"scale-size.fatbin", 80, "sm_80"},
      {"scale-size.fatbin", 86, "sm_80"},    {"scale-size.fatbin", 70, "no binary"},
      {"scale-mixed.fatbin", 80, "sm_75"},   {"scale-sass.fatbin", 80, "no binary"},
      {"scale-speed.fatbin", 75, "invalid"},  // LZ4
  };
  for (const auto& [file, capability, expected] : cases) {
    CAPTURE(file);
    CAPTURE(capability);
    CHECK(target_of(outcome(fixture(file), capability)) == expected);
  }
  const std::string uncompressed = outcome(fixture("scale-none.fatbin"), 75);
  CHECK(uncompressed == outcome(fixture("scale-size.fatbin"), 75));
  CHECK(uncompressed.find(".entry scale(") != std::string::npos);
}

TEST_CASE("a driver older than the compiler refuses machine code and zstd") {
  const struct {
    const char* file;
    int capability, driver_version;
    const char* expected;
  } cases[] = {
      // Machine code for the GPU is refused, other machine code is skipped.
      {"scale-sass.fatbin", 80, 12090, "invalid"},   {"scale-sass.fatbin", 89, 12090, "invalid"},
      {"scale-sass.fatbin", 90, 12090, "no binary"}, {"scale-sass.fatbin", 75, 12090, "no binary"},
      {"scale-sass.fatbin", 80, 13000, "no binary"}, {"scale-mixed.fatbin", 80, 12090, "invalid"},
      {"scale-mixed.fatbin", 75, 12090, "sm_75"},    {"scale-size.fatbin", 90, 12040, "sm_90"},
      {"scale-size.fatbin", 90, 12030, "invalid"},  // zstd
      {"scale-none.fatbin", 90, 12030, "sm_90"},
  };
  for (const auto& [file, capability, driver_version, expected] : cases) {
    CAPTURE(file);
    CAPTURE(capability);
    CAPTURE(driver_version);
    CHECK(target_of(outcome(fixture(file), capability, driver_version)) == expected);
  }
  const Image cubin{0x7f, 'E', 'L', 'F', 2};
  CHECK(outcome(cubin, 90, 12090) == "invalid");
}

// A damaged image must either be refused or give PTX. Sanitizers check the memory accesses.
constexpr const char* kToDamage[] = {"scale-none.fatbin", "scale-size.fatbin",
                                     "scale-mixed.fatbin"};

TEST_CASE("truncated images are refused") {
  for (const char* file : kToDamage) {
    CAPTURE(file);
    const Image whole = fixture(file);
    for (std::size_t bytes = 4; bytes < whole.size(); ++bytes) {
      Image cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(bytes));
      CHECK(outcome(cut, 90) == "invalid");
      if (bytes < 16) continue;
      put<std::uint64_t>(cut, 8, bytes - 16);  // with a length in the header that agrees
      outcome(cut, 90);
    }
  }
}

TEST_CASE("images with one wrong bit do no harm") {
  for (const char* file : kToDamage) {
    Image image = fixture(file);
    for (std::size_t bit = 0; bit < 8 * image.size(); ++bit) {
      const auto mask = static_cast<unsigned char>(1 << bit % 8);
      image[bit / 8] ^= mask;
      outcome(image, 90);
      image[bit / 8] ^= mask;
    }
  }
}

TEST_CASE("images with several wrong bytes do no harm") {
  std::mt19937 random(1);
  for (const char* file : kToDamage) {
    const Image whole = fixture(file);
    for (int round = 0; round < 5000; ++round) {
      Image image = whole;
      for (unsigned i = random() % 8 + 1; i > 0; --i) {
        // Half of the bytes hit the first headers, where damage has most effect.
        const std::size_t range = random() % 2 == 0 ? image.size() : 96;
        image[random() % range] = static_cast<unsigned char>(random());
      }
      outcome(image, 90);
    }
  }
}

TEST_CASE("a damaged length that exceeds all memory is refused") {
  Image image = make_fatbin({{80, "text", true}});
  put<std::uint64_t>(image, 16 + 56, std::uint64_t{1} << 40);
  CHECK(outcome(image, 80) == "invalid");
}

// Two pages; the second one is not mapped.
class PageEnd {
 public:
  PageEnd()
      : pages_(mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    REQUIRE(pages_ != MAP_FAILED);
    munmap(static_cast<char*>(pages_) + 4096, 4096);
  }
  ~PageEnd() { munmap(pages_, 4096); }
  // Copies the bytes so that they end where the mapped memory ends.
  const void* copy_before_end(const Image& bytes) {
    char* at = static_cast<char*>(pages_) + 4096 - bytes.size();
    std::memcpy(at, bytes.data(), bytes.size());
    return at;
  }

 private:
  void* pages_;
};

TEST_CASE("copy_image finds the length of an image") {
  PageEnd memory;
  const Image whole = fixture("scale-size.fatbin");
  SUBCASE("a fatbin ends where its header says") {
    CHECK(copy_image(memory.copy_before_end(whole)) == whole);
  }
  SUBCASE("a fatbin shorter than its header says is refused") {
    Image claims = whole;
    put<std::uint64_t>(claims, 8, 1 << 20);
    CHECK(outcome(copy_image(memory.copy_before_end(claims)), 90) == "invalid");
  }
  SUBCASE("a text ends at its NUL") {
    const Image text{'.', 'v', 0};
    CHECK(copy_image(memory.copy_before_end(text)) == Image{'.', 'v'});
  }
  SUBCASE("a text without a NUL is refused") {
    const void* image = memory.copy_before_end({'.', 'v'});
    CHECK_THROWS_AS(copy_image(image), ImageError);
  }
  SUBCASE("an incomplete header is refused") {
    const void* image = memory.copy_before_end(Image(whole.begin(), whole.begin() + 8));
    CHECK_THROWS_AS(select_ptx(copy_image(image), 90), ImageError);
  }
}

}  // namespace
}  // namespace cudasim
