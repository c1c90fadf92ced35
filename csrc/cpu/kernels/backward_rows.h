// dx of rows, and their sums of dy * xhat.
#pragma once

#include "backward_columns.h"
#include "gated_backward.h"
#include "gated_folds.h"
#include "rescaled_rows.h"

namespace rmsnorm::cpu {
namespace {

// Rows are processed in blocks: first their row sums, then their columns, while dy and x are still
// cached. A block has at most kBlockBytes of dy and x and at most kBlockRows rows. Despite these
// limits a block has at least 2 rows, so that rows share reads of weights and partial sums. It also
// has at least as many rows as are summed together (rows_together). Measured with AVX-512: at
// 16x4096, blocks of 8 rows take 1.1 times as long and blocks of one 1.15 times; at 512x4096,
// blocks of 16 take 1.15 times as long.
static constexpr std::int64_t kBlockBytes = 64 << 10;
static constexpr std::int64_t kBlockRows = 8;
static constexpr std::int64_t kMaxRows = kBlockRows > Vec::kLanes ? kBlockRows : Vec::kLanes;

// The number of rows in a block: a multiple of `together`, the number of rows that are summed
// together.
template <class X>
RMSNORM_INLINE std::int64_t block_rows(std::int64_t hidden_size, std::int64_t together) {
  const std::int64_t fitting =
      kBlockBytes / (2 * static_cast<std::int64_t>(sizeof(X)) * hidden_size);
  const std::int64_t limited = fitting < kBlockRows ? fitting : kBlockRows;
  const std::int64_t rows = limited < 2 ? 2 : limited;
  return rows > together ? rows / together * together : together;
}

// The kernels for the rows of a call.
template <class X>
struct BackwardKernels {
  void (*fold)(const BackwardArgs&, const Weights<X>&, std::int64_t row, std::int64_t count,
               float* sums);
  void (*rescale)(const BackwardArgs&, Range rows, Vec sums, const float* rstd, float* cbar);
  const ColumnKernels<X>* columns;
  const ColumnKernels<X>* more_columns;    // run after `columns`; may be null
  GatedKernel<X> gated_columns = nullptr;  // run instead of both, if not null
};

template <class X, bool kLlama, Stores kStores>
BackwardKernels<X> backward_kernels(const BackwardArgs& args, bool dweight) {
  constexpr const ColumnKernels<X>* kOnlyDweight =
      &kColumnKernels<X, false, kLlama, false, true, Stores::kCached>;
  if (args.dx.data == nullptr) return {nullptr, nullptr, kOnlyDweight, nullptr};
  if (args.weight.data == nullptr) {
    // dweight comes first, because dx may be the same array as x or dy.
    constexpr const ColumnKernels<X>* kOnlyDx =
        &kColumnKernels<X, false, false, true, false, kStores>;
    return {fold_gradients<X, false, false>, rescale_cbar<X, kLlama>,
            dweight ? kOnlyDweight : kOnlyDx, dweight ? kOnlyDx : nullptr};
  }
  return {fold_gradients<X, true, kLlama>, rescale_cbar<X, kLlama>,
          dweight ? &kColumnKernels<X, true, kLlama, true, true, kStores>
                  : &kColumnKernels<X, true, kLlama, true, false, kStores>,
          nullptr};
}

template <class X>
[[gnu::noinline]] void backward_rows(const BackwardArgs& args, Range rows, Stores stores,
                                     const void* prepared, float* partial,
                                     const BackwardKernels<X>& kernels) {
  const std::int64_t hidden_size = args.shape.hidden_size;
  const std::int64_t together = rows_together(hidden_size);
  const std::int64_t max_rows = block_rows<X>(hidden_size, together);
  const Weights<X> weights(args.weight, prepared);
  const Vec inverse_size = Vec::broadcast(inverse(hidden_size));
  const bool has_dx = args.dx.data != nullptr;
  const bool has_residual = has_dx && args.dsum.data != nullptr;
  const AlignedBody body = backward_body<X>(args);
  const PartialSums partials = partial_sums<X>(args, body, partial);

  for (std::int64_t first = rows.begin; first < rows.end; first += max_rows) {
    const std::int64_t count = rows.end - first < max_rows ? rows.end - first : max_rows;
    BackwardRow<X> row[kMaxRows];
    alignas(64) float rstd[kMaxRows + Vec::kLanes] = {};
    alignas(64) float cbar[kMaxRows + Vec::kLanes] = {};
    for (std::int64_t r = 0; r < count; r += together) {
      const std::int64_t n = count - r < together ? count - r : together;
      if (args.rstd == nullptr) {
        alignas(64) float sums[Vec::kLanes + 1];
        fold_x<X>(args, first + r, n, sums);
        const Vec folds = together > 1 ? Vec::load(sums) : Vec::broadcast(sums[0]);
        rstd_of_rows<X>(args, {first + r, first + r + n}, folds).store(rstd + r);
      } else {
        const float* const forward_rstd = static_cast<const float*>(args.rstd) + first;
        for (std::int64_t i = r; i < r + n; ++i) rstd[i] = without_payload(forward_rstd[i]);
      }
    }
    if (has_dx) {
      const std::int64_t step = together > 1 ? together : kFoldedRows;
      for (std::int64_t r = 0; r < count; r += step) {
        kernels.fold(args, weights, first + r, count - r < step ? count - r : step, cbar + r);
      }
      for (std::int64_t r = 0; r < count; r += Vec::kLanes) {
        const Vec sums = Vec::load(cbar + r);
        const Vec rstds = Vec::load(rstd + r);
        cbar_of(sums, rstds, inverse_size).store(cbar + r);
        if (!gradient_folds_stand(sums, rstds)) {
          const std::int64_t n = count - r < Vec::kLanes ? count - r : Vec::kLanes;
          kernels.rescale(args, {first + r, first + r + n}, sums, rstd + r, cbar + r);
        }
      }
    }
    for (std::int64_t r = 0; r < count; ++r) {
      row[r] = {row_of<X>(args.dy, first + r),
                row_of<X>(args.x, first + r),
                has_dx ? row_of<X>(args.dx, first + r) : nullptr,
                has_residual ? row_of<X>(args.dsum, first + r) : nullptr,
                rstd[r],
                cbar[r]};
    }
    const BackwardBlock<X> block{row,     count,    hidden_size,         body,
                                 weights, partials, first == rows.begin, stores};
    if (kernels.gated_columns != nullptr) {
      gated_block(args, block, first, kernels.gated_columns);
      continue;
    }
    backward_block(block, *kernels.columns);
    if (kernels.more_columns != nullptr) backward_block(block, *kernels.more_columns);
  }
  if (stores == Stores::kStreaming) stream_fence();
}

void backward(const BackwardArgs& args, Range rows, Stores stores, const void* prepared,
              void* partial_sums) {
  if (args.dtype == DType::kFloat64) {
    return reference::backward<double, false>(args, rows, partial_sums);
  }
  float* const partial = static_cast<float*>(partial_sums);
  with_order(args.dtype, args.options.cast_order, [&](auto x, auto llama) {
    using X = typename decltype(x)::Type;
    constexpr bool kLlama = llama.value;
    if (args.gate.data != nullptr) {
      return backward_rows<X>(args, rows, Stores::kCached, prepared, partial,
                              {fold_gated_gradients<X, kLlama>, rescale_cbar<X, kLlama>, nullptr,
                               nullptr, gated_columns<X, kLlama>});
    }
    // Without stripes, 16-bit rows side by side are written in alternating halves of cache lines.
    // For them streaming stores take 1.07 to 1.2 times as long as cached ones (AVX2, 2048x4096).
    constexpr Stores kStreams =
        kHasStripes || __is_same(X, float) ? kStreaming<X> : Stores::kCached;
    if (stores == Stores::kStreaming && aligned_alike(args.dx)) {
      backward_rows<X>(args, rows, kStreams, prepared, partial,
                       backward_kernels<X, kLlama, kStreams>(args, partial != nullptr));
    } else {
      backward_rows<X>(args, rows, Stores::kCached, prepared, partial,
                       backward_kernels<X, kLlama, Stores::kCached>(args, partial != nullptr));
    }
  });
}

}  // namespace
}  // namespace rmsnorm::cpu
