// Every kernel there is, and the constants it is launched with: the only list, read by the host
// (policy.cc) and by the device code (kernels/*.cu), so that no kernel lacks its row.
#pragma once

#include <cstdint>

#include "../../op/fold.h"
#include "../../op/rms_norm.h"

namespace rmsnorm::cuda {

// What the device code at hand is compiled for, such as 900.
#if defined(__CUDA_ARCH__)
#define RMSNORM_ARCHITECTURE __CUDA_ARCH__
#else
#define RMSNORM_ARCHITECTURE 0
#endif

// Threads and registers of a kernel. The comment on a row says where its numbers come from:
// `simulated` is a cycle-level model of a small Volta (10 multiprocessors, 640x2048 float32, share
// of the DRAM peak; differences below 10% there mean nothing), `derived` is arithmetic on register
// files, bytes in flight and ptxas' figures. None has been timed on hardware.
struct Policy {
  int tiles;        // held by a thread: more where a row would need more than max_threads
  int max_threads;  // of a block
  int min_blocks;   // of a multiprocessor: bounds the registers (__launch_bounds__)
};

// Rows in registers, forward. Chosen by hidden_size alone: the fewest tiles that fit max_threads.
inline constexpr Policy kForwardPolicies[] = {
    // simulated: 128 threads a row of 2048, two rows a block of 256: 88.6%, four rows a block of
    // 512: 85%, one row a block of 128: 84%, a warp a row: 79-82%. derived: four 16-byte loads a
    // thread in flight, 64 registers leave 1024 threads, 64 KiB in flight, where 17 (H100) to 43
    // KiB (B200) cover the latency.
    {1, 256, 4},
    // derived: rows of 4097 to 16384 float32 in 512 threads; 64 registers, without spills, leave
    // two blocks a multiprocessor, where 72 to 88 left one. 1024 threads of one tile would have the
    // same bytes in flight and one block.
    {2, 512, 2},
};

// Forward of rows with a gate, which lies in registers beside them.
inline constexpr Policy kGatedPolicies[] = {
    // derived: 80 registers leave three blocks, and a thread has 8 loads of 16 bytes in flight.
    {1, 256, 3},
};

// Plain calls (Kind says which): a row in registers, with nothing to be found out while it runs. A
// thread of forward holds so many packs of a tile, and the weights of so many before the row's sum
// is there.
struct PlainPolicy {
  int tiles;
  int packs;
  int weight_packs;
  int max_threads;
  int min_blocks;
};
inline constexpr PlainPolicy kPlainForwardPolicies[] = {
    // derived: rows of up to 128 columns, where half of a tile's packs would be zeros.
    {1, 2, 2, 256, 4},
    // As the first of kForwardPolicies, with the weights on their way with the row.
    {1, 4, 4, 256, 4},
    // Rows of 4097 to 16384 float32, as the second of kForwardPolicies. 16 bits would spill.
    {2, 4, 2, 512, 2},
};
// Of float32 weights of 16-bit tensors, which take twice the registers.
inline constexpr int kWideWeightPacks = 2;

// Backward of plain calls, a row at a time: dweight's sums and a row in registers, the next rows on
// their way to shared memory.
struct PlainBackwardPolicy {
  int tiles;
  int max_threads;       // of a block
  int resident_threads;  // of a multiprocessor, by registers
};
inline constexpr PlainBackwardPolicy kPlainBackwardPolicies[] = {
    // derived: up to 128 registers. A row of 4096 has 256 threads (float32) or 128 (16 bits).
    {1, 512, 512},
    // derived: rows of 8193 to 16384 float32, which 16 bits do not need.
    {2, 512, 512},
    // derived: 16 bits with float32 weights, which at 128 registers would spill on sm_100.
    {1, 256, 384},
};
inline constexpr int kPlainBackwardArchitecture = 80;  // the first that copies asynchronously
// derived: with rows in fewer threads a multiprocessor would have too few of them; steps take
// several rows at once.
inline constexpr unsigned kMinPlainThreads = 64;
inline constexpr int kMaxPlainStages = 8;  // rows of a block under way, a power of two
inline constexpr std::int64_t kReservedSharedBytes = 1024;            // of a block, by the driver
inline constexpr std::int64_t kMaxPlainRows = std::int64_t{1} << 30;  // numbers of 32 bits

// Backward where several rows' x and dy fit shared memory: a block takes its row group in steps of
// as many rows as its threads hold.
struct StepPolicy {
  int packs;  // whose dweight a thread sums: a row is 4 packs a thread, and the threads of 4 rows
              // or more, or of 2, share them
  int max_threads;
  int min_blocks;
};
inline constexpr StepPolicy kStepPolicies[] = {
    // derived: rows of 4096 in steps of 2 (float32) or 4 (16 bits) are 64 KiB in flight a block,
    // and the 512 blocks at most that the order of dweight allows are about two a multiprocessor;
    // 64 registers and 64 KiB of shared memory leave two on sm_80, 90 and 100. One row at a time
    // would leave 32 KiB in flight.
    {1, 512, 2},
    // derived: the same for float32 rows of 2049 to 4096, two a step; 16 bits would spill.
    {2, 512, 2},
    // derived: kParts kernels of any weight, which would spill at 64 registers.
    {1, 512, 1},
};
inline constexpr int kStepSharedBytes = 64 << 10;  // of x and dy in a step, at most
// simulated: asking the second-level cache for the next step took 1.1 to 1.4 times as long where it
// has 77 KB for each multiprocessor, and nothing more with 307 KB.
inline constexpr int kPrefetchedBytes = 4 * kStepSharedBytes;

// Backward of longer rows, one at a time in registers, dweight in those of its threads.
inline constexpr Policy kSinglePolicies[] = {
    // derived: 16 or 32 sums of dweight, x and dy in 128 registers without spills; two tiles of
    // float32 spill in the loop that takes a fold again.
    {1, 512, 1},
};

// dweight has a launch of its own where row groups are few and long chains. derived, by the model
// of scripts/report: a row of a group takes its block about 0.8 microseconds, another launch 3;
// from a quarter of the multiprocessors on, reading the rows again takes as long as that saves.
inline constexpr std::int64_t kMinSplitRows = 8;
inline constexpr int kSplitBlocks = 3;  // times the row groups are multiprocessors at most
inline constexpr int kSplitSteps = 2;   // of a row group, in which it is no long chain

// Rows that no block holds, in two passes over memory.
inline constexpr int kLongThreads = 256;  // of a block; of a block of the sums at most
inline constexpr int kScalePacks = 4;     // of a thread of scale_rows, all in flight at once
inline constexpr int kColumnRows = 4;     // the same of backward_columns
// The index of those of these kernels that are for rows with a gate, which backward takes at any
// length.
inline constexpr int kGated = 1;

inline constexpr int kWarpLanes = 32;
inline constexpr int kForwardBlockThreads = 256;  // several short rows: see kForwardPolicies

// finish_dweight: columns of a block, and the parts of the tree that it sums side by side, each of
// so many groups: few of either where there are few groups.
inline constexpr int kFinishColumns = 32;
inline constexpr int kFinishPartGroups = 4;  // where there are groups for more than one part
inline constexpr int kMaxFinishParts = 32;
inline constexpr int kMaxPartGroups = 16;
static_assert(kMaxPartGroups * kMaxFinishParts == kMaxRowGroups);

// How a kernel reaches the rows in global memory.
enum class Access : std::uint8_t {
  kPacks,  // every row and the weight are on 16-byte boundaries and whole packs of 16 bytes long
  kParts,  // by the widest access that the alignment of all rows allows, 2 to 16 bytes
};
#define RMSNORM_ACCESS_packs ::rmsnorm::cuda::Access::kPacks
#define RMSNORM_ACCESS_parts ::rmsnorm::cuda::Access::kParts

// Whether a kernel of kForward has quantised calls. The others' are very long rows, whatever their
// length: they are rare, and would take the package another 0.2 MB.
constexpr bool quantizes(Access access, int tiles) {
  return access == Access::kPacks && tiles == 1;
}

// What a kernel computes. `index` in the lists below counts the policies of its kind.
enum class Kind : std::uint8_t {
  kForward,
  // Plain calls, in one cast order: with a weight and without an offset, a residual or its
  // gradient, rows and weight on 16-byte boundaries, rows of whole accumulator sets (64 columns) in
  // one batch.
  kForwardFloat,
  kForwardLlama,
  kBackwardFloat,
  kBackwardLlama,
  kBackwardStep,     // rows in steps of several, by kStepPolicies
  kBackwardSingle,   // one row at a time, by kSinglePolicies
  kForwardGated,     // rows with a gate, by kGatedPolicies
  kFoldForward,      // very long rows: sums of x * x by parts, and then over these
  kFoldBackward,     // and of g * x
  kScaleRows,        // y, with rstd known
  kBackwardColumns,  // dx and the sums of dweight, with rstd and cbar known
  kFinishDweight,
};

// Threads of a block that a kernel is compiled for.
constexpr int max_threads(Kind kind, int index) {
  if (kind == Kind::kForward) return kForwardPolicies[index].max_threads;
  if (kind == Kind::kForwardFloat || kind == Kind::kForwardLlama)
    return kPlainForwardPolicies[index].max_threads;
  if (kind == Kind::kBackwardFloat || kind == Kind::kBackwardLlama)
    return kPlainBackwardPolicies[index].max_threads;
  if (kind == Kind::kBackwardStep) return kStepPolicies[index].max_threads;
  if (kind == Kind::kBackwardSingle) return kSinglePolicies[index].max_threads;
  if (kind == Kind::kForwardGated) return kGatedPolicies[index].max_threads;
  return kind == Kind::kFinishDweight ? kFinishColumns * kMaxFinishParts : kLongThreads;
}

// The oldest architecture, such as 80, that a kernel is launched on.
constexpr int oldest_architecture(Kind kind) {
  const bool is_plain_backward = kind == Kind::kBackwardFloat || kind == Kind::kBackwardLlama;
  return is_plain_backward ? kPlainBackwardArchitecture : 75;
}

// Blocks of a multiprocessor that it must have registers for, on an architecture such as 900.
constexpr int min_blocks(Kind kind, int index, int architecture) {
  switch (kind) {
    case Kind::kForward:
      // 64 registers are too few there for two tiles.
      return architecture >= 1000 && index == 1 ? 1 : kForwardPolicies[index].min_blocks;
    case Kind::kForwardFloat:
    case Kind::kForwardLlama:
      return architecture >= 1200 && index == 2 ? 1 : kPlainForwardPolicies[index].min_blocks;
    case Kind::kBackwardFloat:
    case Kind::kBackwardLlama:
      return 1;
    case Kind::kBackwardStep:
      // Multiprocessors of the others have shared memory for one block of the largest steps only:
      // registers of a second would be saved in vain.
      return architecture >= 800 && architecture < 1200 ? kStepPolicies[index].min_blocks : 1;
    case Kind::kBackwardSingle:
      return kSinglePolicies[index].min_blocks;
    case Kind::kFinishDweight:
      return 0;  // as many as there are
    case Kind::kForwardGated:
      return kGatedPolicies[index].min_blocks;
    default:
      // derived: at the 80 registers of three, 16 bits would spill in backward_columns.
      if (index == kGated) return 2;
      // derived: as many as no architecture spills for.
      return architecture >= 1200 && kind == Kind::kBackwardColumns ? 2 : 3;
  }
}

// F(tag, T, W, ...): the types that a kernel is compiled for: T of the tensors, W of weight (T
// where there is none). All but kernels of plain calls find out the cast order when they run, once
// for each pack.
#define RMSNORM_TYPES(F, ...)       \
  F(f32, float, float, __VA_ARGS__) \
  RMSNORM_HALF_TYPES(F, __VA_ARGS__)
// Those of 16 bits, which alone have a cast order.
#define RMSNORM_HALF_TYPES(F, ...)         \
  F(f16, Float16, Float16, __VA_ARGS__)    \
  F(bf16, BFloat16, BFloat16, __VA_ARGS__) \
  F(f16_f32, Float16, float, __VA_ARGS__)  \
  F(bf16_f32, BFloat16, float, __VA_ARGS__)
// Those with one type for tensors and weight.
#define RMSNORM_OWN_TYPES(F, ...)       \
  F(f32, float, float, __VA_ARGS__)     \
  F(f16, Float16, Float16, __VA_ARGS__) \
  F(bf16, BFloat16, BFloat16, __VA_ARGS__)
// Kernels that find out the type of weight, too: where their number matters more than their speed.
struct AnyWeight {};
#define RMSNORM_ANY_TYPES(F, ...)         \
  F(f32, float, AnyWeight, __VA_ARGS__)   \
  F(f16, Float16, AnyWeight, __VA_ARGS__) \
  F(bf16, BFloat16, AnyWeight, __VA_ARGS__)

// F(tag, T, W, Kind, function, index, access), one list for each file of kernels.
#define RMSNORM_FORWARD_KERNELS(F)                       \
  RMSNORM_TYPES(F, kForward, forward_rows, 0, packs)     \
  RMSNORM_OWN_TYPES(F, kForward, forward_rows, 1, packs) \
  RMSNORM_ANY_TYPES(F, kForward, forward_rows, 0, parts)
#define RMSNORM_PLAIN_FORWARD_KERNELS(F)                        \
  RMSNORM_TYPES(F, kForwardFloat, forward_float, 0, packs)      \
  RMSNORM_TYPES(F, kForwardFloat, forward_float, 1, packs)      \
  F(f32, float, float, kForwardFloat, forward_float, 2, packs)  \
  RMSNORM_HALF_TYPES(F, kForwardLlama, forward_llama, 0, packs) \
  RMSNORM_HALF_TYPES(F, kForwardLlama, forward_llama, 1, packs)
#define RMSNORM_PLAIN_BACKWARD_KERNELS(F)                                \
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
  RMSNORM_ANY_TYPES(F, kBackwardStep, backward_steps, 2, parts)
#define RMSNORM_SINGLE_KERNELS(F) RMSNORM_OWN_TYPES(F, kBackwardSingle, backward_rows, 0, packs)
#define RMSNORM_LONG_KERNELS(F)                                      \
  RMSNORM_ANY_TYPES(F, kFoldForward, fold_forward, 0, parts)         \
  RMSNORM_ANY_TYPES(F, kFoldBackward, fold_backward, 0, parts)       \
  RMSNORM_ANY_TYPES(F, kScaleRows, scale_rows, 0, parts)             \
  RMSNORM_ANY_TYPES(F, kBackwardColumns, backward_columns, 0, parts) \
  RMSNORM_ANY_TYPES(F, kFoldForward, fold_forward, 1, parts)         \
  RMSNORM_ANY_TYPES(F, kFoldBackward, fold_backward, 1, parts)       \
  RMSNORM_ANY_TYPES(F, kScaleRows, scale_rows, 1, parts)             \
  RMSNORM_ANY_TYPES(F, kBackwardColumns, backward_columns, 1, parts)
#define RMSNORM_GATED_FORWARD_KERNELS(F)                   \
  RMSNORM_TYPES(F, kForwardGated, forward_gated, 0, packs) \
  RMSNORM_ANY_TYPES(F, kForwardGated, forward_gated, 0, parts)
#define RMSNORM_FINISH_KERNELS(F) RMSNORM_ANY_TYPES(F, kFinishDweight, finish_dweight, 0, packs)
#define RMSNORM_KERNELS(F)          \
  RMSNORM_PLAIN_FORWARD_KERNELS(F)  \
  RMSNORM_FORWARD_KERNELS(F)        \
  RMSNORM_PLAIN_BACKWARD_KERNELS(F) \
  RMSNORM_STEP_KERNELS(F)           \
  RMSNORM_SINGLE_KERNELS(F)         \
  RMSNORM_LONG_KERNELS(F)           \
  RMSNORM_GATED_FORWARD_KERNELS(F)  \
  RMSNORM_FINISH_KERNELS(F)

// The name a kernel has in its module.
#define RMSNORM_KERNEL_NAME(tag, function, index, access) function##_##index##_##tag##_##access

// The parameters of a kernel's function.
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
