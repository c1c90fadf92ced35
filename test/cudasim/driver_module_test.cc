#include <cstring>
#include <fstream>
#include <iterator>

#include "driver_test_support.h"

namespace cudasim {
namespace {

CUresult load(const std::string& image) {
  CUmodule module = nullptr;
  return cuModuleLoadData(&module, image.c_str());
}

std::string fixture(const std::string& name) {
  std::ifstream file(CUDASIM_FIXTURES "/" + name, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::string with(const std::string& from, const std::string& to) {
  std::string text = kPtx;
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

TEST_CASE("PTX and fatbins load, other images give their error") {
  const Simulation simulation;
  const struct {
    const char* what;
    std::string image;
    CUresult expected;
  } cases[] = {
      {"PTX", kPtx, CUDA_SUCCESS},
      {"a fatbin", fixture("scale-none.fatbin"), CUDA_SUCCESS},
      {"a compressed fatbin", fixture("scale-size.fatbin"), CUDA_SUCCESS},
      {"machine code alone", fixture("scale-sass.fatbin"), CUDA_ERROR_NO_BINARY_FOR_GPU},
      {"LZ4", fixture("scale-speed.fatbin"), CUDA_ERROR_INVALID_IMAGE},
      {"garbage", "\x01\x02\x03", CUDA_ERROR_INVALID_IMAGE},
      {"an unknown opcode", with("mad.lo.s32", "mud.lo.s32"), CUDA_ERROR_INVALID_PTX},
      {"no PTX", "hello", CUDA_ERROR_INVALID_PTX},
      {"a newer PTX", with(".version 8.0", ".version 9.1"), CUDA_ERROR_UNSUPPORTED_PTX_VERSION},
      {"a newer GPU", with("sm_75", "sm_100"), CUDA_ERROR_INVALID_PTX},
  };
  for (const auto& [what, image, expected] : cases) {
    CAPTURE(what);
    CHECK(load(image) == expected);
  }
}

TEST_CASE("the driver's version limits the version of PTX") {
  const struct {
    int driver;
    const char* newest;
    const char* next;
  } cases[] = {{10020, "6.5", "7.0"}, {11000, "7.0", "7.1"}, {11080, "7.8", "8.0"},
               {12000, "8.0", "8.1"}, {12050, "8.5", "8.6"}, {12060, "8.5", "8.6"},
               {12080, "8.7", "8.8"}, {13000, "9.0", "9.1"}};
  for (const auto& [driver, newest, next] : cases) {
    CAPTURE(driver);
    Options options = Simulation::quiet();
    options.driver_version = driver;
    const Simulation simulation(options);
    CHECK(load(with("8.0", newest)) == CUDA_SUCCESS);
    CHECK(load(with("8.0", next)) == CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
  }
}

TEST_CASE("a driver of CUDA 12 refuses machine code of CUDA 13") {
  Options options = Simulation::quiet();
  options.driver_version = 12020;
  options.devices = {DeviceModel::of(8, 0)};
  const Simulation simulation(options);
  CHECK(load(fixture("scale-sass.fatbin")) == CUDA_ERROR_INVALID_IMAGE);
  CHECK(load(fixture("scale-none.fatbin")) == CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
}

TEST_CASE("a module gives its functions and their attributes") {
  const Simulation simulation;
  CUmodule module = nullptr;
  REQUIRE(cuModuleLoadData(&module, kPtx) == CUDA_SUCCESS);
  CUfunction function = nullptr;
  CUfunction again = nullptr;
  CHECK(cuModuleGetFunction(&function, module, "none") == CUDA_ERROR_NOT_FOUND);
  CHECK(cuModuleGetFunction(&function, module, "staged") == CUDA_SUCCESS);
  CHECK(cuModuleGetFunction(&again, module, "staged") == CUDA_SUCCESS);
  CHECK(function == again);

  const std::pair<CUfunction_attribute, int> attributes[] = {
      {CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 64},
      {CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, 16},
      {CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, 0},
      {CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (48 << 10) - 16}};
  int value = 0;
  for (const auto& [attribute, expected] : attributes) {
    CHECK(cuFuncGetAttribute(&value, attribute, function) == CUDA_SUCCESS);
    CHECK(value == expected);
  }
  CHECK(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_NUM_REGS, function) == CUDA_SUCCESS);
  CHECK(value > 0);
  CHECK(cuFuncGetAttribute(&value, CUfunction_attribute{77}, function) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuModuleUnload(module) == CUDA_SUCCESS);
  CHECK(launch(function, {}) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("a launch copies its parameters, each to its offset") {
  const Simulation simulation;
  CUdeviceptr out = allocate(32);
  unsigned char a = 0xfe;
  unsigned short b = 0xfedc;
  unsigned c = 0xfedcba98;
  std::uint64_t d = 0xfedcba9876543210;
  CHECK(launch(load_kernel("parameters"), {&out, &a, &b, &c, &d}) == CUDA_SUCCESS);
  const CUdeviceptr before = out;
  out = a = b = c = d = 0;
  CHECK(host_copy(before, 8) ==
        std::vector<unsigned>{0xfe, 0, 0xfedc, 0, 0xfedcba98, 0, 0x76543210, 0xfedcba98});
}

TEST_CASE("a launch call refuses sizes beyond the limits") {
  const Simulation simulation;
  const CUfunction add_one = load_kernel("add_one");
  const CUfunction staged = load_kernel("staged");
  CUdeviceptr x = device_copy({1});
  unsigned n = 1;
  void* parameters[] = {&x, &n};
  const struct {
    CUfunction function;
    unsigned grid[3], block[3], shared;
    CUresult expected;
  } cases[] = {
      {add_one, {1, 1, 1}, {1, 1, 1}, 0, CUDA_SUCCESS},
      {add_one, {0, 1, 1}, {1, 1, 1}, 0, CUDA_ERROR_INVALID_VALUE},
      {add_one, {1, 1, 0}, {1, 1, 1}, 0, CUDA_ERROR_INVALID_VALUE},
      {add_one, {0x80000000, 1, 1}, {1, 1, 1}, 0, CUDA_ERROR_INVALID_VALUE},
      {add_one, {1, 65536, 1}, {1, 1, 1}, 0, CUDA_ERROR_INVALID_VALUE},
      {add_one, {1, 1, 65536}, {1, 1, 1}, 0, CUDA_ERROR_INVALID_VALUE},
      {add_one, {1, 1, 1}, {0, 1, 1}, 0, CUDA_ERROR_INVALID_VALUE},
      {add_one, {1, 1, 1}, {1024, 1, 1}, 0, CUDA_SUCCESS},
      {add_one, {1, 1, 1}, {1025, 1, 1}, 0, CUDA_ERROR_INVALID_VALUE},
      {add_one, {1, 1, 1}, {1024, 2, 1}, 0, CUDA_ERROR_INVALID_VALUE},
      {add_one, {1, 1, 1}, {1, 1, 65}, 0, CUDA_ERROR_INVALID_VALUE},
      {add_one, {1, 1, 1}, {65536, 65536, 1}, 0, CUDA_ERROR_INVALID_VALUE},  // 0 in 32 bits
      {add_one, {1, 1, 1}, {1, 1, 1}, 48 << 10, CUDA_SUCCESS},
      {add_one, {1, 1, 1}, {1, 1, 1}, (48 << 10) + 1, CUDA_ERROR_INVALID_VALUE},
      {staged, {1, 1, 1}, {65, 1, 1}, 0, CUDA_ERROR_INVALID_VALUE},  // .maxntid
      {staged, {1, 1, 1}, {1, 1, 1}, (48 << 10) - 16, CUDA_SUCCESS},
      {staged, {1, 1, 1}, {1, 1, 1}, (48 << 10) - 15, CUDA_ERROR_INVALID_VALUE},
  };
  for (const auto& [function, grid, block, shared, expected] : cases) {
    CAPTURE(grid[0]);
    CAPTURE(block[0]);
    CAPTURE(shared);
    CHECK(cuLaunchKernel(function, grid[0], grid[1], grid[2], block[0], block[1], block[2], shared,
                         nullptr, parameters, nullptr) == expected);
  }
  CHECK(synchronize() == CUDA_SUCCESS);
  void* extra[] = {nullptr};
  CHECK(cuLaunchKernel(add_one, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, extra) ==
        CUDA_ERROR_NOT_SUPPORTED);
}

TEST_CASE("more dynamic shared memory requires the opt-in") {
  const struct {
    int major, minor, most;
  } cases[] = {{7, 5, 64 << 10}, {8, 0, 163 << 10}, {9, 0, 227 << 10}};
  for (const auto& [major, minor, most] : cases) {
    CAPTURE(major);
    Options options = Simulation::quiet();
    options.devices = {DeviceModel::of(major, minor)};
    const Simulation simulation(options);
    const CUfunction function = load_kernel("staged");
    CUdeviceptr x = device_copy({5});
    constexpr auto kAttribute = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    const unsigned wanted = static_cast<unsigned>(most - 16);
    CHECK(launch(function, {&x}, nullptr, 1, wanted) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuFuncSetAttribute(function, kAttribute, most) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuFuncSetAttribute(function, kAttribute, -1) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_NUM_REGS, 1) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuFuncSetAttribute(function, kAttribute, most - 16) == CUDA_SUCCESS);
    CHECK(launch(function, {&x}, nullptr, 1, wanted) == CUDA_SUCCESS);
    CHECK(host_copy(x, 1) == std::vector<unsigned>{5});
  }
}

TEST_CASE("a module can be unloaded while its last launch is queued") {
  const Simulation simulation;
  CUmodule module = nullptr;
  CUfunction function = nullptr;
  REQUIRE(cuModuleLoadData(&module, kPtx) == CUDA_SUCCESS);
  REQUIRE(cuModuleGetFunction(&function, module, "add_one") == CUDA_SUCCESS);
  CUdeviceptr x = device_copy({1, 2});
  unsigned n = 2;
  CHECK(launch(function, {&x, &n}, nullptr, 32) == CUDA_SUCCESS);
  CHECK(cuModuleUnload(module) == CUDA_SUCCESS);
  CHECK(host_copy(x, 2) == std::vector<unsigned>{2, 3});
}

TEST_CASE("launches are traced") {
  const Simulation simulation;
  CUdeviceptr x = device_copy(std::vector<unsigned>(64, 1));
  unsigned n = 64;
  CHECK(launch(load_kernel("add_one"), {&x, &n}, nullptr, 64) == CUDA_SUCCESS);
  CHECK(synchronize() == CUDA_SUCCESS);
  const std::vector<std::string> lines = simulation.trace();
  REQUIRE(lines.size() == 1);
  CAPTURE(lines[0]);
  for (const char* text :
       {R"({"type":"launch","device":0,"kernel":"add_one","executed":true)", R"("grid":[1,1,1])",
        R"("block":[64,1,1])", R"("dynamic_shared_bytes":0)",
        R"("buffers":[{"arguments":[0],"address":"0x)", R"("bytes":256,)", R"("bytes_read":256,)",
        R"("bytes_written":256,)", R"("read_sectors":8,)", R"("written_sectors":8,)",
        R"("read_requests":2,)", R"("accesses_by_width":[0,0,128,0,0])"}) {
    CAPTURE(text);
    CHECK(lines[0].find(text) != std::string::npos);
  }
}

TEST_CASE("dropped launches are still checked, queued and traced") {
  Options options = Simulation::quiet();
  options.execute = false;
  const Simulation simulation(options);
  CUdeviceptr x = allocate(16);
  unsigned n = 4;
  const CUfunction function = load_kernel("add_one");
  CHECK(launch(function, {&x, &n}, nullptr, 2048) == CUDA_ERROR_INVALID_VALUE);
  CHECK(launch(function, {&x, &n}, nullptr, 32) == CUDA_SUCCESS);
  CHECK(simulation.trace().empty());
  CHECK(host_copy(x, 4) == std::vector<unsigned>(4, 0));  // never written, and no fault
  CHECK(simulation.traced({R"("kernel":"add_one","executed":false)"}) == 1);
  CHECK(simulation.faults("uninitialised") == 0);
}

}  // namespace
}  // namespace cudasim
