#include "kernel_test_support.h"

#include <cstring>

#include "operations.h"

namespace cudasim::test {

std::string module_of(const std::string& body, int parameters, const std::string& directives,
                      const std::string& declarations) {
  std::string ptx =
      ".version 9.0\n.target sm_90\n.address_size 64\n" + declarations + "\n.visible .entry test(";
  for (int k = 0; k < parameters; ++k) {
    ptx += (k > 0 ? ", .param .u64 param" : ".param .u64 param") + std::to_string(k);
  }
  return ptx + ")\n" + directives +
         "\n{\n.reg .pred %p<20>;\n.reg .b16 %h<20>;\n.reg .b32 %w<20>;\n.reg .b64 %d<20>;\n" +
         body + "\nret;\n}\n";
}

u64 Bench::words(std::size_t count, bool fill) {
  const u64 address = memory.allocate(4 * count);
  REQUIRE(address != 0);
  if (fill) memory.fill(address, 0u, count);
  return address;
}

std::vector<u32> Bench::read(u64 address, std::size_t count) const {
  std::vector<u32> values(count);
  memory.read(address, values.data(), 4 * count);
  return values;
}

LaunchReport Bench::run(const std::string& ptx, const std::vector<u64>& parameters) {
  const Module module(ptx);
  const Kernel* kernel = module.find(module.kernel_names().at(0));
  launch.parameters.resize(8 * parameters.size());
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    std::memcpy(&launch.parameters[8 * k], &parameters[k], 8);
  }
  return execute(*kernel, launch, device, memory, options);
}

std::string parse_fault(const std::string& ptx, std::string* message) {
  return fault_of([&] { Module module(ptx); }, message);
}

std::string body_fault(const std::string& body, std::string* message) {
  return parse_fault(module_of(body, 2), message);
}

namespace {

const char* load_type(char letter) { return letter == 'h' ? "u16" : letter == 'w' ? "u32" : "u64"; }

}  // namespace

u64 evaluate_body(const std::string& statements,
                  const std::vector<std::pair<std::string, u64>>& inputs, const std::string& result,
                  u64 seed) {
  std::string body = "ld.param.u64 %d19, [param0];\nmov.u32 %w19, %tid.x;\n";
  for (const auto& [name, value] : inputs) {
    if (name[1] == 'p') {
      body += "setp.ne.u32 " + name + ", " + std::to_string(value) + ", 0;\n";
    } else {
      body += std::string("mov.") + load_type(name[1]) + " " + name + ", " + std::to_string(value) +
              ";\n";
    }
  }
  // The lanes that must not change hold another value.
  const char letter = result[1];
  const std::string before =
      letter == 'p' ? "setp.ne.u32 " + result + ", 0, 0;\n"
                    : std::string("mov.") + load_type(letter) + " " + result + ", 90;\n";
  const std::string store =
      (letter == 'p'   ? "selp.u32 %w18, 1, 0, " + result + ";\ncvt.u64.u32 %d18, %w18;\n"
       : letter == 'd' ? "mov.u64 %d18, " + result + ";\n"
                       : std::string("cvt.u64.") + load_type(letter) + " %d18, " + result + ";\n") +
      "mad.wide.u32 %d17, %w19, 8, %d19;\nst.global.u64 [%d17], %d18;\n";
  u64 value = 0;
  for (const bool everywhere : {true, false}) {
    Bench bench;
    bench.options.seed = seed;
    const u64 out = bench.words(64);
    const std::string text =
        everywhere ? body + statements + store
                   : body + before + "and.b32 %w17, %w19, 1;\nsetp.eq.u32 %p19, %w17, 0;\n" +
                         "@%p19 bra SKIP;\n" + statements + "\nSKIP:\n" + store;
    bench.run(module_of(text, 1), {out});
    u64 results[32];
    bench.memory.read(out, results, sizeof results);
    if (everywhere) value = results[0];
    for (int lane = 0; lane < 32; ++lane) {
      CAPTURE(lane);
      const bool inactive = !everywhere && lane % 2 == 0;
      CHECK(results[lane] == (inactive ? (letter == 'p' ? 0 : 90) : value));
    }
  }
  return value;
}

u64 evaluate(const std::string& mnemonic, const std::vector<u64>& inputs, u64 seed) {
  const Operation* operation = find_operation(mnemonic);
  REQUIRE_MESSAGE(operation != nullptr, mnemonic);
  const std::string& shape = operation->shape;
  // 8-bit values use 16-bit registers.
  const auto letter_of = [](char letter) { return letter == 'b' ? 'h' : letter; };
  const std::string result = std::string("%") + letter_of(shape[0]) + "9";
  std::string statement = mnemonic + " " + result;
  std::vector<std::pair<std::string, u64>> registers;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    const std::size_t at = shape.find('=') + 1 + k;
    if (at >= shape.size()) {
      statement += ", " + std::to_string(inputs[k]);
      continue;
    }
    const std::string name = std::string("%") + letter_of(shape[at]) + std::to_string(k);
    registers.emplace_back(name, inputs[k]);
    statement += ", " + name;
  }
  return evaluate_body(statement + ";\n", registers, result, seed);
}

void check_rows(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    CAPTURE(row.mnemonic);
    std::string inputs;
    for (const u64 input : row.inputs) {
      char text[20];
      std::snprintf(text, sizeof text, " 0x%llx", static_cast<unsigned long long>(input));
      inputs += text;
    }
    CAPTURE(inputs);
    CHECK(evaluate(row.mnemonic, row.inputs) == row.expected);
  }
}

}  // namespace cudasim::test
