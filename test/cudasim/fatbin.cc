#include "fatbin.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>

#include "zstd.h"

namespace cudasim {
namespace {

// No documentation describes the format. The layout was derived from files that nvcc 13.0 made with
// each --compress-mode, and test/cudasim/fatbin_test.cc checks it against such files:
//   header  u32 magic, u16 version, u16 bytes of this header, u64 bytes of all entries
//   entry   u16 kind, u16 version, u32 bytes of this header, u64 bytes of the padded payload,
//           @16 u32 compressed bytes (0: not compressed), @24 u16 minor, u16 major of the PTX or
//           ELF version, @28 u32 compute capability, @40 u64 flags, @56 u64 bytes uncompressed
constexpr std::uint32_t kMagic = 0xba55ed50;
constexpr std::size_t kHeaderBytes = 16;
constexpr std::size_t kEntryBytes = 64;
constexpr std::uint16_t kPtx = 1;
constexpr std::uint16_t kElf = 2;
constexpr std::uint64_t kZstd = 0x8000;  // "default", "size" and "balance"; "speed" is 0x2000, LZ4
constexpr std::uint64_t kSpecific = 0x100000;  // code for one GPU only, such as compute_90a

// The oldest CUDA versions whose drivers read machine code of nvcc 13, and zstd.
constexpr int kOldestForCode = 13000;
constexpr int kOldestForZstd = 12040;

// A limit, so that a damaged length cannot exhaust memory.
constexpr std::uint64_t kMaxBytes = std::uint64_t{256} << 20;

struct Entry {
  std::uint16_t kind = 0;
  int capability = 0;
  bool compressed = false;
  bool zstd = false;
  bool specific = false;
  std::uint64_t uncompressed_bytes = 0;
  Bytes payload;
};

[[noreturn]] void refuse(const std::string& message) {
  throw ImageError(ImageError::Kind::kInvalid, message);
}

template <class T>
T load(Bytes bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

bool is_fatbin(Bytes image) {
  return image.size() >= sizeof kMagic && load<std::uint32_t>(image, 0) == kMagic;
}

Entry parse_entry(Bytes rest, std::size_t* entry_bytes) {
  if (rest.size() < kEntryBytes) refuse("fatbin: an entry is cut off");
  Entry entry;
  entry.kind = load<std::uint16_t>(rest, 0);
  if (entry.kind != kPtx && entry.kind != kElf) refuse("fatbin: an entry of unknown kind");
  if (load<std::uint16_t>(rest, 2) != 0x101) refuse("fatbin: an entry of unknown version");
  const std::uint64_t header = load<std::uint32_t>(rest, 4);
  const std::uint64_t padded = load<std::uint64_t>(rest, 8);
  if (header < kEntryBytes || header > rest.size() || padded > rest.size() - header) {
    refuse("fatbin: an entry reaches past the end");
  }
  const std::uint64_t compressed = load<std::uint32_t>(rest, 16);
  if (compressed > padded) refuse("fatbin: more compressed bytes than the entry has");
  const std::uint64_t flags = load<std::uint64_t>(rest, 40);
  entry.capability = static_cast<int>(std::min<std::uint32_t>(load<std::uint32_t>(rest, 28), 9999));
  entry.compressed = compressed != 0;
  entry.zstd = (flags & kZstd) != 0;
  entry.specific = (flags & kSpecific) != 0;
  entry.uncompressed_bytes = load<std::uint64_t>(rest, 56);
  entry.payload = rest.subspan(header, entry.compressed ? compressed : padded);
  *entry_bytes = header + padded;
  return entry;
}

std::vector<Entry> parse_fatbin(Bytes image) {
  if (image.size() < kHeaderBytes) refuse("fatbin: the header is cut off");
  if (load<std::uint16_t>(image, 4) != 1) refuse("fatbin: unknown version");
  const std::size_t header = load<std::uint16_t>(image, 6);
  if (header < kHeaderBytes || header > image.size()) refuse("fatbin: bad length of the header");
  const std::uint64_t payload = load<std::uint64_t>(image, 8);
  if (payload > image.size() - header) refuse("fatbin: shorter than its header says");
  std::vector<Entry> entries;
  for (Bytes rest = image.subspan(header, payload); !rest.empty();) {
    std::size_t entry_bytes = 0;
    entries.push_back(parse_entry(rest, &entry_bytes));
    rest = rest.subspan(entry_bytes);
  }
  return entries;
}

std::string text_of(Bytes bytes) {
  const auto end = std::find(bytes.begin(), bytes.end(), 0);  // padding follows
  return std::string(bytes.begin(), end);
}

std::string decompress(const Entry& entry) {
  if (!entry.compressed) return text_of(entry.payload);
  if (!entry.zstd) refuse("fatbin: compressed with something else than zstd");
  if (entry.uncompressed_bytes > kMaxBytes) refuse("fatbin: too large");
  std::vector<unsigned char> text(entry.uncompressed_bytes);
  const std::size_t bytes =
      decompress_zstd(entry.payload.data(), entry.payload.size(), text.data(), text.size());
  if (bytes != text.size()) refuse("fatbin: damaged zstd data");
  return text_of(text);
}

// A driver treats any text as PTX and leaves errors in it to its compiler.
bool may_be_text(Bytes image) {
  return !image.empty() && std::all_of(image.begin(), image.end(), [](unsigned char c) {
    return c >= ' ' || c == '\n' || c == '\t' || c == '\r';
  });
}

bool is_elf(Bytes image) {
  return image.size() >= 4 && std::memcmp(image.data(),
                                          "\x7f"
                                          "ELF",
                                          4) == 0;
}

// The process's own memory as a file: reading unmapped memory gives an error, not a signal.
class OwnMemory {
 public:
  OwnMemory() : file_(open("/proc/self/mem", O_RDONLY | O_CLOEXEC)) {}
  ~OwnMemory() {
    if (file_ >= 0) close(file_);
  }
  OwnMemory(const OwnMemory&) = delete;
  OwnMemory& operator=(const OwnMemory&) = delete;

  // Reads up to `bytes`, as far as the memory is mapped. Returns how many.
  std::size_t read(std::uintptr_t address, unsigned char* to, std::size_t bytes) const {
    std::size_t done = 0;
    while (done < bytes) {
      const ssize_t got = pread(file_, to + done, bytes - done, static_cast<off_t>(address + done));
      if (got <= 0) break;
      done += static_cast<std::size_t>(got);
    }
    return done;
  }

 private:
  int file_;
};

}  // namespace

std::vector<unsigned char> copy_image(const void* image) {
  const OwnMemory memory;
  const auto address = reinterpret_cast<std::uintptr_t>(image);
  std::vector<unsigned char> bytes(kHeaderBytes);
  bytes.resize(memory.read(address, bytes.data(), bytes.size()));
  if (is_fatbin(bytes) && bytes.size() == kHeaderBytes) {
    const std::uint64_t header = load<std::uint16_t>(bytes, 6);
    const std::uint64_t payload = load<std::uint64_t>(bytes, 8);
    if (payload > kMaxBytes) refuse("fatbin: too large");
    bytes.resize(header + payload);
    bytes.resize(memory.read(address, bytes.data(), bytes.size()));
    return bytes;
  }
  constexpr std::size_t kChunk = 4096;
  bytes.clear();
  while (bytes.size() < kMaxBytes) {
    const std::size_t before = bytes.size();
    // Read up to the end of a page, so that a text at the end of mapped memory is read whole.
    const std::size_t chunk = kChunk - (address + before) % kChunk;
    bytes.resize(before + chunk);
    bytes.resize(before + memory.read(address + before, bytes.data() + before, chunk));
    const auto end = std::find(bytes.begin() + static_cast<std::ptrdiff_t>(before), bytes.end(), 0);
    if (end != bytes.end()) {
      bytes.erase(end, bytes.end());
      return bytes;
    }
    if (bytes.size() < before + chunk) break;
  }
  refuse("neither a fatbin nor a text that ends");
}

std::string select_ptx(Bytes image, int capability, int driver_version) {
  const bool reads_code = driver_version >= kOldestForCode;
  if (!is_fatbin(image)) {
    if (is_elf(image)) {
      if (!reads_code) refuse("machine code of a newer CUDA");
      throw ImageError(ImageError::Kind::kNoBinary, "machine code cannot be run here");
    }
    if (!may_be_text(image)) refuse("neither a fatbin nor PTX");
    return std::string(image.begin(), image.end());
  }
  std::optional<Entry> best;
  for (const Entry& entry : parse_fatbin(image)) {
    if (entry.capability > capability) continue;
    if (entry.kind == kElf) {
      const bool fits = entry.capability / 10 == capability / 10;
      if (fits && !reads_code) refuse("fatbin: machine code of a newer CUDA");
      continue;
    }
    if (entry.specific && entry.capability != capability) continue;
    if (!best || entry.capability > best->capability) best = entry;
  }
  if (!best) {
    throw ImageError(ImageError::Kind::kNoBinary, "fatbin: no PTX for compute capability " +
                                                      std::to_string(capability) +
                                                      " or below (machine code is passed over)");
  }
  if (best->zstd && driver_version < kOldestForZstd) refuse("fatbin: compressed with zstd");
  std::string ptx = decompress(*best);
  if (!may_be_text(Bytes(reinterpret_cast<const unsigned char*>(ptx.data()), ptx.size()))) {
    refuse("fatbin: the PTX is no text");
  }
  return ptx;
}

}  // namespace cudasim
