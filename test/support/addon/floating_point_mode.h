// How the processor rounds floats on the calling thread, and whether it treats subnormal ones as
// zero.
#pragma once

namespace rmsnorm::test {

struct FloatingPointMode {
  bool flush_to_zero = false;       // subnormal results are zeros
  bool denormals_are_zero = false;  // subnormal operands are zeros; arm64 has one bit for both
  enum Rounding { kNearest, kDown, kUp, kZero } rounding = kNearest;
};

FloatingPointMode floating_point_mode();
void set_floating_point_mode(const FloatingPointMode& mode);

}  // namespace rmsnorm::test
