// The CUDA backend against scalar, on all devices that exist: layouts that JavaScript cannot make,
// chunks, several threads. Without a device, every call must say so.

#include "cuda/host/backend.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "cuda/driver/device.h"
#include "support.h"

namespace rmsnorm::test {
namespace {

constexpr Problem problem_of(Shape shape, DType dtype, WeightKind weight, bool accumulate,
                             std::uint64_t seed) {
  return {shape,           dtype, weight,       {.weight_offset = 1.0f}, dtype, accumulate,
          Values::kFinite, seed,  seed % 2 == 1};
}

const Problem kProblems[] = {
    problem_of({70, 100}, DType::kFloat32, WeightKind::kSame, true, 1),
    problem_of({33, 257}, DType::kBFloat16, WeightKind::kFloat32, false, 2),
    problem_of({40, 64}, DType::kFloat16, WeightKind::kNone, true, 3),
    problem_of({0, 70}, DType::kFloat32, WeightKind::kSame, true, 4),
    problem_of({1, 1}, DType::kFloat16, WeightKind::kSame, false, 5),
};

int devices() {
  int count = 0;
  static_cast<void>(cuda::device_count(&count));
  return count;
}

// Describes what is wrong with a forward or backward call on a device; empty if nothing is.
std::string forward_complaint(int ordinal, const Problem& problem, const Layout& layout) {
  ForwardBuffers buffers(problem, layout);
  const Status status = cuda::forward(ordinal, buffers.args);
  if (!status.ok()) return status.message();
  return complaint(problem, layout, expected_forward(problem), buffers);
}

std::string backward_complaint(int ordinal, const Problem& problem, const Layout& layout) {
  BackwardBuffers buffers(problem, layout);
  const Status status = cuda::backward(ordinal, buffers.args);
  if (!status.ok()) return status.message();
  return complaint(problem, layout, expected_backward(problem), buffers);
}

#if defined(_WIN32)
void setenv(const char* name, const char* value, int) { _putenv_s(name, value); }
void unsetenv(const char* name) { _putenv_s(name, ""); }
#endif

// Sets the size of chunks, in bytes, for the lifetime of the object.
class ChunkBytes {
 public:
  explicit ChunkBytes(const char* bytes) { setenv("RMSNORM_CUDA_CHUNK_BYTES", bytes, 1); }
  ~ChunkBytes() { unsetenv("RMSNORM_CUDA_CHUNK_BYTES"); }
};

TEST_CASE("cuda: calls from several threads agree on whether there is a device") {
  std::string messages[8];
  std::vector<std::thread> threads;
  for (std::string& message : messages) {
    threads.emplace_back([&] {
      int count = 0;
      const Status status = cuda::device_count(&count);
      message = status.ok() ? std::to_string(count) : status.message();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& message : messages) CHECK(message == messages[0]);
}

TEST_CASE("cuda: a call without a device says what is missing") {
  if (devices() > 0) return;
  ForwardBuffers forward(kProblems[0], {});
  BackwardBuffers backward(kProblems[0], {});
  for (const Status& status : {cuda::forward(0, forward.args), cuda::backward(0, backward.args)}) {
    CHECK(status.code() == Code::kCudaUnavailable);
    CHECK(status.message().starts_with("CUDA is not available: "));
  }
  cuda::release();
}

TEST_CASE("cuda: a device beyond the last is refused") {
  if (devices() == 0) return;
  ForwardBuffers buffers(kProblems[0], {});
  for (const int ordinal : {-1, devices(), 1 << 20}) {
    CHECK(cuda::forward(ordinal, buffers.args).code() == Code::kInvalidValue);
  }
}

TEST_CASE("cuda: float64 is refused with what to do instead") {
  if (devices() == 0) return;
  ForwardBuffers forward(kProblems[0], {});
  BackwardBuffers backward(kProblems[0], {});
  forward.args.dtype = DType::kFloat64;
  backward.args.dtype = DType::kFloat64;
  for (const Status& status : {cuda::forward(0, forward.args), cuda::backward(0, backward.args)}) {
    CHECK(status.code() == Code::kInvalidValue);
    CHECK(status.message() ==
          "The argument 'device' must be 'cpu' for float64, which has no CUDA kernels. "
          "Received 'cuda:0'");
  }
}

TEST_CASE("cuda: calls give the bits of scalar in every layout and with chunks of any size") {
  for (int ordinal = 0; ordinal < devices(); ++ordinal) {
    for (const std::string bytes : {"4194304", "20000", "1"}) {
      const ChunkBytes chunks(bytes.c_str());
      for (const Problem& problem : kProblems) {
        INFO("cuda:" << ordinal << ", chunks of " << bytes << " bytes, " << describe(problem));
        CHECK(forward_complaint(ordinal, problem, {}) == "");
        CHECK(backward_complaint(ordinal, problem, {}) == "");
      }
    }
    const ChunkBytes chunks("20000");
    for (const Layout& layout : {
             Layout{.padding = 3, .misaligned = 1, .misaligned_out = 2},
             Layout{.in_place = InPlace::kX, .has_rstd = true},
             Layout{.padding = 1, .in_place = InPlace::kDy},
             Layout{.padding = 1, .batch_rows = 4, .batch_padding = 7},
             Layout{
                 .misaligned = 2, .in_place = InPlace::kX, .batch_rows = 1, .batch_padding = 100},
             Layout{.in_place = InPlace::kResidual, .sum_in_place = InPlace::kX, .batch_rows = 7},
             Layout{.in_place = InPlace::kX, .sum_in_place = InPlace::kResidual},
             Layout{.has_rstd = true, .dx = false},
             Layout{.padding = 2, .dweight = false},
             Layout{.dx = false, .dweight = false},
         }) {
      INFO("cuda:" << ordinal << ", " << describe(layout));
      for (const Problem& problem : {kProblems[0], kProblems[1]}) {
        if (layout.in_place != InPlace::kDy) {
          CHECK(forward_complaint(ordinal, problem, layout) == "");
        }
        CHECK(backward_complaint(ordinal, problem, layout) == "");
      }
    }
  }
}

TEST_CASE("cuda: arrays without rows need no address") {
  if (devices() == 0) return;
  BackwardBuffers buffers(kProblems[3], {});
  buffers.args.dy.data = nullptr;
  buffers.args.x.data = nullptr;
  buffers.args.dx.data = nullptr;
  buffers.args.dsum.data = nullptr;
  CHECK(cuda::backward(0, buffers.args).ok());
}

TEST_CASE("cuda: several threads can call at once, also after the devices were released") {
  if (devices() == 0) return;
  for (int round = 0; round < 2; ++round) {
    std::string complaints[4];
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&complaints, i] {
        const int ordinal = i % devices();
        complaints[i] = forward_complaint(ordinal, kProblems[0], {}) +
                        backward_complaint(ordinal, kProblems[1], {});
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::string& text : complaints) CHECK(text == "");
    cuda::release();
  }
}

TEST_CASE("cuda: the size of chunks must be a number") {
  if (devices() == 0) return;
  ForwardBuffers buffers(kProblems[0], {});
  for (const char* text : {"0", "-5", "many", "1k"}) {
    const ChunkBytes chunks(text);
    CHECK(cuda::forward(0, buffers.args).code() == Code::kInvalidEnvironment);
  }
}

}  // namespace
}  // namespace rmsnorm::test
