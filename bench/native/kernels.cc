#include "kernels.h"

#include <algorithm>
#include <string>
#include <vector>

#include "cuda/device.h"
#include "cuda/launch.h"
#include "cuda/memory.h"
#include "fold.h"

namespace {

using namespace rmsnorm;
using namespace rmsnorm::cuda;

// Each contender goes round at least so many bytes, so that nothing it reads is in the second-level
// cache still: twice the largest there is, the 126 MB of a B200.
constexpr std::int64_t kFootprint = 256 << 20;
constexpr std::int64_t kAlignment = 256;
constexpr std::int64_t kMostRuns = 1 << 16;  // of a batch

struct Request {
  int ordinal;
  Shape shape;
  DType dtype;
  int rounds;
  double batch_ms;
  bool is_timed;
};

struct HostArrays {
  const void* x;
  const void* dy;  // null for forward
  const void* weight;
  const void* rstd;
  void* out;
  void* dweight;
};

struct Result {
  std::vector<double> kernel_ms;
  std::vector<double> copy_ms;
  std::int64_t sets = 0;  // 0: they do not fit
  std::int64_t launches = 0;
};

// A point in a stream whose time is taken, which cuda::Event's is not.
class TimedEvent {
 public:
  Status make() {
    CUevent event = nullptr;
    RMSNORM_TRY(RMSNORM_CUDA(cuEventCreate, &event, CU_EVENT_DEFAULT));
    event_.reset(event);
    return {};
  }
  CUevent get() const { return event_.get(); }

 private:
  Owned<CUevent, &Driver::cuEventDestroy_v2> event_;
};

// One case on one device, within a DeviceScope.
class KernelBenchmark {
 public:
  KernelBenchmark(Device& device, const Request& request, const HostArrays& host)
      : device_(device), request_(request), host_(host) {}

  Status run(Result* result) {
    RMSNORM_TRY(prepare(&result->sets));
    if (result->sets == 0) return {};
    if (request_.is_timed) {
      RMSNORM_TRY(take_samples(result));
    } else {
      for (std::int64_t i = 0; i < sets_; ++i) {
        RMSNORM_TRY(run_kernels());
        RMSNORM_TRY(run_copy());
      }
    }
    RMSNORM_TRY(take_back());
    result->launches = launches_;
    return {};
  }

 private:
  using Contender = Status (KernelBenchmark::*)();
  struct Turn {
    Contender contender;
    std::vector<double>* samples;
    std::int64_t runs = 0;  // of a batch
  };

  bool is_backward() const { return host_.dy != nullptr; }
  std::int64_t matrices() const { return is_backward() ? 3 : 2; }
  std::int64_t row_bytes() const {
    return request_.shape.hidden_size * element_size(request_.dtype);
  }
  std::int64_t matrix_bytes() const { return request_.shape.rows * row_bytes(); }
  std::int64_t matrix_room() const { return ceil_div(matrix_bytes(), kAlignment) * kAlignment; }
  std::int64_t set_bytes() const { return matrices() * matrix_room(); }
  // A copy reads and writes each byte: half of what the kernels read and write at least.
  std::int64_t copied_bytes() const { return matrices() * matrix_bytes() / 2; }
  std::int64_t copy_room() const { return ceil_div(copied_bytes(), kAlignment) * kAlignment; }

  // x, dy and out of a set; the source of its copy and, behind it, the destination.
  CUdeviceptr matrix(std::int64_t set, std::int64_t index) const {
    return matrices_.get() + static_cast<CUdeviceptr>(set * set_bytes() + index * matrix_room());
  }
  CUdeviceptr copy_source(std::int64_t set) const {
    return copies_.get() + static_cast<CUdeviceptr>(2 * set * copy_room());
  }

  BackwardArgs backward_args(std::int64_t set) const {
    const std::int64_t stride = request_.shape.hidden_size;
    return {.shape = request_.shape,
            .options = {},
            .dtype = request_.dtype,
            .dy = {reinterpret_cast<const void*>(matrix(set, 1)), stride},
            .x = {reinterpret_cast<const void*>(matrix(set, 0)), stride},
            .weight = weight(),
            .rstd = reinterpret_cast<const float*>(rstd_.get()),
            .dx = {reinterpret_cast<void*>(matrix(set, 2)), stride},
            .dweight = reinterpret_cast<void*>(dweight_.get()),
            .dweight_dtype = request_.dtype,
            .accumulate = false};
  }
  ForwardArgs forward_args(std::int64_t set) const {
    const std::int64_t stride = request_.shape.hidden_size;
    return {.shape = request_.shape,
            .options = {},
            .dtype = request_.dtype,
            .x = {reinterpret_cast<const void*>(matrix(set, 0)), stride},
            .weight = weight(),
            .y = {reinterpret_cast<void*>(matrix(set, 1)), stride},
            .rstd = nullptr};
  }
  Weight weight() const { return {reinterpret_cast<const void*>(weight_.get()), request_.dtype}; }

  // Allocates and fills; *sets stays 0 if the device has too little memory.
  Status prepare(std::int64_t* sets) {
    const std::int64_t rows = request_.shape.rows;
    const std::int64_t hidden_size = request_.shape.hidden_size;
    const std::int64_t partials =
        is_backward() ? row_group_count(rows) * partial_row_bytes(hidden_size) : 0;
    const std::int64_t workspace = is_backward()
                                       ? backward_workspace_bytes(device_, backward_args(0))
                                       : forward_workspace_bytes(device_, forward_args(0));
    sets_ = request_.is_timed ? std::max<std::int64_t>(ceil_div(kFootprint, set_bytes()), 2) : 2;
    std::size_t free = 0;
    std::size_t total = 0;
    RMSNORM_TRY(RMSNORM_CUDA(cuMemGetInfo_v2, &free, &total));
    const std::int64_t needed = sets_ * (set_bytes() + 2 * copy_room()) + partials + workspace;
    if (needed > static_cast<std::int64_t>(free / 10 * 9)) return {};

    RMSNORM_TRY(stream_.make());
    RMSNORM_TRY(begin_.make());
    RMSNORM_TRY(end_.make());
    RMSNORM_TRY(matrices_.allocate(sets_ * set_bytes()));
    RMSNORM_TRY(copies_.allocate(sets_ * 2 * copy_room()));
    RMSNORM_TRY(weight_.allocate(row_bytes()));
    RMSNORM_TRY(dweight_.allocate(row_bytes()));
    RMSNORM_TRY(rstd_.allocate(rows * static_cast<std::int64_t>(sizeof(float))));
    RMSNORM_TRY(partials_.allocate(partials));
    RMSNORM_TRY(workspace_.allocate(workspace));
    RMSNORM_TRY(fill());
    RMSNORM_TRY(stream_.synchronize());
    *sets = sets_;
    return {};
  }

  // Outputs become NaN. All else is the host's data: what is moved can matter to the clocks.
  Status fill() {
    RMSNORM_TRY(copy_to_device(weight_.get(), host_.weight, row_bytes(), stream_));
    RMSNORM_TRY(copy_to_device(rstd_.get(), host_.rstd, rstd_.bytes(), stream_));
    RMSNORM_TRY(RMSNORM_CUDA(cuMemsetD8Async, matrices_.get(), 0xff,
                             static_cast<std::size_t>(matrices_.bytes()), stream_.get()));
    RMSNORM_TRY(RMSNORM_CUDA(cuMemsetD8Async, dweight_.get(), 0xff,
                             static_cast<std::size_t>(dweight_.bytes()), stream_.get()));
    RMSNORM_TRY(copy_to_device(matrix(0, 0), host_.x, matrix_bytes(), stream_));
    if (is_backward()) {
      RMSNORM_TRY(copy_to_device(matrix(0, 1), host_.dy, matrix_bytes(), stream_));
    }
    for (std::int64_t set = 0; set < sets_; ++set) {
      if (set > 0)
        RMSNORM_TRY(copy(matrix(set, 0), matrix(0, 0), (matrices() - 1) * matrix_room()));
      RMSNORM_TRY(copy(copy_source(set), matrix(0, 0), copied_bytes()));
    }
    return {};
  }

  Status copy(CUdeviceptr destination, CUdeviceptr source, std::int64_t bytes) {
    return RMSNORM_CUDA(cuMemcpyDtoDAsync_v2, destination, source, static_cast<std::size_t>(bytes),
                        stream_.get());
  }

  // The contenders: each enqueues one run, on the next of its sets.
  Status run_kernels() {
    last_set_ = launches_++ % sets_;
    if (!is_backward()) {
      return launch_forward(device_, forward_args(last_set_), workspace_.get(), stream_.get());
    }
    const BackwardArgs args = backward_args(last_set_);
    const std::int64_t rows = request_.shape.rows;
    RMSNORM_TRY(launch_backward(device_, args, row_group_rows(rows), partials_.get(),
                                workspace_.get(), stream_.get()));
    return launch_finish_dweight(device_, args, partials_.get(), row_group_count(rows),
                                 stream_.get());
  }
  Status run_copy() {
    const CUdeviceptr source = copy_source(copies_made_++ % sets_);
    return copy(source + static_cast<CUdeviceptr>(copy_room()), source, copied_bytes());
  }

  // Milliseconds of `runs` runs, one behind the other.
  Status time(Contender contender, std::int64_t runs, double* ms) {
    RMSNORM_TRY(RMSNORM_CUDA(cuEventRecord, begin_.get(), stream_.get()));
    for (std::int64_t i = 0; i < runs; ++i) RMSNORM_TRY((this->*contender)());
    RMSNORM_TRY(RMSNORM_CUDA(cuEventRecord, end_.get(), stream_.get()));
    RMSNORM_TRY(RMSNORM_CUDA(cuEventSynchronize, end_.get()));
    float elapsed = 0.0f;
    RMSNORM_TRY(RMSNORM_CUDA(cuEventElapsedTime, &elapsed, begin_.get(), end_.get()));
    *ms = elapsed;
    return {};
  }

  // The runs that take about batch_ms, found while warming up.
  Status calibrate(Contender contender, std::int64_t* runs) {
    for (*runs = 1; *runs < kMostRuns; *runs *= 4) {
      double ms = 0.0;
      RMSNORM_TRY(time(contender, *runs, &ms));
      if (ms < request_.batch_ms / 2) continue;
      const double wanted = static_cast<double>(*runs) * request_.batch_ms / ms;
      *runs = std::max<std::int64_t>(static_cast<std::int64_t>(wanted), 1);
      return {};
    }
    return {};
  }

  // By turns, and who is first changes: a device that gets slower gets slower for both.
  Status take_samples(Result* result) {
    Turn turns[] = {{&KernelBenchmark::run_kernels, &result->kernel_ms},
                    {&KernelBenchmark::run_copy, &result->copy_ms}};
    for (Turn& turn : turns) RMSNORM_TRY(calibrate(turn.contender, &turn.runs));
    for (int i = 0; i < 2 * request_.rounds; ++i) {
      const Turn& turn = turns[(i + i / 2) % 2];
      double ms = 0.0;
      RMSNORM_TRY(time(turn.contender, turn.runs, &ms));
      turn.samples->push_back(ms / static_cast<double>(turn.runs));
    }
    return {};
  }

  Status take_back() {
    RMSNORM_TRY(
        copy_to_host(host_.out, matrix(last_set_, matrices() - 1), matrix_bytes(), stream_));
    if (is_backward()) {
      RMSNORM_TRY(copy_to_host(host_.dweight, dweight_.get(), row_bytes(), stream_));
    }
    return stream_.synchronize();
  }

  Device& device_;
  const Request request_;
  const HostArrays host_;
  Stream stream_;
  TimedEvent begin_;
  TimedEvent end_;
  DeviceMemory matrices_;
  DeviceMemory copies_;
  DeviceMemory weight_;
  DeviceMemory dweight_;
  DeviceMemory rstd_;
  DeviceMemory partials_;
  DeviceMemory workspace_;
  std::int64_t sets_ = 0;
  std::int64_t launches_ = 0;
  std::int64_t copies_made_ = 0;
  std::int64_t last_set_ = 0;
};

Status benchmark(const Request& request, const HostArrays& host, Result* result) {
  Device* device = nullptr;
  RMSNORM_TRY(find_device(request.ordinal, &device));
  DeviceScope scope;
  RMSNORM_TRY(scope.enter(*device));
  return KernelBenchmark(*device, request, host).run(result);
}

char* memory(Napi::Value value) {
  if (value.IsNull()) return nullptr;
  const auto array = value.As<Napi::TypedArray>();
  return static_cast<char*>(array.ArrayBuffer().Data()) + array.ByteOffset();
}

Napi::Array numbers(Napi::Env env, const std::vector<double>& values) {
  const Napi::Array array = Napi::Array::New(env, values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    array.Set(static_cast<std::uint32_t>(i), Napi::Number::New(env, values[i]));
  }
  return array;
}

}  // namespace

Napi::Value time_kernels(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto options = info[0].As<Napi::Object>();
  const auto number = [&](const char* name) { return options.Get(name).As<Napi::Number>(); };
  const auto flag = [&](const char* name) { return options.Get(name).As<Napi::Boolean>().Value(); };
  const Request request{
      .ordinal = number("ordinal"),
      .shape = {number("rows").Int64Value(), number("hiddenSize").Int64Value()},
      .dtype = flag("isBfloat16") ? DType::kBFloat16 : DType::kFloat32,
      .rounds = number("rounds"),
      .batch_ms = number("batchMs").DoubleValue(),
      .is_timed = flag("isTimed"),
  };
  const HostArrays host{memory(info[1]), memory(info[2]), memory(info[3]),
                        memory(info[4]), memory(info[5]), memory(info[6])};
  Result samples;
  if (const Status status = benchmark(request, host, &samples); !status.ok()) {
    throw Napi::Error::New(env, status.message());
  }
  if (samples.sets == 0) return env.Null();
  const Napi::Object result = Napi::Object::New(env);
  result.Set("kernelMs", numbers(env, samples.kernel_ms));
  result.Set("copyMs", numbers(env, samples.copy_ms));
  result.Set("sets", Napi::Number::New(env, static_cast<double>(samples.sets)));
  result.Set("launches", Napi::Number::New(env, static_cast<double>(samples.launches)));
  return result;
}
