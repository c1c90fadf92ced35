// Rows of y as 8-bit codes (quantize.h): the scale of a row, and the codes of packs of columns.
#pragma once

#include "../../op/quantize.h"
#include "row.cuh"
#include "row_division.h"

namespace rmsnorm::cuda {

// y of one pack before it is quantised: rounded to T in Llama's order, otherwise not rounded.
template <class T, class W>
__device__ inline Columns<T> quantized_y(const Pack& x, float rstd, const WeightPack<T, W>& weight,
                                         const RowParams& params) {
  const Rounding<T> round{params.is_llama_order};
  return round(y_of(xhat_of(unpack<T>(x), rstd), w_of(weight, params), round));
}

// Raises `largest` to the largest magnitude in one pack, as bits. Columns beyond the row are left
// out, because there y may be NaN, from 0 * infinity.
template <class T, Access kAccess, class Column>
__device__ inline void find_largest(const Columns<T>& y, Column column, const RowParams& params,
                                    std::uint32_t& largest) {
  const Column columns = columns_from(column, params);
  if (columns <= 0) return;
#pragma unroll
  for (int i = 0; i < kPackColumns<T>; ++i) {
    if (kAccess == Access::kPacks || i < columns) {
      largest = max(largest, magnitude_bits(y.values[i]));
    }
  }
}

// Returns the largest value of `threads` neighbouring threads to all of these threads. `threads` is
// a power of two. All threads of the block must call it. If `threads` is more than a warp, it needs
// `shared`, one word for each warp, and has two barriers: before and after it writes to `shared`.
__device__ inline std::uint32_t largest_of(std::uint32_t largest, int threads,
                                           std::uint32_t* shared) {
  const int lanes = min(threads, kWarpLanes);
  for (int s = lanes / 2; s >= 1; s /= 2) largest = max(largest, shuffle_xor(largest, s));
  if (threads <= kWarpLanes) return largest;
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  __syncthreads();
  if (lane == 0) shared[threadIdx.x / kWarpLanes] = largest;
  __syncthreads();
  largest = lane < threads / kWarpLanes ? shared[lane] : 0;
#pragma unroll
  for (int s = kWarpLanes / 2; s >= 1; s /= 2) largest = max(largest, shuffle_xor(largest, s));
  return largest;
}

// The codes of one pack of columns, the first in the lowest bits: 4 for float32, 8 for 16-bit
// types.
template <class T>
struct CodePack {
  std::uint32_t words[kPackColumns<T> / 4];
};

// Four codes, the first in the lowest bits.
__device__ inline std::uint32_t four_codes(DType codes, const float* values) {
  if (codes == DType::kInt8) return int8_codes(values);
#if __CUDA_ARCH__ >= 900
  return codes == DType::kFloat8E4M3 ? e4m3_codes(values) : e5m2_codes(values);
#else
  std::uint32_t four = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) four |= code_of(codes, values[i]) << 8 * i;
  return four;
#endif
}

// Whether each row has its own scale.
__device__ inline bool has_own_scales(const Quantization& quantization) {
  return quantization.scale == 0.0f;
}

// Converts y of a row to codes.
class Quantizer {
 public:
  // Uses the one scale of all rows until set_scale() sets the row's own scale.
  __device__ explicit Quantizer(const Quantization& quantization)
      : codes_(quantization.codes), inverse_(__frcp_rn(quantization.scale)) {}

  // `largest`: the bits of the row's largest magnitude, from which `scale` was computed.
  __device__ void set_scale(float scale, std::uint32_t largest) {
    is_own_ = true;
    division_ = row_division(scale, largest);
    inverse_ = __frcp_rn(division_.divisor);
  }

  template <class T>
  __device__ CodePack<T> codes(Columns<T> y) const {
    if (is_own_) {
      if (!division_.is_ready) {
#pragma unroll
        for (float& value : y.values) value = made_ready(value, division_);
      }
      y = quotient(y, division_.divisor, inverse_);
    } else {
      y = y * inverse_;
    }
    CodePack<T> pack;
#pragma unroll
    for (int i = 0; i < kPackColumns<T> / 4; ++i) {
      pack.words[i] = four_codes(codes_, y.values + 4 * i);
    }
    return pack;
  }

 private:
  DType codes_;
  bool is_own_ = false;
  RowDivision division_{};
  float inverse_;
};

// Stores 8, 4 or 1 codes at once, the most that the alignment of all rows allows.
template <class T, Access kAccess, class Column>
__device__ inline void store_codes(std::uint8_t* y_row, Column column, const CodePack<T>& pack,
                                   const RowParams& params) {
  const Column columns = columns_from(column, params);
  std::uint8_t* const address = y_row + column;
  if (kAccess == Access::kPacks || params.access_bytes == 16) {
    if (columns > 0) store_global_words(address, pack.words);
  } else if constexpr (kAccess == Access::kUnaligned) {
    const bool are_words = params.access_bytes == 4 * static_cast<int>(sizeof(T));
#pragma unroll
    for (int i = 0; i < kPackColumns<T>; ++i) {
      const std::uint32_t rest = pack.words[i / 4] >> 8 * (i % 4);
      if (i >= columns) break;
      if (!are_words) {
        address[i] = static_cast<std::uint8_t>(rest);
      } else if (i % 4 == 0) {
        *reinterpret_cast<std::uint32_t*>(address + i) = rest;
      }
    }
  }
}

}  // namespace rmsnorm::cuda
