#include "driver_test_support.h"

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace cudasim {

class Simulation::Directory {
 public:
  Directory() {
    std::string name = (std::filesystem::temp_directory_path() / "cudasim-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string trace() const { return (path_ / "trace").string(); }

 private:
  std::filesystem::path path_;
};

Options Simulation::quiet() {
  Options options;
  options.patience.reset();
  return options;
}

Options Simulation::devices(std::size_t count) {
  Options options = quiet();
  options.devices.assign(count, DeviceModel::of(9, 0));
  return options;
}

Options Simulation::seeded(std::uint64_t seed) {
  Options options = quiet();
  options.seed = seed;
  return options;
}

Simulation::Simulation(Options options) : directory_(std::make_shared<Directory>()) {
  if (options.trace.empty()) options.trace = directory_->trace();
  Driver::restart(options);
  current_context() = nullptr;
  if (cuInit(0) != CUDA_SUCCESS) return;  // some tests expect this
  CUcontext context = nullptr;
  if (cuDevicePrimaryCtxRetain(&context, 0) != CUDA_SUCCESS) return;
  REQUIRE(cuCtxSetCurrent(context) == CUDA_SUCCESS);
}

void Simulation::release() { CHECK(cuDevicePrimaryCtxRelease_v2(0) == CUDA_SUCCESS); }

std::vector<std::string> Simulation::trace() const {
  std::vector<std::string> lines;
  std::ifstream file(directory_->trace());
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

int Simulation::traced(const std::vector<std::string>& texts) const {
  const std::vector<std::string> lines = trace();
  return static_cast<int>(std::count_if(lines.begin(), lines.end(), [&](const std::string& line) {
    return std::all_of(texts.begin(), texts.end(), [&](const std::string& text) {
      return line.find(text) != std::string::npos;
    });
  }));
}

int Simulation::faults(const std::string& kind) const {
  return traced({R"("type":"fault")", R"("kind":")" + kind + '"'});
}

const char* const kPtx = R"(
.version 8.0
.target sm_75
.address_size 64

.visible .entry add_one(
	.param .u64 add_one_param_0,
	.param .u32 add_one_param_1
)
{
	.reg .pred 	%p<2>;
	.reg .b32 	%r<8>;
	.reg .b64 	%rd<5>;

	ld.param.u64 	%rd1, [add_one_param_0];
	ld.param.u32 	%r1, [add_one_param_1];
	mov.u32 	%r2, %ctaid.x;
	mov.u32 	%r3, %ntid.x;
	mov.u32 	%r4, %tid.x;
	mad.lo.s32 	%r5, %r2, %r3, %r4;
	setp.ge.u32 	%p1, %r5, %r1;
	@%p1 bra 	$L__BB0_2;
	cvta.to.global.u64 	%rd2, %rd1;
	mul.wide.u32 	%rd3, %r5, 4;
	add.s64 	%rd4, %rd2, %rd3;
	ld.global.u32 	%r6, [%rd4];
	add.s32 	%r7, %r6, 1;
	st.global.u32 	[%rd4], %r7;
$L__BB0_2:
	ret;
}

.visible .entry store(
	.param .u64 store_param_0,
	.param .u32 store_param_1
)
{
	.reg .b32 	%r<2>;
	.reg .b64 	%rd<3>;

	ld.param.u64 	%rd1, [store_param_0];
	ld.param.u32 	%r1, [store_param_1];
	cvta.to.global.u64 	%rd2, %rd1;
	st.global.u32 	[%rd2], %r1;
	ret;
}

.visible .entry copy_first(
	.param .u64 copy_first_param_0,
	.param .u64 copy_first_param_1
)
{
	.reg .b32 	%r<2>;
	.reg .b64 	%rd<5>;

	ld.param.u64 	%rd1, [copy_first_param_0];
	ld.param.u64 	%rd2, [copy_first_param_1];
	cvta.to.global.u64 	%rd3, %rd1;
	cvta.to.global.u64 	%rd4, %rd2;
	ld.global.u32 	%r1, [%rd4];
	st.global.u32 	[%rd3], %r1;
	ret;
}

.visible .entry staged(
	.param .u64 staged_param_0
)
.maxntid 64, 1, 1
{
	.reg .b32 	%r<3>;
	.reg .b64 	%rd<3>;
	.shared .align 16 .b8 staged_tile[16];

	ld.param.u64 	%rd1, [staged_param_0];
	cvta.to.global.u64 	%rd2, %rd1;
	ld.global.u32 	%r1, [%rd2];
	st.shared.u32 	[staged_tile], %r1;
	bar.sync 	0;
	ld.shared.u32 	%r2, [staged_tile];
	st.global.u32 	[%rd2], %r2;
	ret;
}

.visible .entry parameters(
	.param .u64 parameters_param_0,
	.param .u8 parameters_param_1,
	.param .u16 parameters_param_2,
	.param .u32 parameters_param_3,
	.param .u64 parameters_param_4
)
{
	.reg .b16 	%rs<3>;
	.reg .b32 	%r<2>;
	.reg .b64 	%rd<8>;

	ld.param.u64 	%rd1, [parameters_param_0];
	ld.param.u8 	%rs1, [parameters_param_1];
	ld.param.u16 	%rs2, [parameters_param_2];
	ld.param.u32 	%r1, [parameters_param_3];
	ld.param.u64 	%rd2, [parameters_param_4];
	cvta.to.global.u64 	%rd3, %rd1;
	cvt.u64.u16 	%rd4, %rs1;
	cvt.u64.u16 	%rd5, %rs2;
	cvt.u64.u32 	%rd6, %r1;
	st.global.u64 	[%rd3], %rd4;
	st.global.u64 	[%rd3+8], %rd5;
	st.global.u64 	[%rd3+16], %rd6;
	st.global.u64 	[%rd3+24], %rd2;
	ret;
}
)";

CUfunction load_kernel(const char* name) {
  CUmodule module = nullptr;
  REQUIRE(cuModuleLoadData(&module, kPtx) == CUDA_SUCCESS);
  CUfunction function = nullptr;
  REQUIRE(cuModuleGetFunction(&function, module, name) == CUDA_SUCCESS);
  return function;
}

CUdeviceptr allocate(std::size_t bytes) {
  CUdeviceptr address = 0;
  REQUIRE(cuMemAlloc_v2(&address, bytes) == CUDA_SUCCESS);
  return address;
}

CUdeviceptr device_copy(const std::vector<unsigned>& values) {
  const CUdeviceptr address = allocate(4 * values.size());
  REQUIRE(cuMemcpyHtoDAsync_v2(address, values.data(), 4 * values.size(), nullptr) == CUDA_SUCCESS);
  REQUIRE(cuStreamSynchronize(nullptr) == CUDA_SUCCESS);
  return address;
}

std::vector<unsigned> host_copy(CUdeviceptr address, std::size_t count) {
  std::vector<unsigned> values(count);
  REQUIRE(cuMemcpyDtoHAsync_v2(values.data(), address, 4 * count, nullptr) == CUDA_SUCCESS);
  REQUIRE(cuStreamSynchronize(nullptr) == CUDA_SUCCESS);
  return values;
}

CUresult launch(CUfunction function, std::vector<void*> parameters, CUstream stream,
                unsigned threads, unsigned shared_bytes) {
  return cuLaunchKernel(function, 1, 1, 1, threads, 1, 1, shared_bytes, stream, parameters.data(),
                        nullptr);
}

CUresult synchronize() {
  Driver& driver = Driver::instance();
  const ContextPtr context = driver.active(*driver.device_of(current_context()));
  driver.scheduler.synchronize(context->engine);
  return context->error();
}

CUstream make_stream(unsigned flags) {
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, flags) == CUDA_SUCCESS);
  return stream;
}

CUevent make_event(unsigned flags) {
  CUevent event = nullptr;
  REQUIRE(cuEventCreate(&event, flags) == CUDA_SUCCESS);
  return event;
}

void chain(CUstream from, CUstream to) {
  const CUevent event = make_event();
  REQUIRE(cuEventRecord(event, from) == CUDA_SUCCESS);
  REQUIRE(cuStreamWaitEvent(to, event, 0) == CUDA_SUCCESS);
  REQUIRE(cuEventDestroy_v2(event) == CUDA_SUCCESS);
}

}  // namespace cudasim
