#include "backend.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <new>

#include "../op/formula.h"
#include "../op/quantize.h"
#include "../os/platform.h"
#include "features.h"
#include "schedule.h"
#include "thread_count.h"
#include "thread_pool.h"

namespace rmsnorm::cpu {

const Variant* const kVariants[] = {
#if defined(__x86_64__)
    &kAvx512, &kAvx2,
#elif defined(__aarch64__)
    &kNeon,
#endif
    &kScalar, nullptr};

namespace {

// Columns of dweight that a thread reduces at a time, in units of kPartialColumns.
constexpr std::int64_t kReductionGrain = 64;

// Scratch memory up to this size stays with its thread for the next call.
constexpr std::int64_t kMaxScratchBytes = 64 << 20;

// Gated rows take longer to compute than to write, so they never stream. With AVX-512, streaming
// would also hand float32 rows to the AVX2 variant (variant_for). Measured with one thread at
// 2048x4096 float32: AVX-512 with cached stores takes 0.93 of the time of AVX2 in forward and 0.83
// in backward.
constexpr Stores kGatedStores = Stores::kCached;

std::atomic<const Variant*> chosen_variant{nullptr};

// The variant for a call: the one in use, unless it leaves float32 rows with streaming stores to
// another variant. With 512-bit vectors such rows took 1.2 times as long as with 256-bit vectors
// (Zen 4, rows of 4096, 32 MiB and more). No cause was found: streaming stores of half the width
// changed nothing.
Status variant_for(DType dtype, const Schedule& schedule, const Variant** variant) {
  RMSNORM_TRY(current_variant(variant));
  if (schedule.stores == Stores::kStreaming && dtype == DType::kFloat32 &&
      (*variant)->streaming_float32 != nullptr) {
    *variant = (*variant)->streaming_float32;
  }
  return {};
}

// Scratch memory of one thread. reserve() returns at least `bytes`, or null if out of memory.
class Scratch {
 public:
  std::byte* reserve(std::int64_t bytes) {
    if (bytes > size_) {
      memory_.reset();
      size_ = 0;
      memory_.reset(static_cast<std::byte*>(
          ::operator new(static_cast<std::size_t>(bytes), kAlignment, std::nothrow)));
      if (memory_ == nullptr) return nullptr;
      size_ = bytes;
    }
    return memory_.get();
  }

  void release_excess() {
    if (size_ <= kMaxScratchBytes) return;
    memory_.reset();
    size_ = 0;
  }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Deleter {
    void operator()(std::byte* memory) const { ::operator delete(memory, kAlignment); }
  };
  std::unique_ptr<std::byte, Deleter> memory_;
  std::int64_t size_ = 0;
};

struct Scratches {
  Scratch weights;
  Scratch partials;
};

// The scratches of the calling thread; null if out of memory.
Scratches* scratches() {
  if (void* const existing = thread_pointer()) return static_cast<Scratches*>(existing);
  auto made = std::unique_ptr<Scratches>(new (std::nothrow) Scratches);
  const auto destroy = [](void* ended) { delete static_cast<Scratches*>(ended); };
  return made != nullptr && set_thread_pointer(made.get(), destroy) ? made.release() : nullptr;
}

// Reserves at least `bytes` of one of the calling thread's scratches; null if out of memory.
std::byte* reserve(Scratch Scratches::*scratch, std::int64_t bytes) {
  Scratches* const mine = scratches();
  return mine == nullptr ? nullptr : (mine->*scratch).reserve(bytes);
}

// Weights of a call in the form that the variant's kernels read. Every thread prepares its own
// copy, because reading the copy in another thread's cache takes longer. Measured with 2 threads at
// 32x4096, bfloat16: with a shared copy, the whole call takes 1.2 times as long.
class ThreadWeights {
 public:
  template <class Args>
  ThreadWeights(const Variant& variant, const Args& args, const void* aligned)
      : variant_(variant),
        dtype_(args.dtype),
        weight_(args.weight),
        options_(args.options),
        hidden_size_(args.shape.hidden_size),
        aligned_(aligned) {}

  // Whether kernels want prepared weights.
  bool are_wanted() const {
    return variant_.prepare != nullptr && wants_preparing(dtype_, weight_, options_);
  }

  // Bytes for the copies of `threads` threads.
  std::int64_t bytes(int threads) const { return threads * prepared_bytes(hidden_size_); }

  // Reserves the copies in the calling thread's scratch memory. Errors: kOutOfMemory.
  Status reserve(int threads) {
    memory_ = rmsnorm::cpu::reserve(&Scratches::weights, bytes(threads));
    if (memory_ == nullptr) return {Code::kOutOfMemory, "Out of memory: cannot copy the weights"};
    std::fill_n(are_ready_, threads, false);
    return {};
  }

  // The copy of the thread with this slot, prepared at its first use; null if none are reserved.
  const void* of(int slot) {
    if (memory_ == nullptr) return nullptr;
    std::byte* const mine = memory_ + bytes(slot);
    if (!are_ready_[slot]) {
      variant_.prepare(dtype_, weight_, options_, hidden_size_, aligned_, mine);
      are_ready_[slot] = true;
    }
    return mine;
  }

 private:
  const Variant& variant_;
  DType dtype_;
  Weight weight_;
  Options options_;
  std::int64_t hidden_size_;
  const void* aligned_;
  std::byte* memory_ = nullptr;
  bool are_ready_[kMaxThreads];
};

// Conversions of float8 in scalar loops: no caller needs them to be fast.
void encode(DType codes, const float* source, std::uint8_t* destination, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    destination[i] = static_cast<std::uint8_t>(code_of(codes, source[i]));
  }
}
void decode(DType codes, const std::uint8_t* source, float* destination, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    destination[i] = codes == DType::kFloat8E4M3 ? float8_value<DType::kFloat8E4M3>(source[i])
                                                 : float8_value<DType::kFloat8E5M2>(source[i]);
  }
}

// Computes dweight and, if wanted, dx. Every row group gives a row of partial sums, and
// neighbour_tree (op/formula.h) sums these rows. A task is a block of 2^n groups, and it also sums
// the subtree of its groups. The tree over the blocks comes last, split across threads by columns.
// Blocks change which sums are stored, not the order of the sums.
Status backward_with_dweight(const BackwardArgs& args, const Variant& variant,
                             const Schedule& schedule, ThreadWeights& weights) {
  const std::int64_t columns = partial_stride(args.shape.hidden_size);
  const std::int64_t row_bytes = partial_bytes(args.dtype, args.shape.hidden_size);
  const std::int64_t group_rows = row_group_rows(args.shape.rows);
  const std::int64_t groups = row_group_count(args.shape.rows);

  std::int64_t block_groups = 1;
  int levels = 0;
  while (groups / (2 * block_groups) >= 8 * schedule.threads.max) {
    block_groups *= 2;
    ++levels;
  }
  const std::int64_t blocks = ceil_div(groups, block_groups);

  // A row of partial sums for each block, then for each thread `levels` rows, one for each level of
  // a block's subtree.
  std::byte* const partials =
      reserve(&Scratches::partials, (blocks + schedule.threads.max * levels) * row_bytes);
  if (partials == nullptr && blocks > 0) {
    return {Code::kOutOfMemory, "Out of memory: cannot allocate the partial sums of dweight"};
  }

  parallel_for(blocks, 1, schedule.threads, [&](std::int64_t begin, std::int64_t end, int slot) {
    std::byte* waiting = partials + (blocks + slot * levels) * row_bytes;
    for (std::int64_t block = begin; block < end; ++block) {
      const auto sum_row = [&](int depth) {
        return depth == 0 ? partials + block * row_bytes : waiting + (depth - 1) * row_bytes;
      };
      const std::int64_t first = block * block_groups;
      const std::int64_t last = std::min(first + block_groups, groups);
      int depth = 0;
      const auto leaf = [&](int group) {
        const std::int64_t begin = (first + group) * group_rows;
        const Range rows{begin, std::min(begin + group_rows, args.shape.rows)};
        variant.backward(args, rows, schedule.stores, weights.of(slot), sum_row(depth));
        return depth++;
      };
      const auto add = [&](int left, int right) {
        variant.add_partial(args.dtype, sum_row(left), sum_row(right), columns);
        depth = right;
        return left;
      };
      neighbour_tree(static_cast<int>(last - first), leaf, add);
    }
  });

  const std::int64_t bytes = (blocks + 1) * row_bytes;
  parallel_for(columns / kPartialColumns, kReductionGrain, threads_for(bytes, schedule.threads.max),
               [&](std::int64_t begin, std::int64_t end, int) {
                 variant.reduce_dweight(args, partials, blocks,
                                        {begin * kPartialColumns, end * kPartialColumns});
               });
  if (partials != nullptr) scratches()->partials.release_excess();
  return {};
}

}  // namespace

Status forward(const ForwardArgs& args) {
  const bool is_quantized = args.quantization.is_wanted();
  const bool is_gated = args.gate.data != nullptr;
  // With a residual, the call reads x and residual and writes their sum.
  const int inputs = (args.residual.data != nullptr ? 3 : 1) + (is_gated ? 1 : 0);
  Schedule schedule;
  RMSNORM_TRY(make_schedule(args.shape,
                            inputs * element_size(args.dtype) +
                                element_size(is_quantized ? args.quantization.codes : args.dtype),
                            kForwardCaches, &schedule));
  if (is_gated) schedule.stores = kGatedStores;
  const Variant* variant = nullptr;
  RMSNORM_TRY(variant_for(args.dtype, schedule, &variant));
  ThreadWeights weights(*variant, args, args.y.data);
  // The weights of a single row and of very long rows are best converted while a row is scaled.
  // Gated and quantised rows are rarer and have no kernels for that.
  const bool are_prepared =
      weights.are_wanted() &&
      (is_quantized || is_gated ||
       (args.shape.rows > 1 && weights.bytes(schedule.threads.max) <= kMaxScratchBytes));
  if (are_prepared) RMSNORM_TRY(weights.reserve(schedule.threads.max));
  parallel_for(args.shape.rows, schedule.grain_rows, schedule.threads,
               [&](std::int64_t begin, std::int64_t end, int slot) {
                 variant->forward(args, {begin, end}, schedule.stores, weights.of(slot));
               });
  if (are_prepared) scratches()->weights.release_excess();
  return {};
}

Status backward(const BackwardArgs& args) {
  const bool has_dx = args.dx.data != nullptr;
  const int gates = args.gate.data == nullptr ? 0 : has_dx ? 2 : 1;
  const int matrices = (!has_dx ? 2 : args.dsum.data == nullptr ? 3 : 4) + gates;
  Schedule schedule;
  RMSNORM_TRY(
      make_schedule(args.shape, matrices * element_size(args.dtype), kBackwardCaches, &schedule));
  if (gates > 0) schedule.stores = kGatedStores;
  const Variant* variant = nullptr;
  RMSNORM_TRY(variant_for(args.dtype, schedule, &variant));
  ThreadWeights weights(*variant, args, args.dx.data);
  const bool are_prepared = has_dx && weights.are_wanted();
  if (are_prepared) RMSNORM_TRY(weights.reserve(schedule.threads.max));
  if (args.dweight != nullptr) {
    RMSNORM_TRY(backward_with_dweight(args, *variant, schedule, weights));
  } else if (has_dx) {
    parallel_for(
        args.shape.rows, schedule.grain_rows, schedule.threads,
        [&](std::int64_t begin, std::int64_t end, int slot) {
          variant->backward(args, {begin, end}, schedule.stores, weights.of(slot), nullptr);
        });
  }
  if (are_prepared) scratches()->weights.release_excess();
  return {};
}

Status convert(DType from, const void* source, DType to, void* destination, std::int64_t count) {
  const Variant* variant = nullptr;
  RMSNORM_TRY(current_variant(&variant));
  Schedule schedule;
  RMSNORM_TRY(
      make_schedule({count, 1}, element_size(from) + element_size(to), kForwardCaches, &schedule));
  parallel_for(
      count, schedule.grain_rows, schedule.threads, [&](std::int64_t begin, std::int64_t end, int) {
        const void* const first = static_cast<const char*>(source) + begin * element_size(from);
        void* const out = static_cast<char*>(destination) + begin * element_size(to);
        if (is_quantized(from)) {
          decode(from, static_cast<const std::uint8_t*>(first), static_cast<float*>(out),
                 end - begin);
        } else if (is_quantized(to)) {
          encode(to, static_cast<const float*>(first), static_cast<std::uint8_t*>(out),
                 end - begin);
        } else {
          variant->convert(from, first, to, out, end - begin);
        }
      });
  return {};
}

bool is_supported(const Variant& variant) {
  return (cpu_features() & variant.features) == variant.features;
}

const Variant* find_variant(const std::string& name) {
  for (const Variant* const* variant = kVariants; *variant != nullptr; ++variant) {
    if (name == (*variant)->name && is_supported(**variant)) return *variant;
  }
  return nullptr;
}

void set_variant(const Variant& variant) {
  chosen_variant.store(&variant, std::memory_order_relaxed);
}

Status current_variant(const Variant** variant) {
  *variant = chosen_variant.load(std::memory_order_relaxed);
  if (*variant != nullptr) return {};
  if (const auto name = environment_variable("RMSNORM_CPU_VARIANT")) {
    *variant = find_variant(*name);
    if (*variant == nullptr) {
      std::string names;
      for (const Variant* const* known = kVariants; *known != nullptr; ++known) {
        if (is_supported(**known))
          names += (names.empty() ? "'" : ", '") + std::string((*known)->name) + "'";
      }
      return {Code::kInvalidEnvironment,
              "The environment variable RMSNORM_CPU_VARIANT must be one of " + names +
                  " on this processor. Received '" + *name + "'"};
    }
  } else {
    *variant = *std::find_if(kVariants, std::end(kVariants),
                             [](const Variant* known) { return is_supported(*known); });
  }
  set_variant(**variant);
  return {};
}

}  // namespace rmsnorm::cpu
