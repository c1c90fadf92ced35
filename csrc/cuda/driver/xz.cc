#include "xz.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>

namespace rmsnorm::cuda {
namespace {

// The bytes of the stream in order. Reading past the end gives zeros and sets is_over().
class Input {
 public:
  explicit Input(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::uint32_t byte() {
    if (at_ >= bytes_.size()) {
      is_over_ = true;
      return 0;
    }
    return std::to_integer<std::uint32_t>(bytes_[at_++]);
  }
  std::uint32_t big_endian(int bytes) {
    std::uint32_t value = 0;
    for (; bytes > 0; --bytes) value = value << 8 | byte();
    return value;
  }
  void skip(std::size_t bytes) { at_ += bytes; }
  bool is_over() const { return is_over_; }

 private:
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  bool is_over_ = false;
};

// The probability that a bit is 0, in units of 1/2048. It adapts to the bits that were decoded.
using Probability = std::uint16_t;
constexpr Probability kEven = 1024;

// The range decoder of LZMA, a kind of arithmetic decoder.
class RangeDecoder {
 public:
  explicit RangeDecoder(Input& input) : input_(input) {}

  void begin() {
    input_.byte();  // always 0
    code_ = input_.big_endian(4);
    range_ = UINT32_MAX;
  }

  // Reads the last byte of a chunk, which would otherwise be read only with the next bit.
  void end() { normalise(); }

  unsigned bit(Probability& probability) {
    normalise();
    const std::uint32_t bound = (range_ >> 11) * probability;
    if (code_ < bound) {
      range_ = bound;
      probability = static_cast<Probability>(probability + ((2048 - probability) >> 5));
      return 0;
    }
    range_ -= bound;
    code_ -= bound;
    probability = static_cast<Probability>(probability - (probability >> 5));
    return 1;
  }

  bool is_over() const { return input_.is_over(); }

  // Bits with a fixed probability of one half, the highest first.
  std::uint32_t even_bits(unsigned count) {
    std::uint32_t value = 0;
    for (; count > 0; --count) {
      normalise();
      range_ >>= 1;
      const bool is_one = code_ >= range_;
      if (is_one) code_ -= range_;
      value = value << 1 | (is_one ? 1 : 0);
    }
    return value;
  }

  // A bit tree: each bit has its own probability for every value of the bits before it. The highest
  // bit comes first.
  unsigned tree(Probability* probabilities, unsigned bits) {
    unsigned node = 1;
    for (unsigned i = 0; i < bits; ++i) node = node << 1 | bit(probabilities[node]);
    return node - (1u << bits);
  }
  // The same, but the lowest bit comes first.
  unsigned reverse_tree(Probability* probabilities, unsigned bits) {
    unsigned node = 1;
    unsigned value = 0;
    for (unsigned i = 0; i < bits; ++i) {
      const unsigned one = bit(probabilities[node]);
      node = node << 1 | one;
      value |= one << i;
    }
    return value;
  }

 private:
  void normalise() {
    if (range_ >= 1u << 24) return;
    range_ <<= 8;
    code_ = code_ << 8 | input_.byte();
  }

  Input& input_;
  std::uint32_t range_ = 0;
  std::uint32_t code_ = 0;
};

constexpr unsigned kStates = 12;
constexpr unsigned kPositions = 16;  // the maximum number of position states (position_mask_)
constexpr unsigned kMinLength = 2;
using ByPosition = std::array<Probability, kPositions>;

// Decodes the length of a match, less kMinLength.
struct Lengths {
  std::array<Probability, 2> choice;
  std::array<std::array<Probability, 8>, kPositions> low, middle;
  std::array<Probability, 256> high;

  unsigned decode(RangeDecoder& decoder, unsigned position) {
    if (decoder.bit(choice[0]) == 0) return decoder.tree(low[position].data(), 3);
    if (decoder.bit(choice[1]) == 0) return 8 + decoder.tree(middle[position].data(), 3);
    return 16 + decoder.tree(high.data(), 8);
  }
};

// The adaptive state of LZMA. It consists of Probability values alone, because reset() fills the
// struct as one array of them.
struct Model {
  std::array<ByPosition, kStates> is_match, is_near_repeat_long;
  std::array<Probability, kStates> is_repeat, is_other_repeat, is_third_repeat, is_fourth_repeat;
  std::array<std::array<Probability, 64>, 4> slots;
  std::array<Probability, 128> distances;
  std::array<Probability, 16> low_distances;
  Lengths lengths, repeat_lengths;
  std::array<Probability, 0x300 << 4> literals;
};

class Lzma {
 public:
  Lzma(Input& input, std::string* out) : decoder_(input), out_(*out) {}

  // Sets the properties that a byte of the stream encodes. False if they are not valid.
  bool set_properties(unsigned byte) {
    if (byte >= 9 * 5 * 5) return false;
    literal_context_ = byte % 9;
    literal_position_ = byte / 9 % 5;
    position_mask_ = (1u << byte / 45) - 1;
    return literal_context_ + literal_position_ <= 4;
  }

  void reset() {
    auto* const first = reinterpret_cast<Probability*>(&model_);
    std::fill(first, first + sizeof model_ / sizeof(Probability), kEven);
    state_ = 0;
    distances_.fill(0);
  }

  // Decodes a chunk, and appends its `bytes` bytes to the output. False if the chunk is damaged.
  bool decode(std::size_t bytes) {
    decoder_.begin();
    const std::size_t end = out_.size() + bytes;
    while (out_.size() < end && !decoder_.is_over()) {
      const unsigned position = static_cast<unsigned>(out_.size()) & position_mask_;
      if (decoder_.bit(model_.is_match[state_][position]) == 0) {
        out_.push_back(literal());
        continue;
      }
      const std::size_t length = match(position);
      const std::size_t distance = std::size_t{distances_[0]} + 1;
      if (distance > out_.size() || length > end - out_.size()) return false;
      for (std::size_t i = 0; i < length; ++i) out_.push_back(out_[out_.size() - distance]);
    }
    decoder_.end();
    return !decoder_.is_over();
  }

 private:
  char literal() {
    const auto byte_at = [&](std::size_t distance) {
      return distance > out_.size() ? 0u : static_cast<unsigned char>(out_[out_.size() - distance]);
    };
    const unsigned position = static_cast<unsigned>(out_.size()) & ((1u << literal_position_) - 1);
    const unsigned context = position << literal_context_ | byte_at(1) >> (8 - literal_context_);
    Probability* const probabilities = model_.literals.data() + std::size_t{0x300} * context;
    unsigned symbol = 1;
    if (state_ >= 7) {  // after a match, the byte that would have continued it is a good predictor
      unsigned expected = byte_at(std::size_t{distances_[0]} + 1);
      while (symbol < 0x100) {
        const unsigned likely = expected >> 7 & 1;
        expected <<= 1;
        const unsigned one = decoder_.bit(probabilities[((1 + likely) << 8) + symbol]);
        symbol = symbol << 1 | one;
        if (one != likely) break;
      }
    }
    while (symbol < 0x100) symbol = symbol << 1 | decoder_.bit(probabilities[symbol]);
    state_ = state_ < 4 ? 0 : state_ < 10 ? state_ - 3 : state_ - 6;
    return static_cast<char>(symbol);
  }

  // Decodes a match. Returns its length and leaves its distance, less 1, in distances_[0].
  std::size_t match(unsigned position) {
    const bool after_literal = state_ < 7;
    if (decoder_.bit(model_.is_repeat[state_]) == 0) {
      std::shift_right(distances_.begin(), distances_.end(), 1);
      const unsigned length = model_.lengths.decode(decoder_, position);
      state_ = after_literal ? 7 : 10;
      distances_[0] = distance(length);
      return length + kMinLength;
    }
    if (decoder_.bit(model_.is_other_repeat[state_]) == 0) {
      if (decoder_.bit(model_.is_near_repeat_long[state_][position]) == 0) {
        state_ = after_literal ? 9 : 11;
        return 1;
      }
    } else {
      std::size_t which = 1;
      if (decoder_.bit(model_.is_third_repeat[state_]) == 1) {
        which = 2 + decoder_.bit(model_.is_fourth_repeat[state_]);
      }
      const auto first = distances_.begin();
      std::rotate(first, first + static_cast<std::ptrdiff_t>(which),
                  first + static_cast<std::ptrdiff_t>(which) + 1);
    }
    state_ = after_literal ? 8 : 11;
    return model_.repeat_lengths.decode(decoder_, position) + kMinLength;
  }

  std::uint32_t distance(unsigned length) {
    const unsigned slot = decoder_.tree(model_.slots[std::min(length, 3u)].data(), 6);
    if (slot < 4) return slot;
    const unsigned bits = (slot >> 1) - 1;
    const std::uint32_t base = (2 | (slot & 1)) << bits;
    if (slot < 14) {
      return base + decoder_.reverse_tree(model_.distances.data() + base - slot, bits);
    }
    const std::uint32_t high = decoder_.even_bits(bits - 4) << 4;
    return base + high + decoder_.reverse_tree(model_.low_distances.data(), 4);
  }

  RangeDecoder decoder_;
  std::string& out_;
  Model model_{};
  unsigned literal_context_ = 0, literal_position_ = 0, position_mask_ = 0;
  unsigned state_ = 0;  // below kStates: what the last symbols were (literal, match, repeat)
  std::array<std::uint32_t, 4> distances_{};  // of the last four matches, less 1; the latest first
};

// The stream begins with its header, and the header of the only block follows. The first byte of a
// block's header is the size of that header, in words of 4 bytes, less 1.
constexpr std::size_t kStreamHeaderBytes = 12;
constexpr std::array<std::uint32_t, 6> kMagic{0xfd, '7', 'z', 'X', 'Z', 0};

}  // namespace

bool decode_xz(std::span<const std::byte> stream, std::string* contents) {
  Input input(stream);
  for (const std::uint32_t expected : kMagic) {
    if (input.byte() != expected) return false;
  }
  input.skip(kStreamHeaderBytes - kMagic.size());
  input.skip(4 * (std::size_t{input.byte()} + 1) - 1);

  // LZMA2: chunks, each after a control byte. A control byte of 0 ends the block.
  std::string out;
  const auto lzma = std::make_unique<Lzma>(input, &out);
  bool is_first = true;
  while (const std::uint32_t control = input.byte()) {
    // 1: resets the adaptive state; 2: also sets properties; 3: also empties the dictionary.
    const std::uint32_t reset = control >> 5 & 3;
    if (control < 0x80 || is_first != (reset == 3)) return false;
    is_first = false;
    const std::size_t bytes = ((control & 0x1f) << 16 | input.big_endian(2)) + 1;
    input.big_endian(2);  // the size of the compressed chunk, which is not needed
    if (reset >= 2 && !lzma->set_properties(input.byte())) return false;
    if (reset >= 1) lzma->reset();
    if (!lzma->decode(bytes)) return false;
  }
  if (input.is_over()) return false;
  *contents += out;
  return true;
}

}  // namespace rmsnorm::cuda
