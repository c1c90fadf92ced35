// Rows of y as codes of 8 bits (quantize.h): the scale of a row, and the codes of packs of columns.
#pragma once

#include "../../op/quantize.h"
#include "row.cuh"
#include "row_division.h"

namespace rmsnorm::cuda {

// y of one pack as it is quantised: before its cast, or, in Llama's order, after it.
template <class T, class W>
__device__ inline Columns<T> quantized_y(const Pack& x, float rstd, const WeightPack<T, W>& weight,
                                         const RowParams& params) {
  const Rounding<T> round{params.is_llama_order};
  return round(y_of(xhat_of(unpack<T>(x), rstd), w_of(weight, params), round));
}

// The larger of `largest` and the magnitudes of one pack, as bits, of the columns that exist: those
// that do not may be 0 * infinity.
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

// The largest of `threads` neighbours, a power of two, to all of them. All threads of the block
// call it. More than a warp need `shared`, a word a warp, and meet at two barriers, before and
// after they write there.
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

// The codes of one pack of columns, the first in the lowest bits: 4 of float32, 8 of 16 bits.
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

// Whether rows have scales of their own.
__device__ inline bool has_own_scales(const Quantization& quantization) {
  return quantization.scale == 0.0f;
}

// How y of a row becomes codes.
class Quantizer {
 public:
  // By the scale of all rows, until the row's own is set.
  __device__ explicit Quantizer(const Quantization& quantization)
      : codes_(quantization.codes), inverse_(__frcp_rn(quantization.scale)) {}

  // `largest`: the bits of the largest magnitude that the scale comes from.
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

// By the widest stores of 8, 4 and 1 codes that the alignment of all rows allows.
template <class T, Access kAccess, class Column>
__device__ inline void store_codes(std::uint8_t* y_row, Column column, const CodePack<T>& pack,
                                   const RowParams& params) {
  const Column columns = columns_from(column, params);
  std::uint8_t* const address = y_row + column;
  if (kAccess == Access::kPacks || params.access_bytes == 16) {
    if (columns > 0) store_global_words(address, pack.words);
  } else if constexpr (kAccess == Access::kParts) {
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
