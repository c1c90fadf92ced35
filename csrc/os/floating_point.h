// The floating-point mode of a thread. Other code of the process may have set a mode that flushes
// subnormals or rounds differently, and a new thread inherits it.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace rmsnorm {

// While a scope exists, its thread has the mode that the numerics contract (fold.h) needs: round to
// nearest even, keep subnormals, trap nothing. The destructor restores the thread's own mode.
class FloatingPointScope {
 public:
  FloatingPointScope() : saved_(read()) {
    if (is_changed()) write(kMode);
  }
  ~FloatingPointScope() {
    if (is_changed()) write(saved_);
  }
  FloatingPointScope(const FloatingPointScope&) = delete;
  FloatingPointScope& operator=(const FloatingPointScope&) = delete;

 private:
#if defined(__x86_64__)
  // MXCSR with all exceptions masked. Its low six bits are flags of past exceptions, not a mode.
  using Register = std::uint32_t;
  static constexpr Register kMode = 0x1f80;
  static constexpr Register kFlags = 0x3f;
  static Register read() { return _mm_getcsr(); }
  static void write(Register value) { _mm_setcsr(value); }
#elif defined(__aarch64__)
  // FPCR: every bit is an option or a trap.
  using Register = std::uint64_t;
  static constexpr Register kMode = 0;
  static constexpr Register kFlags = 0;
  static Register read() {
    Register value;
    __asm__ volatile("mrs %0, fpcr" : "=r"(value));
    return value;
  }
  static void write(Register value) { __asm__ volatile("msr fpcr, %0" : : "r"(value) : "memory"); }
#else
#error "The floating-point mode of this processor is not known"
#endif

  bool is_changed() const { return (saved_ & ~kFlags) != kMode; }

  Register saved_;
};

}  // namespace rmsnorm
