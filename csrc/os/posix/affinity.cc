#include "affinity.h"

#if defined(__linux__)

#include <unistd.h>

#include <bit>
#include <cerrno>
#include <vector>

namespace rmsnorm {
namespace {

using Word = unsigned long;  // the kernel's unit of a mask

constexpr std::size_t kWordBits = 8 * sizeof(Word);
constexpr std::size_t kFirstBits = 1024;                // bits of a cpu_set_t
constexpr std::size_t kMaxBits = std::size_t{1} << 20;  // no kernel supports as many processors

}  // namespace

// The kernel refuses (EINVAL) a mask with fewer bits than the number of processors that it can
// have. So the mask is doubled until it fits.
int affinity_count(ReadAffinity read) {
  for (std::size_t bits = kFirstBits; bits <= kMaxBits; bits *= 2) {
    std::vector<Word> mask(bits / kWordBits);
    if (read(getpid(), bits / 8, reinterpret_cast<cpu_set_t*>(mask.data())) == 0) {
      int count = 0;
      for (const Word word : mask) count += std::popcount(word);
      return count;
    }
    if (errno != EINVAL) return 0;
  }
  return 0;
}

}  // namespace rmsnorm

#endif
