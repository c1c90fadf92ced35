// All kernels and their launch constants, in one table. The host (policy.cc) and the device code
// (kernels/*.cu) both read it, so that no kernel lacks its entry.
#pragma once

#include <cstdint>

#include "../../op/fold.h"
#include "../../op/rms_norm.h"

namespace rmsnorm::cuda {

// The architecture that this device code is compiled for, such as 900; 0 on the host.
#if defined(__CUDA_ARCH__)
#define RMSNORM_ARCHITECTURE __CUDA_ARCH__
#else
#define RMSNORM_ARCHITECTURE 0
#endif

// Threads and registers of a kernel. The comment on a policy says where its numbers come from:
//   simulated  A cycle-level model of a small Volta (10 multiprocessors, 640x2048 float32). Its
//              figures are shares of the DRAM peak; differences below 10% mean nothing.
//   derived    Arithmetic on register files, bytes in flight and ptxas' figures.
// No number has been timed on hardware.
struct Policy {
  int tiles;        // of a thread; more than 1 where a row would need more than max_threads
  int max_threads;  // of a block
  int min_blocks;   // that must fit a multiprocessor; bounds the registers (__launch_bounds__)
};

// Forward, with the row in registers. The choice of the policy depends on hidden_size alone: the
// fewest tiles with which the threads of a row are at most max_threads.
inline constexpr Policy kForwardPolicies[] = {
    // simulated: with 128 threads for a row of 2048, two rows in a block of 256 threads reach
    // 88.6%. Four rows in a block of 512 reach 85%, and one row in a block of 128 reaches 84%. One
    // warp for each row reaches 79-82%.
    // derived: a thread has four 16-byte loads in flight. 64 registers allow 1024 threads, so 64
    // KiB are in flight on a multiprocessor; 17 (H100) to 43 KiB (B200) cover the latency.
    {1, 256, 4},
    // derived: for rows of 4097 to 16384 float32, in 512 threads. 64 registers suffice without
    // spills and allow two blocks a multiprocessor; 72 to 88 registers would allow one block. 1024
    // threads of one tile would have the same bytes in flight, but only one block.
    {2, 512, 2},
};

// Forward with a gate, which lies in registers beside its row.
inline constexpr Policy kGatedPolicies[] = {
    // derived: 80 registers allow three blocks, and a thread has eight 16-byte loads in flight.
    {1, 256, 3},
};

// Forward of fast calls (see Kind): the row is in registers, and no options are tested at run time.
// A thread holds `packs` packs of a tile. It loads the weights of `weight_packs` packs before the
// row sum is known.
struct FastForwardPolicy {
  int tiles;
  int packs;
  int weight_packs;
  int max_threads;
  int min_blocks;
};
inline constexpr FastForwardPolicy kFastForwardPolicies[] = {
    // derived: for rows of up to 128 columns. With 4 packs, half of a tile's packs would be zeros.
    {1, 2, 2, 256, 4},
    // The numbers of kForwardPolicies[0], with the weights in flight beside the row.
    {1, 4, 4, 256, 4},
    // The numbers of kForwardPolicies[1], for rows of 4097 to 16384 float32. 16-bit types would
    // spill.
    {2, 4, 2, 512, 2},
};
// This replaces weight_packs for float32 weights of 16-bit tensors, because such weights take twice
// the registers.
inline constexpr int kWideWeightPacks = 2;

// Backward of fast calls, one row at a time. dweight's sums and one row are in registers; the next
// rows are being copied to shared memory.
struct FastBackwardPolicy {
  int tiles;
  int max_threads;       // of a block
  int resident_threads;  // of a multiprocessor at once, as many as its registers allow
};
inline constexpr FastBackwardPolicy kFastBackwardPolicies[] = {
    // derived: a thread has up to 128 registers. A row of 4096 has 256 threads (float32) or 128
    // (16-bit types).
    {1, 512, 512},
    // derived: for rows of 8193 to 16384 float32. 16-bit types need no second tile.
    {2, 512, 512},
    // derived: for 16-bit types with float32 weights, which would spill on sm_100 with 128
    // registers.
    {1, 256, 384},
};
inline constexpr int kFastBackwardArchitecture = 80;  // the first with asynchronous copies
// The fewest threads of a row in fast backward. derived: with fewer, a multiprocessor would have
// too few threads. Such rows use backward_steps, which takes several rows at once.
inline constexpr unsigned kMinFastThreads = 64;
inline constexpr int kMaxFastStages = 8;  // the most rows of a block in flight; a power of two
inline constexpr std::int64_t kReservedSharedBytes = 1024;  // reserved by the driver for each block
inline constexpr std::int64_t kMaxFastRows = std::int64_t{1} << 30;  // 32-bit row numbers

// Backward where x and dy of several rows fit shared memory. A block processes its row group in
// steps of as many rows as its threads hold.
struct StepPolicy {
  int packs;  // The packs of columns whose dweight a thread sums. A row has 4 packs for each of its
              // threads, and the threads of all rows of a step share the sums. So packs * rows of
              // a step must be at least 4.
  int max_threads;
  int min_blocks;
};
inline constexpr StepPolicy kStepPolicies[] = {
    // derived: with rows of 2048 (float32) or 4096 (16-bit types), in steps of 4, a block has 64
    // KiB in flight. With one row at a time it would have 16 KiB. The order of dweight's sums
    // (fold.h) allows at most 512 blocks, about two a multiprocessor. 64 registers and 64 KiB of
    // shared memory allow two blocks on sm_80, 90 and 100.
    {1, 512, 2},
    // derived: for float32 rows of 2049 to 4096, in steps of 2. With rows of 4096 a block has the
    // same 64 KiB in flight; with one row at a time it would have 32 KiB. 16-bit types would spill.
    {2, 512, 2},
    // derived: for Access::kUnaligned with AnyWeight (below), which would spill at 64 registers.
    {1, 512, 1},
};
inline constexpr int kStepSharedBytes = 64 << 10;  // the most bytes of x and dy in a step
// The least L2 cache, in bytes for each multiprocessor, with which a step prefetches the next step.
// simulated: with 77 KB a kernel took 1.1 to 1.4 times as long if it prefetched; with 307 KB it did
// not take longer.
inline constexpr int kPrefetchedBytes = 4 * kStepSharedBytes;

// Backward of longer rows, one row at a time. The row and dweight are in the registers of the same
// threads.
inline constexpr Policy kSinglePolicies[] = {
    // derived: x, dy and 16 (float32) or 32 (16-bit types) sums of dweight fit 128 registers
    // without spills. Two tiles of float32 would spill in the loop of the rescaled pass.
    {1, 512, 1},
};

// dweight has a separate launch if row groups are few and each is a long chain.
// derived, by the model of scripts/report: a row of a group takes its block about 0.8 microseconds,
// another launch takes 3. If row groups are more than a third of the multiprocessors, reading the
// rows again takes as long as the separate launch saves.
inline constexpr std::int64_t kMinSeparateRows = 8;  // calls of fewer rows have no separate launch
inline constexpr int kSeparateBlocks = 3;  // kSeparateBlocks * row groups <= multiprocessors
inline constexpr int kSeparateSteps = 2;   // a row group of more steps is a long chain

// Rows too long for one block, in two passes over memory. A thread of scale_rows has kScalePacks
// packs, and backward_columns takes kColumnRows rows at a time, so that all their loads are in
// flight at once. With a gate, and in scale_rows with codes, they take one at a time.
inline constexpr int kLongThreads = 256;  // of a block of scale_rows; of other blocks, at most
inline constexpr int kScalePacks = 4;
inline constexpr int kColumnRows = 4;
// These kernels exist without (index 0) and with a gate (index kGated). Backward uses those with a
// gate at any length of the rows.
inline constexpr int kGated = 1;

inline constexpr int kWarpLanes = 32;
inline constexpr int kForwardBlockThreads = 256;  // for several short rows; see kForwardPolicies

// reduce_dweight: the columns of a block, and the slices of the row groups that the block sums side
// by side. A slice is a subtree of the tree over the row groups (fold.h). With few row groups there
// are few slices, or the slices are small.
inline constexpr int kReduceColumns = 32;
inline constexpr int kReduceSliceGroups = 4;  // of a slice; fewer or more if groups are few or many
inline constexpr int kMaxSlices = 32;
inline constexpr int kMaxSliceGroups = 16;
static_assert(kMaxSliceGroups * kMaxSlices == kMaxRowGroups);

// How a kernel accesses the rows in global memory.
enum class Access : std::uint8_t {
  kPacks,      // 16 bytes; every row and the weight are aligned to that and consist of whole packs
  kUnaligned,  // the widest access that the alignment of all rows allows, 2 to 16 bytes
};
#define RMSNORM_ACCESS_packs ::rmsnorm::cuda::Access::kPacks
#define RMSNORM_ACCESS_unaligned ::rmsnorm::cuda::Access::kUnaligned

// Whether a kernel of kForward supports quantised calls. Quantised calls without such a kernel use
// the kernels of very long rows at any length: these calls are rare, and kernels of their own would
// add 0.2 MB to the package.
constexpr bool quantizes(Access access, int tiles) {
  return access == Access::kPacks && tiles == 1;
}

// What a kernel computes. In the lists of kernels below, `index` is the index of the kernel's
// policy in the array for its kind. For kinds without policies it is 0 or kGated.
enum class Kind : std::uint8_t {
  kForward,
  // Fast calls, the calls of the fast path, with one kernel for each cast order. They have a
  // weight, but no weight offset, residual, dsum, gate or quantisation. Rows and weight are on
  // 16-byte boundaries. The rows are at most kMaxFastRows, in one batch. They consist of whole
  // accumulator sets (64 columns), in backward of whole tiles (256).
  kForwardFloat,
  kForwardLlama,
  kBackwardFloat,
  kBackwardLlama,
  kBackwardStep,     // several rows a step, by kStepPolicies
  kBackwardSingle,   // one row at a time, by kSinglePolicies
  kForwardGated,     // rows with a gate, by kGatedPolicies
  kFoldForward,      // very long rows: sums of x * x over splits, then over rows
  kFoldBackward,     // very long rows: the same sums, and those of g * x
  kScaleRows,        // y, from a known rstd
  kBackwardColumns,  // dx and partial rows of dweight, from a known rstd and cbar
  kReduceDweight,
};

// The most threads of a block that a kernel is compiled for.
constexpr int max_threads(Kind kind, int index) {
  if (kind == Kind::kForward) return kForwardPolicies[index].max_threads;
  if (kind == Kind::kForwardFloat || kind == Kind::kForwardLlama)
    return kFastForwardPolicies[index].max_threads;
  if (kind == Kind::kBackwardFloat || kind == Kind::kBackwardLlama)
    return kFastBackwardPolicies[index].max_threads;
  if (kind == Kind::kBackwardStep) return kStepPolicies[index].max_threads;
  if (kind == Kind::kBackwardSingle) return kSinglePolicies[index].max_threads;
  if (kind == Kind::kForwardGated) return kGatedPolicies[index].max_threads;
  return kind == Kind::kReduceDweight ? kReduceColumns * kMaxSlices : kLongThreads;
}

// The oldest architecture, such as 80, that a kernel is launched on.
constexpr int oldest_architecture(Kind kind) {
  const bool is_fast_backward = kind == Kind::kBackwardFloat || kind == Kind::kBackwardLlama;
  return is_fast_backward ? kFastBackwardArchitecture : 75;
}

// How many blocks must fit the registers of a multiprocessor, on an architecture such as 900.
constexpr int min_blocks(Kind kind, int index, int architecture) {
  switch (kind) {
    case Kind::kForward:
      // 64 registers are too few for two tiles on these architectures.
      return architecture >= 1000 && index == 1 ? 1 : kForwardPolicies[index].min_blocks;
    case Kind::kForwardFloat:
    case Kind::kForwardLlama:
      return architecture >= 1200 && index == 2 ? 1 : kFastForwardPolicies[index].min_blocks;
    case Kind::kBackwardFloat:
    case Kind::kBackwardLlama:
      return 1;
    case Kind::kBackwardStep:
      // On other architectures shared memory holds only one block of the largest steps. Saving
      // registers for a second block would be useless.
      return architecture >= 800 && architecture < 1200 ? kStepPolicies[index].min_blocks : 1;
    case Kind::kBackwardSingle:
      return kSinglePolicies[index].min_blocks;
    case Kind::kReduceDweight:
      return 0;  // no bound on the registers
    case Kind::kForwardGated:
      return kGatedPolicies[index].min_blocks;
    default:
      // derived: three blocks would leave 80 registers, with which 16-bit types spill in
      // backward_columns.
      if (index == kGated) return 2;
      // derived: the most blocks with which no architecture spills.
      return architecture >= 1200 && kind == Kind::kBackwardColumns ? 2 : 3;
  }
}

// F(tag, T, W, ...) for the types that a kernel is compiled for: T of the tensors, W of the weight
// (T if there is none). Kernels test the cast order at run time, once for each pack, except those
// of fast calls.
#define RMSNORM_TYPES(F, ...)       \
  F(f32, float, float, __VA_ARGS__) \
  RMSNORM_HALF_TYPES(F, __VA_ARGS__)
// The 16-bit types, which alone have a cast order.
#define RMSNORM_HALF_TYPES(F, ...)         \
  F(f16, Float16, Float16, __VA_ARGS__)    \
  F(bf16, BFloat16, BFloat16, __VA_ARGS__) \
  F(f16_f32, Float16, float, __VA_ARGS__)  \
  F(bf16_f32, BFloat16, float, __VA_ARGS__)
// One type for tensors and weight.
#define RMSNORM_OWN_TYPES(F, ...)       \
  F(f32, float, float, __VA_ARGS__)     \
  F(f16, Float16, Float16, __VA_ARGS__) \
  F(bf16, BFloat16, BFloat16, __VA_ARGS__)
// If W is AnyWeight, the kernel tests the type of the weight at run time, too. It is for kernels
// whose number matters more than their speed.
struct AnyWeight {};
#define RMSNORM_ANY_TYPES(F, ...)         \
  F(f32, float, AnyWeight, __VA_ARGS__)   \
  F(f16, Float16, AnyWeight, __VA_ARGS__) \
  F(bf16, BFloat16, AnyWeight, __VA_ARGS__)

// F(tag, T, W, Kind, function, index, access), one list for each file of kernels.
#define RMSNORM_FORWARD_KERNELS(F)                       \
  RMSNORM_TYPES(F, kForward, forward_rows, 0, packs)     \
  RMSNORM_OWN_TYPES(F, kForward, forward_rows, 1, packs) \
  RMSNORM_ANY_TYPES(F, kForward, forward_rows, 0, unaligned)
#define RMSNORM_FAST_FORWARD_KERNELS(F)                         \
  RMSNORM_TYPES(F, kForwardFloat, forward_float, 0, packs)      \
  RMSNORM_TYPES(F, kForwardFloat, forward_float, 1, packs)      \
  F(f32, float, float, kForwardFloat, forward_float, 2, packs)  \
  RMSNORM_HALF_TYPES(F, kForwardLlama, forward_llama, 0, packs) \
  RMSNORM_HALF_TYPES(F, kForwardLlama, forward_llama, 1, packs)
#define RMSNORM_FAST_BACKWARD_KERNELS(F)                                 \
  RMSNORM_OWN_TYPES(F, kBackwardFloat, backward_float, 0, packs)         \
  F(f32, float, float, kBackwardFloat, backward_float, 1, packs)         \
  F(f16_f32, Float16, float, kBackwardFloat, backward_float, 2, packs)   \
  F(bf16_f32, BFloat16, float, kBackwardFloat, backward_float, 2, packs) \
  F(f16, Float16, Float16, kBackwardLlama, backward_llama, 0, packs)     \
  F(bf16, BFloat16, BFloat16, kBackwardLlama, backward_llama, 0, packs)  \
  F(f16_f32, Float16, float, kBackwardLlama, backward_llama, 2, packs)   \
  F(bf16_f32, BFloat16, float, kBackwardLlama, backward_llama, 2, packs)
#define RMSNORM_STEP_KERNELS(F)                                 \
  RMSNORM_TYPES(F, kBackwardStep, backward_steps, 0, packs)     \
  F(f32, float, float, kBackwardStep, backward_steps, 1, packs) \
  RMSNORM_ANY_TYPES(F, kBackwardStep, backward_steps, 2, unaligned)
#define RMSNORM_SINGLE_KERNELS(F) RMSNORM_OWN_TYPES(F, kBackwardSingle, backward_rows, 0, packs)
#define RMSNORM_LONG_KERNELS(F)                                          \
  RMSNORM_ANY_TYPES(F, kFoldForward, fold_forward, 0, unaligned)         \
  RMSNORM_ANY_TYPES(F, kFoldBackward, fold_backward, 0, unaligned)       \
  RMSNORM_ANY_TYPES(F, kScaleRows, scale_rows, 0, unaligned)             \
  RMSNORM_ANY_TYPES(F, kBackwardColumns, backward_columns, 0, unaligned) \
  RMSNORM_ANY_TYPES(F, kFoldForward, fold_forward, 1, unaligned)         \
  RMSNORM_ANY_TYPES(F, kFoldBackward, fold_backward, 1, unaligned)       \
  RMSNORM_ANY_TYPES(F, kScaleRows, scale_rows, 1, unaligned)             \
  RMSNORM_ANY_TYPES(F, kBackwardColumns, backward_columns, 1, unaligned)
#define RMSNORM_GATED_FORWARD_KERNELS(F)                   \
  RMSNORM_TYPES(F, kForwardGated, forward_gated, 0, packs) \
  RMSNORM_ANY_TYPES(F, kForwardGated, forward_gated, 0, unaligned)
#define RMSNORM_REDUCE_KERNELS(F) RMSNORM_ANY_TYPES(F, kReduceDweight, reduce_dweight, 0, packs)
#define RMSNORM_KERNELS(F)         \
  RMSNORM_FAST_FORWARD_KERNELS(F)  \
  RMSNORM_FORWARD_KERNELS(F)       \
  RMSNORM_FAST_BACKWARD_KERNELS(F) \
  RMSNORM_STEP_KERNELS(F)          \
  RMSNORM_SINGLE_KERNELS(F)        \
  RMSNORM_LONG_KERNELS(F)          \
  RMSNORM_GATED_FORWARD_KERNELS(F) \
  RMSNORM_REDUCE_KERNELS(F)

// A kernel's name in its module.
#define RMSNORM_KERNEL_NAME(tag, function, index, access) function##_##index##_##tag##_##access

// The parameter type of a kernel's function.
template <class Params>
Params params_of(void (&)(const Params&));

// For the lists above: defines a kernel, which calls function<T, W, index, Access>(params).
#define RMSNORM_DEFINE_KERNEL(tag, T, W, kind, function, index, access)                    \
  extern "C" __global__ void __launch_bounds__(                                            \
      max_threads(Kind::kind, index), min_blocks(Kind::kind, index, RMSNORM_ARCHITECTURE)) \
      RMSNORM_KERNEL_NAME(tag, function, index,                                            \
                          access)(const __grid_constant__ decltype(params_of(              \
          function<T, W, index, RMSNORM_ACCESS_##access>)) params) {                       \
    function<T, W, index, RMSNORM_ACCESS_##access>(params);                                \
  }

}  // namespace rmsnorm::cuda
