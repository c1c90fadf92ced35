#include "layer_norm.h"

#include <cstddef>
#include <string>
#include <string_view>

#include "calls.h"
#include "cpu/schedule.h"
#include "cpu/thread_count.h"
#include "cpu/thread_pool.h"

namespace rmsnorm::bench {
namespace {

// The rows of an RMSNorm variant. By name, since using the Variant objects would link them in.
LayerNormRows rows_of([[maybe_unused]] std::string_view variant,
                      [[maybe_unused]] cpu::Stores stores) {
#if defined(__x86_64__)
  // AVX-512 leaves streamed rows to AVX2 (csrc/cpu/backend.cc).
  if (variant == "avx512" && stores != cpu::Stores::kStreaming) return kLayerNormAvx512;
  if (variant == "avx512" || variant == "avx2") return kLayerNormAvx2;
#elif defined(__aarch64__)
  if (variant == "neon") return kLayerNormNeon;
#endif
  return kLayerNormScalar;
}

Status layer_norm(const LayerNormArgs& args, int threads, std::string_view variant) {
  cpu::set_thread_count(threads);
  cpu::Schedule schedule;
  RMSNORM_TRY(cpu::make_schedule(args.shape, 2 * sizeof(float), cpu::kForwardCaches, &schedule));
  const LayerNormRows run = rows_of(variant, schedule.stores);
  cpu::parallel_for(args.shape.rows, schedule.piece_rows, schedule.threads,
                    [&](std::int64_t begin, std::int64_t end, int) {
                      run(args, {begin, end}, schedule.stores);
                    });
  return {};
}

// A Float32Array; data is null if the value is something else.
struct Floats {
  float* data = nullptr;
  std::size_t length = 0;
};

Floats read_floats(napi_env env, napi_value value) {
  napi_typedarray_type type = napi_int8_array;
  Floats floats;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, &type, &floats.length, &data, nullptr, nullptr) ==
          napi_ok &&
      type == napi_float32_array) {
    floats.data = static_cast<float*>(data);
  }
  return floats;
}

napi_value call(napi_env env, napi_callback_info info) {
  std::size_t count = 7;
  napi_value values[7];
  napi_get_cb_info(env, info, &count, values, nullptr, nullptr);
  Floats arrays[4];
  for (int i = 0; i < 4; ++i) arrays[i] = read_floats(env, values[i]);
  const auto& [x, weight, bias, y] = arrays;
  double eps = 0;
  int threads = 0;
  char variant[16] = {};  // longer names are truncated
  const bool are_read =
      napi_get_value_double(env, values[4], &eps) == napi_ok &&
      napi_get_value_int32(env, values[5], &threads) == napi_ok &&
      napi_get_value_string_utf8(env, values[6], variant, sizeof variant, nullptr) == napi_ok;
  if (!are_read || threads < 1 || threads > cpu::kMaxThreads || weight.length == 0 ||
      x.length % weight.length != 0 || bias.length != weight.length || y.length != x.length ||
      x.data == nullptr || weight.data == nullptr || bias.data == nullptr || y.data == nullptr) {
    napi_throw_type_error(
        env, nullptr, "layerNorm(x, weight, bias, y, eps, threads, variant): invalid arguments");
    return nullptr;
  }
  const auto hidden_size = static_cast<std::int64_t>(weight.length);
  const Shape shape{static_cast<std::int64_t>(x.length) / hidden_size, hidden_size};
  const Status status = layer_norm(
      {shape, x.data, weight.data, bias.data, y.data, static_cast<float>(eps)}, threads, variant);
  if (!status.ok()) napi_throw_error(env, nullptr, status.message().c_str());
  return nullptr;
}

}  // namespace

napi_value layer_norm_function(napi_env env) {
  napi_value function = nullptr;
  napi_create_function(env, "layerNorm", NAPI_AUTO_LENGTH, call, nullptr, &function);
  return function;
}

}  // namespace rmsnorm::bench
