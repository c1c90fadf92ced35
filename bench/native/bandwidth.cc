// Measures the peak bandwidth of this machine between buffers of a case: copies (one read, one
// write), sums (two reads, one write), two copies (two reads, two writes) and sums of neighbours
// (more read than written). Uses the same threads and kinds of stores as the CPU kernels. The
// results are the benchmark's limits. Not part of the package.

#include <napi.h>

#include <chrono>
#include <cstring>

#include "calls.h"
#include "cpu/thread_pool.h"
#include "cuda/driver/device.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

constexpr std::int64_t kChunkBytes = 64 << 10;  // that a thread moves at a time

struct Buffers {
  const char* a;
  const char* b;  // null unless it is added to a
  char* destination;
};

// `begin` and `end` are byte offsets in destination.
using Mover = void (*)(const Buffers&, std::int64_t begin, std::int64_t end);

void copy_library(const Buffers& buffers, std::int64_t begin, std::int64_t end) {
  std::memcpy(buffers.destination + begin, buffers.a + begin,
              static_cast<std::size_t>(end - begin));
}

// Adds 32-bit integers, whatever the element type: floating-point addition is slower for some bits.
void add_scalar(const Buffers& buffers, std::int64_t begin, std::int64_t end) {
  const auto* a = reinterpret_cast<const std::uint32_t*>(buffers.a + begin);
  const auto* b = reinterpret_cast<const std::uint32_t*>(buffers.b + begin);
  auto* destination = reinterpret_cast<std::uint32_t*>(buffers.destination + begin);
  for (std::int64_t i = 0; i < (end - begin) / 4; ++i) destination[i] = a[i] + b[i];
}

// Reads kRatio times as many bytes as it writes: sums kRatio neighbouring 32-bit integers into one.
template <int kRatio>
void narrow_scalar(const Buffers& buffers, std::int64_t begin, std::int64_t end) {
  const auto* a = reinterpret_cast<const std::uint32_t*>(buffers.a + begin * kRatio);
  auto* destination = reinterpret_cast<std::uint32_t*>(buffers.destination + begin);
  for (std::int64_t i = 0; i < (end - begin) / 4; ++i) {
    std::uint32_t sum = 0;
    for (int j = 0; j < kRatio; ++j) sum += a[i * kRatio + j];
    destination[i] = sum;
  }
}

#if defined(__x86_64__)

// destination is 16-byte aligned: V8's arrays are.
template <bool kStreaming>
__attribute__((target("avx2"))) void store(char* destination, __m256i value) {
  if (!kStreaming) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(destination), value);
    return;
  }
  auto* to = reinterpret_cast<__m128i*>(destination);
  _mm_stream_si128(to, _mm256_castsi256_si128(value));
  _mm_stream_si128(to + 1, _mm256_extracti128_si256(value, 1));
}

template <bool kAdd, bool kStreaming>
__attribute__((target("avx2"))) void move_avx2(const Buffers& buffers, std::int64_t begin,
                                               std::int64_t end) {
  std::int64_t i = begin;
  for (; i + 32 <= end; i += 32) {
    __m256i value = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(buffers.a + i));
    if (kAdd) {
      const auto* b = reinterpret_cast<const __m256i*>(buffers.b + i);
      value = _mm256_add_epi32(value, _mm256_loadu_si256(b));
    }
    store<kStreaming>(buffers.destination + i, value);
  }
  if (kStreaming) _mm_sfence();
  if (i < end) (kAdd ? add_scalar : copy_library)(buffers, i, end);
}

template <int kRatio, bool kStreaming>
__attribute__((target("avx2"))) void narrow_avx2(const Buffers& buffers, std::int64_t begin,
                                                 std::int64_t end) {
  std::int64_t i = begin;
  for (; i + 32 <= end; i += 32) {
    const auto* a = reinterpret_cast<const __m256i*>(buffers.a + i * kRatio);
    __m256i sum = _mm256_loadu_si256(a);
    for (int j = 1; j < kRatio; ++j) {
      sum = _mm256_add_epi32(sum, _mm256_loadu_si256(a + j));
    }
    store<kStreaming>(buffers.destination + i, sum);
  }
  if (kStreaming) _mm_sfence();
  if (i < end) narrow_scalar<kRatio>(buffers, i, end);
}

#endif

Mover mover(bool add, const std::string& kind) {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2")) return add ? add_scalar : copy_library;
  if (kind == "streaming") return add ? move_avx2<true, true> : move_avx2<false, true>;
  if (kind == "vector") return add ? move_avx2<true, false> : move_avx2<false, false>;
#endif
  return add ? add_scalar : copy_library;
}

template <int kRatio>
Mover narrowing(const std::string& kind) {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2") || kind == "library") return narrow_scalar<kRatio>;
  return kind == "streaming" ? narrow_avx2<kRatio, true> : narrow_avx2<kRatio, false>;
#else
  return narrow_scalar<kRatio>;
#endif
}

// move(kind, threads, repeats, destination, a, b | null, destinationOfB | null): copies a to
// destination and b to destinationOfB. Without destinationOfB it writes a + b to destination. If a
// is 2 or 4 times as long as destination, it sums as many neighbours into each element. Returns the
// nanoseconds of all repeats.
Napi::Value move(const Napi::CallbackInfo& info) {
  const std::string kind = info[0].As<Napi::String>();
  const int threads = info[1].As<Napi::Number>();
  const int repeats = info[2].As<Napi::Number>();
  const auto memory = [](Napi::Value value) {
    const auto array = value.As<Napi::TypedArray>();
    return static_cast<char*>(array.ArrayBuffer().Data()) + array.ByteOffset();
  };
  const bool add = !info[5].IsNull() && info[6].IsNull();
  const Buffers first{memory(info[4]), add ? memory(info[5]) : nullptr, memory(info[3])};
  const Buffers second =
      info[6].IsNull() ? Buffers{} : Buffers{memory(info[5]), nullptr, memory(info[6])};
  const auto bytes = static_cast<std::int64_t>(info[3].As<Napi::TypedArray>().ByteLength());
  const auto ratio = static_cast<std::int64_t>(info[4].As<Napi::TypedArray>().ByteLength()) / bytes;
  const Mover run = ratio == 4   ? narrowing<4>(kind)
                    : ratio == 2 ? narrowing<2>(kind)
                                 : mover(add, kind);

  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < repeats; ++i) {
    rmsnorm::cpu::parallel_for(bytes, kChunkBytes / ratio, threads,
                               [&](std::int64_t begin, std::int64_t end, int) {
                                 run(first, begin, end);
                                 if (second.a != nullptr) run(second, begin, end);
                               });
  }
  const auto elapsed = std::chrono::steady_clock::now() - start;
  return Napi::Number::New(info.Env(),
                           static_cast<double>(std::chrono::nanoseconds(elapsed).count()));
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  napi_add_env_cleanup_hook(
      env,
      [](void*) {
        rmsnorm::cpu::join_threads();
        rmsnorm::cuda::release_devices();
      },
      static_cast<napi_env>(env));  // differs for each load of the addon
  exports.Set("layerNorm", rmsnorm::bench::layer_norm_function(env));
  exports.Set("move", Napi::Function::New(env, move));
  exports.Set("timeLaunches", Napi::Function::New(env, rmsnorm::bench::time_launches));
  return exports;
}

}  // namespace

NODE_API_MODULE(rmsnorm_bench, init)
