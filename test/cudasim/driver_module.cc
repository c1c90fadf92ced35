// Modules, functions and launches.
#include <charconv>
#include <cstring>
#include <string_view>

#include "driver.h"
#include "fatbin.h"
#include "os/floating_point.h"

namespace cudasim {
namespace {

// Made up: the compiler of machine code assigns registers, and it does not run here.
constexpr int kPlausibleRegisters = 32;

constexpr const char* kUnloaded = "a graph launches a kernel whose module was unloaded";

// The number N in "directive N" or "directive prefixN", 0 if there is none. With `decimal`, 10 * N
// plus the first digit after the point: 90 for "9.0"; without it, 75 for "sm_75".
int number_after(std::string_view ptx, std::string_view directive, std::string_view prefix,
                 bool decimal) {
  std::size_t at = ptx.find(directive);
  if (at == std::string_view::npos) return 0;
  at = ptx.find_first_not_of(" \t", at + directive.size());
  if (at == std::string_view::npos || ptx.substr(at, prefix.size()) != prefix) return 0;
  const char* text = ptx.data() + at + prefix.size();
  const char* const end = ptx.data() + ptx.size();
  int whole = 0;
  const auto [point, error] = std::from_chars(text, end, whole);
  if (error != std::errc() || whole > 9999) return 0;
  if (!decimal) return whole;
  int digit = 0;
  if (point != end && *point == '.') std::from_chars(point + 1, std::min(point + 2, end), digit);
  return whole * 10 + digit;
}

// The PTX ISA version, times 10, that came with a CUDA version (PTX ISA, release notes).
int newest_ptx(int driver_version) {
  const int major = driver_version / 1000;
  const int minor = driver_version % 1000 / 10;
  if (major == 10) return 63 + minor;
  if (major == 12 && minor >= 6) return 80 + minor - 1;  // 12.6 brought nothing new
  return (major - 4) * 10 + minor;
}

CUresult load(Driver& driver, const ContextPtr& context, const void* image,
              std::unique_ptr<Module>* module) {
  const int capability = 10 * context->model.major + context->model.minor;
  std::string ptx;
  try {
    ptx = select_ptx(copy_image(image), capability, driver.options.driver_version);
  } catch (const ImageError& error) {
    // An ordinary answer to machine code, after which callers try PTX.
    if (error.kind == ImageError::Kind::kNoBinary) return CUDA_ERROR_NO_BINARY_FOR_GPU;
    std::fprintf(stderr, "cudasim: cuModuleLoadData: %s\n", error.what());
    return CUDA_ERROR_INVALID_IMAGE;
  }
  if (number_after(ptx, ".version", "", true) > newest_ptx(driver.options.driver_version)) {
    return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
  }
  // Only a bare text can be for a newer GPU.
  if (number_after(ptx, ".target", "sm_", false) > capability) return CUDA_ERROR_INVALID_PTX;
  try {
    *module = std::make_unique<Module>(ptx);
  } catch (const Fault& fault) {
    driver.misuse(context->device, fault.kind, fault.what());
    return CUDA_ERROR_INVALID_PTX;
  }
  return CUDA_SUCCESS;
}

bool possible(const KernelInfo& kernel, const Launch& launch) {
  constexpr std::uint64_t kMaxGrid[3] = {0x7fffffff, 65535, 65535};
  constexpr std::uint64_t kMaxBlock[3] = {1024, 1024, 64};
  std::uint64_t threads = 1;
  for (int i = 0; i < 3; ++i) {
    if (launch.grid[i] == 0 || launch.grid[i] > kMaxGrid[i]) return false;
    if (launch.block[i] == 0 || launch.block[i] > kMaxBlock[i]) return false;
    threads *= launch.block[i];
  }
  return threads <= static_cast<std::uint64_t>(kernel.max_threads) &&
         launch.dynamic_shared_bytes <= launch.allowed_dynamic_shared_bytes;
}

void run_launch(Driver& driver, const ContextPtr& context, const FunctionState& function,
                const Launch& launch, std::uint64_t seed) {
  const KernelInfo& kernel = info(*function.kernel);
  LaunchReport report;
  if (driver.options.execute) {
    const ExecutionOptions options{seed, driver.trace.enabled()};
    const rmsnorm::FloatingPointScope mode;  // the thread's floating-point modes must not matter
    report = context->with_memory([&](DeviceMemory& memory) {
      return execute(*function.kernel, launch, context->model, memory, options);
    });
  } else {
    report.kernel = kernel.name;
    report.launch = launch;
  }
  driver.trace.launch(context->device, report, kernel, driver.options.execute);
}

}  // namespace

CUresult cuModuleLoadData(CUmodule* module, const void* image) {
  return call_context(Call::cuModuleLoadData,
                      [&](Driver& driver, const ContextPtr& context) -> CUresult {
                        if (module == nullptr || image == nullptr) return CUDA_ERROR_INVALID_VALUE;
                        const auto state = std::make_shared<ModuleState>();
                        state->context = context;
                        const CUresult result = load(driver, context, image, &state->module);
                        if (result == CUDA_SUCCESS) *module = driver.modules.add(state);
                        return result;
                      });
}

CUresult cuModuleUnload(CUmodule module) {
  return call_context(
      Call::cuModuleUnload,
      [&](Driver& driver, const ContextPtr& current) {
        const std::shared_ptr<ModuleState> state = driver.modules.take(module);
        if (state == nullptr) {
          driver.unknown_handle(current->device, "cuModuleUnload");
          return CUDA_ERROR_INVALID_HANDLE;
        }
        driver.functions.take_all(
            [&](const FunctionState& function) { return function.module == state; });
        return CUDA_SUCCESS;
      },
      IfFailed::kTakeDown);
}

CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
  return call_context(
      Call::cuModuleGetFunction, [&](Driver& driver, const ContextPtr&) -> CUresult {
        if (function == nullptr || name == nullptr) return CUDA_ERROR_INVALID_VALUE;
        const std::shared_ptr<ModuleState> state = driver.modules.find(module);
        if (state == nullptr) return CUDA_ERROR_INVALID_HANDLE;
        const Kernel* kernel = state->module->find(name);
        if (kernel == nullptr) return CUDA_ERROR_NOT_FOUND;
        const std::lock_guard lock(state->mutex);
        CUfunction& handle = state->functions[name];  // the same one each time
        if (handle == nullptr) {
          const auto made = std::make_shared<FunctionState>();
          made->module = state;
          made->kernel = kernel;
          // The documented default.
          made->dynamic_shared_bytes = static_cast<int>(state->context->model.shared_bytes -
                                                        info(*kernel).static_shared_bytes);
          handle = driver.functions.add(made);
        }
        *function = handle;
        return CUDA_SUCCESS;
      });
}

CUresult cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction function) {
  return call_context(Call::cuFuncGetAttribute, [&](Driver& driver, const ContextPtr&) {
    if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
    const std::shared_ptr<FunctionState> state = driver.functions.find(function);
    if (state == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    switch (static_cast<int>(attribute)) {
      case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        *value = info(*state->kernel).max_threads;
        return CUDA_SUCCESS;
      case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
        *value = static_cast<int>(info(*state->kernel).static_shared_bytes);
        return CUDA_SUCCESS;
      case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
        *value = 0;
        return CUDA_SUCCESS;
      case CU_FUNC_ATTRIBUTE_NUM_REGS:
        *value = kPlausibleRegisters;
        return CUDA_SUCCESS;
      case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        *value = state->max_dynamic_shared_bytes();
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_INVALID_VALUE;
  });
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  return call_context(Call::cuFuncSetAttribute, [&](Driver& driver, const ContextPtr&) {
    const std::shared_ptr<FunctionState> state = driver.functions.find(function);
    if (state == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    const std::size_t most =
        state->module->context->model.shared_optin_bytes - info(*state->kernel).static_shared_bytes;
    if (value < 0 || static_cast<std::size_t>(value) > most) return CUDA_ERROR_INVALID_VALUE;
    state->dynamic_shared_bytes = value;
    return CUDA_SUCCESS;
  });
}

CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                        CUstream stream, void** parameters, void** extra) {
  return call_context(
      Call::cuLaunchKernel, [&](Driver& driver, const ContextPtr& current) -> CUresult {
        const std::shared_ptr<FunctionState> state = driver.functions.find(function);
        const StreamState where = driver.find_stream(stream, current);
        if (state == nullptr || where.context == nullptr || where.context != current ||
            state->module->context != current) {
          return CUDA_ERROR_INVALID_HANDLE;
        }
        if (extra != nullptr) return CUDA_ERROR_NOT_SUPPORTED;
        const KernelInfo& kernel = info(*state->kernel);
        Launch launch{{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes, 0, {}};
        launch.allowed_dynamic_shared_bytes =
            static_cast<std::size_t>(state->max_dynamic_shared_bytes());
        if (!possible(kernel, launch)) return CUDA_ERROR_INVALID_VALUE;
        launch.parameters.resize(kernel.parameter_bytes);
        for (std::size_t i = 0; i < kernel.parameter_sizes.size(); ++i) {
          if (parameters == nullptr || parameters[i] == nullptr) return CUDA_ERROR_INVALID_VALUE;
          std::memcpy(launch.parameters.data() + kernel.parameter_offsets[i], parameters[i],
                      kernel.parameter_sizes[i]);
        }
        // A graph does not keep the module loaded.
        const auto make = [&driver, current, launch, kernel = std::weak_ptr(state)] {
          return Scheduler::Work([&driver, current, launch, function = kernel.lock(),
                                  seed = driver.next_launch_seed()] {
            current->run([&] {
              if (function == nullptr) throw Fault("use-after-free", kUnloaded);
              run_launch(driver, current, *function, launch, seed);
            });
          });
        };
        return driver.queue(where, make);
      });
}

}  // namespace cudasim
