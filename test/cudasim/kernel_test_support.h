// Support for tests of the interpreter: runs short PTX kernels and single instructions.
#pragma once

#include <doctest/doctest.h>

#include <bit>
#include <initializer_list>
#include <string>
#include <vector>

#include "machine.h"
#include "numbers.h"

namespace cudasim::test {

inline constexpr u32 kInfinity32 = 0x7f800000;
inline constexpr u64 kInfinity64 = 0x7ff0000000000000;

inline u64 f(float value) { return std::bit_cast<u32>(value); }
inline u64 d(double value) { return std::bit_cast<u64>(value); }

// The PTX of a module with one kernel, `test`. It declares 20 registers of each kind: %p
// (predicate), %h (16 bits), %w (32), %d (64). It has `parameters` parameters of 64 bits: param0 ….
// `declarations` come before the kernel.
std::string module_of(const std::string& body, int parameters, const std::string& directives = "",
                      const std::string& declarations = "");

// A simulated machine that runs such kernels.
struct Bench {
  DeviceModel device = DeviceModel::of(9, 0);
  DeviceMemory memory{std::size_t{1} << 30};
  ExecutionOptions options;
  Launch launch;

  Bench() { launch.block[0] = 32; }

  // Allocates `count` words, set to zero or, with `fill` false, left unwritten.
  u64 words(std::size_t count, bool fill = true);
  std::vector<u32> read(u64 address, std::size_t count) const;
  LaunchReport run(const std::string& ptx, const std::vector<u64>& parameters = {});
};

// The kind of the fault that f throws, "" if none. Stores its text in `message` if not null.
template <class F>
std::string fault_of(F&& f, std::string* message = nullptr) {
  try {
    f();
  } catch (const Fault& fault) {
    if (message != nullptr) *message = fault.what();
    return fault.kind;
  }
  return "";
}

// The kind of the fault from parsing a module, or a kernel with this body.
std::string parse_fault(const std::string& ptx, std::string* message = nullptr);
std::string body_fault(const std::string& body, std::string* message = nullptr);

// Sets registers such as "%w0" to values, runs the statements in all lanes of a warp, and returns
// the value of `result`. Runs them again in every second lane; the other lanes must not change.
u64 evaluate_body(const std::string& statements,
                  const std::vector<std::pair<std::string, u64>>& inputs, const std::string& result,
                  u64 seed = 1);

// Runs one instruction of the table of operations (operations.h). Operands and result are bits.
u64 evaluate(const std::string& mnemonic, const std::vector<u64>& inputs, u64 seed = 1);

struct Row {
  const char* mnemonic;
  std::vector<u64> inputs;
  u64 expected;
};
void check_rows(const std::vector<Row>& rows);

}  // namespace cudasim::test
